import type { CollectionConfig } from 'payload'

import { anyone, authenticated } from '../access'
import { slug } from '../slug'

export const Categories: CollectionConfig = {
  slug: 'categories',
  admin: { useAsTitle: 'title' },
  access: { create: authenticated, read: anyone, update: authenticated, delete: authenticated },
  fields: [{ name: 'title', type: 'text', required: true }, slug],
}
