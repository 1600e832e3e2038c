import type { Field, GlobalConfig } from 'payload'

import { anyone, authenticated } from '../access'

export const navItems: Field = {
  name: 'navItems',
  type: 'array',
  maxRows: 6,
  fields: [
    {
      name: 'link',
      type: 'group',
      fields: [
        { name: 'type', type: 'radio', options: ['reference', 'custom'], defaultValue: 'reference' },
        { name: 'reference', type: 'relationship', relationTo: ['pages'] },
        { name: 'url', type: 'text' },
        { name: 'label', type: 'text', required: true },
      ],
    },
  ],
}

export const Header: GlobalConfig = {
  slug: 'header',
  access: { read: anyone, update: authenticated },
  fields: [navItems],
}
