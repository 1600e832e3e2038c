import type { CollectionAfterReadHook, CollectionConfig } from 'payload'

import { authenticated, authenticatedOrPublished } from '../access'
import { slug } from '../slug'

type Author = string | { id: string; name?: string | null }

/** The public may not read users: it gets the authors' names in `populatedAuthors`, and nothing else of them. */
const populateAuthors: CollectionAfterReadHook = async ({ doc, req }) => {
  const authors: Author[] = doc.authors ?? []
  if (authors.length === 0) return doc
  const ids = authors.map((author) => (typeof author === 'string' ? author : author.id))
  const found = await req.payload.find({
    collection: 'users',
    where: { id: { in: ids } },
    depth: 0,
    limit: ids.length,
    pagination: false,
    req,
  })
  const names = new Map(found.docs.map((user) => [String(user.id), user.name]))
  return { ...doc, populatedAuthors: ids.filter((id) => names.has(id)).map((id) => ({ id, name: names.get(id) })) }
}

export const Posts: CollectionConfig = {
  slug: 'posts',
  admin: { useAsTitle: 'title', defaultColumns: ['title', 'slug', '_status'] },
  access: {
    create: authenticated,
    read: authenticatedOrPublished,
    update: authenticated,
    delete: authenticated,
  },
  hooks: { afterRead: [populateAuthors] },
  versions: { drafts: { autosave: { interval: 100 } }, maxPerDoc: 50 },
  fields: [
    { name: 'title', type: 'text', required: true },
    { name: 'heroImage', type: 'upload', relationTo: 'media' },
    { name: 'content', type: 'richText' },
    { name: 'categories', type: 'relationship', relationTo: 'categories', hasMany: true },
    { name: 'relatedPosts', type: 'relationship', relationTo: 'posts', hasMany: true },
    { name: 'authors', type: 'relationship', relationTo: 'users', hasMany: true },
    {
      name: 'populatedAuthors',
      type: 'array',
      virtual: true,
      access: { create: () => false, update: () => false },
      admin: { disabled: true, readOnly: true },
      fields: [{ name: 'name', type: 'text' }],
    },
    { name: 'publishedAt', type: 'date', admin: { position: 'sidebar' } },
    slug,
  ],
}
