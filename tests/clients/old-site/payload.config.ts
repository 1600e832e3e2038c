// The site as it is before Phase 0: the example's content model, on a database and a media folder of its own. SQLite
// stands in for MongoDB, which no package registry has.
import path from 'node:path'
import { fileURLToPath } from 'node:url'

import { sqliteAdapter } from '@payloadcms/db-sqlite'
import { seoPlugin } from '@payloadcms/plugin-seo'
import { lexicalEditor } from '@payloadcms/richtext-lexical'
import { buildConfig } from 'payload'
import sharp from 'sharp'

import { Categories } from './collections/Categories'
import { Media } from './collections/Media'
import { Pages } from './collections/Pages'
import { Posts } from './collections/Posts'
import { Users } from './collections/Users'
import { Footer } from './globals/Footer'
import { Header } from './globals/Header'

const here = path.dirname(fileURLToPath(import.meta.url))
const upload = Media.upload as object

export default buildConfig({
  secret: process.env.PAYLOAD_SECRET ?? '',
  admin: { user: Users.slug, importMap: { baseDir: here } },
  collections: [Pages, Posts, { ...Media, upload: { ...upload, staticDir: process.env.MEDIA_FOLDER } }, Categories, Users],
  globals: [Header, Footer],
  editor: lexicalEditor(),
  sharp,
  telemetry: false,
  db: sqliteAdapter({
    client: { url: process.env.SQLITE_URL ?? '' },
    idType: 'uuid',
    push: false,
    migrationDir: path.join(here, 'migrations'),
  }),
  plugins: [seoPlugin({ collections: ['pages', 'posts'], uploadsCollection: 'media' })],
})
