-- Payload's tables as in the appendix of the Phase 0 audit, ordered so that each comes after what it refers to.

CREATE TABLE payload.media (
  id UUID PRIMARY KEY,
  filename TEXT NOT NULL,
  alt TEXT,
  caption JSONB,
  mime_type TEXT,
  filesize INTEGER,
  width INTEGER,
  height INTEGER,
  focal_x NUMERIC,
  focal_y NUMERIC,
  sizes JSONB,
  url TEXT NOT NULL,
  created_at TIMESTAMP DEFAULT NOW(),
  updated_at TIMESTAMP DEFAULT NOW()
);
CREATE INDEX idx_media_filename ON payload.media(filename);

CREATE TABLE payload.categories (
  id UUID PRIMARY KEY,
  title TEXT NOT NULL,
  slug TEXT UNIQUE NOT NULL,
  created_at TIMESTAMP DEFAULT NOW(),
  updated_at TIMESTAMP DEFAULT NOW()
);

CREATE TABLE payload.users (
  id UUID PRIMARY KEY,
  name TEXT,
  email TEXT UNIQUE NOT NULL,
  password TEXT NOT NULL,
  created_at TIMESTAMP DEFAULT NOW(),
  updated_at TIMESTAMP DEFAULT NOW()
);
CREATE UNIQUE INDEX idx_users_email ON payload.users(email);

CREATE TABLE payload.pages (
  id UUID PRIMARY KEY,
  title TEXT NOT NULL,
  slug TEXT UNIQUE NOT NULL,
  hero JSONB,
  layout JSONB,
  published_at TIMESTAMP,
  _status TEXT DEFAULT 'draft',
  created_at TIMESTAMP DEFAULT NOW(),
  updated_at TIMESTAMP DEFAULT NOW()
);
CREATE INDEX idx_pages_slug ON payload.pages(slug);
CREATE INDEX idx_pages_status ON payload.pages(_status);

CREATE TABLE payload.posts (
  id UUID PRIMARY KEY,
  title TEXT NOT NULL,
  slug TEXT UNIQUE NOT NULL,
  hero_image_id UUID REFERENCES payload.media(id),
  content JSONB,
  published_at TIMESTAMP,
  _status TEXT DEFAULT 'draft',
  created_at TIMESTAMP DEFAULT NOW(),
  updated_at TIMESTAMP DEFAULT NOW()
);

CREATE TABLE payload.posts_rels (
  id SERIAL PRIMARY KEY,
  parent_id UUID REFERENCES payload.posts(id) ON DELETE CASCADE,
  path TEXT NOT NULL,
  posts_id UUID REFERENCES payload.posts(id),
  categories_id UUID REFERENCES payload.categories(id),
  users_id UUID REFERENCES payload.users(id)
);
