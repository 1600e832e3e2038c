import type { CollectionAfterReadHook, CollectionConfig } from 'payload'

import { anyone, authenticated } from '../access'

/** Payload itself serves no file of the bucket, but it would link the admin's thumbnails to itself. */
const thumbnailFromStore: CollectionAfterReadHook = ({ doc }) => ({
  ...doc,
  thumbnailURL: doc.sizes?.thumbnail?.url ?? doc.url,
})

/** Files in the bucket, at its root: the object key is the file name. */
export const Media: CollectionConfig = {
  slug: 'media',
  access: { create: authenticated, read: anyone, update: authenticated, delete: authenticated },
  hooks: { afterRead: [thumbnailFromStore] },
  fields: [
    { name: 'alt', type: 'text' },
    { name: 'caption', type: 'richText' },
  ],
  upload: {
    focalPoint: true,
    adminThumbnail: 'thumbnail',
    imageSizes: [
      { name: 'thumbnail', width: 300 },
      { name: 'square', width: 500, height: 500 },
      { name: 'small', width: 600 },
      { name: 'medium', width: 900 },
      { name: 'large', width: 1400 },
      { name: 'xlarge', width: 1920 },
      { name: 'og', width: 1200, height: 630, crop: 'center' },
    ],
  },
}
