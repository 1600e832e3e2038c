import { withPayload } from '@payloadcms/next/withPayload'

export default withPayload({
  // The runtime image holds what the server needs and nothing else.
  output: 'standalone',
  outputFileTracingRoot: import.meta.dirname,
  poweredByHeader: false,
  // Images come from the CDN in the sizes that Payload generated.
  images: { unoptimized: true },
})
