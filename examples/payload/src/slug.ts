import type { Field } from 'payload'

const slugOf = (text: string): string =>
  text
    .normalize('NFKD')
    .replace(/[\u0300-\u036f]/g, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')

/** A unique slug, derived from the title where the editor gives none. */
export const slug: Field = {
  name: 'slug',
  type: 'text',
  unique: true,
  index: true,
  admin: { position: 'sidebar' },
  hooks: {
    beforeValidate: [({ value, data }) => value || (typeof data?.title === 'string' ? slugOf(data.title) : value)],
  },
}
