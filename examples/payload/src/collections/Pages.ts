import type { CollectionConfig } from 'payload'

import { authenticated, authenticatedOrPublished } from '../access'
import { Banner, CallToAction, Code, Content, MediaBlock } from '../blocks/blocks'
import { slug } from '../slug'

export const Pages: CollectionConfig = {
  slug: 'pages',
  admin: { useAsTitle: 'title', defaultColumns: ['title', 'slug', '_status'] },
  access: {
    create: authenticated,
    read: authenticatedOrPublished,
    update: authenticated,
    delete: authenticated,
  },
  versions: { drafts: { autosave: { interval: 100 } }, maxPerDoc: 50 },
  fields: [
    { name: 'title', type: 'text', required: true },
    {
      name: 'hero',
      type: 'group',
      fields: [
        { name: 'heading', type: 'text' },
        { name: 'media', type: 'upload', relationTo: 'media' },
      ],
    },
    { name: 'layout', type: 'blocks', blocks: [Content, CallToAction, MediaBlock, Banner, Code] },
    { name: 'publishedAt', type: 'date', admin: { position: 'sidebar' } },
    slug,
  ],
}
