import path from 'node:path'
import { fileURLToPath } from 'node:url'

import { postgresAdapter } from '@payloadcms/db-postgres'
import { seoPlugin } from '@payloadcms/plugin-seo'
import { lexicalEditor } from '@payloadcms/richtext-lexical'
import { s3Storage } from '@payloadcms/storage-s3'
import { buildConfig } from 'payload'
import sharp from 'sharp'

import { Categories } from './collections/Categories'
import { Media } from './collections/Media'
import { Pages } from './collections/Pages'
import { Posts } from './collections/Posts'
import { Users } from './collections/Users'
import { cdnBaseUrl, databaseUri, payloadSecret, s3 } from './environment'
import { Footer } from './globals/Footer'
import { Header } from './globals/Header'
import { withCommitErrors } from './transactions'

const here = path.dirname(fileURLToPath(import.meta.url))

export default buildConfig({
  secret: payloadSecret,
  admin: { user: Users.slug, importMap: { baseDir: here } },
  collections: [Pages, Posts, Media, Categories, Users],
  globals: [Header, Footer],
  editor: lexicalEditor(),
  sharp,
  telemetry: false,
  typescript: { outputFile: path.join(here, 'payload-types.ts') },

  // docs: begin database
  db: withCommitErrors(
    postgresAdapter({
      pool: {
        connectionString: databaseUri,
        // Below PgBouncer's client_idle_timeout, so that this side closes an idle connection first.
        idleTimeoutMillis: 60_000,
        maxLifetimeSeconds: 300,
        // Without it a request waits forever when the pooler is away.
        connectionTimeoutMillis: 10_000,
      },
      schemaName: 'payload', // without it Payload writes "public".… names
      push: false, // migrations only
      disableCreateDatabase: true, // its role may not
      idType: 'uuid',
      migrationDir: path.join(here, 'migrations'),
    }),
  ),
  // docs: end database

  plugins: [
    // docs: begin storage
    s3Storage({
      bucket: s3.bucket,
      collections: {
        media: {
          // Public media: the CDN serves it, Payload does not proxy it.
          disablePayloadAccessControl: true,
          generateFileURL: ({ filename }) => `${cdnBaseUrl}/${encodeURIComponent(filename)}`,
        },
      },
      config: {
        endpoint: s3.endpoint,
        region: s3.region,
        credentials: { accessKeyId: s3.accessKeyId, secretAccessKey: s3.secretAccessKey },
        forcePathStyle: true, // R2 takes both forms, the local store this one
        requestChecksumCalculation: 'WHEN_REQUIRED',
        responseChecksumValidation: 'WHEN_REQUIRED',
      },
    }),
    // docs: end storage
    seoPlugin({ collections: ['pages', 'posts'], uploadsCollection: 'media' }),
  ],

  onInit: (payload) => {
    // A pool emits `error` when the server ends an idle session. Without a listener Node.js ends the process.
    const { pool } = payload.db as unknown as { pool?: { on(event: 'error', listener: (error: Error) => void): void } }
    pool?.on('error', (error) => payload.logger.warn({ err: error }, 'an idle database connection was closed'))
  },
})
