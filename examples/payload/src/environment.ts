/** The variables that the platform hands to this service, checked once at the start. */

function required(name: string): string {
  const value = process.env[name]
  if (!value) throw new Error(`${name} is not set; make env SERVICE=payload writes it`)
  return value
}

// `next build` imports the config in an image build, where there are no secrets and no servers.
const building = process.env.NEXT_PHASE === 'phase-production-build'
const read = building ? (name: string) => process.env[name] ?? '' : required

export const databaseUri = read('DATABASE_URI')
export const payloadSecret = read('PAYLOAD_SECRET')
export const s3 = {
  endpoint: read('S3_ENDPOINT'),
  region: read('S3_REGION'),
  bucket: read('S3_BUCKET'),
  accessKeyId: read('S3_ACCESS_KEY_ID'),
  secretAccessKey: read('S3_SECRET_ACCESS_KEY'),
}
export const cdnBaseUrl = read('CDN_BASE_URL').replace(/\/$/, '')
