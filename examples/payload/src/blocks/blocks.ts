import type { Block } from 'payload'

export const Content: Block = {
  slug: 'content',
  fields: [{ name: 'richText', type: 'richText' }],
}

export const CallToAction: Block = {
  slug: 'cta',
  fields: [
    { name: 'heading', type: 'text', required: true },
    {
      name: 'links',
      type: 'array',
      maxRows: 2,
      fields: [
        { name: 'label', type: 'text', required: true },
        { name: 'url', type: 'text', required: true },
      ],
    },
  ],
}

export const MediaBlock: Block = {
  slug: 'mediaBlock',
  fields: [
    { name: 'media', type: 'upload', relationTo: 'media', required: true },
    { name: 'caption', type: 'text' },
  ],
}

export const Banner: Block = {
  slug: 'banner',
  fields: [
    { name: 'style', type: 'select', options: ['info', 'warning', 'error', 'success'], defaultValue: 'info' },
    { name: 'message', type: 'text', required: true },
  ],
}

export const Code: Block = {
  slug: 'code',
  fields: [
    { name: 'language', type: 'text', defaultValue: 'typescript' },
    { name: 'code', type: 'code', required: true },
  ],
}
