// Serves the REST API of the site before Phase 0: Payload's own routes without Next.js, whose build takes minutes.
import { createServer } from 'node:http'

import config from '@payload-config'
import { createRequestListener } from '@remix-run/node-fetch-server'
import { getPayload, handleEndpoints } from 'payload'

await getPayload({ config })

const server = createServer(
  createRequestListener((request) =>
    new URL(request.url).pathname === '/healthz' ? new Response('ok\n') : handleEndpoints({ config, request }),
  ),
)
// `payload run` ends the process with the script, which therefore lasts as long as the server.
await new Promise((_, reject) => {
  server.once('error', reject)
  server.listen(Number(process.env.PORT), process.env.HOSTNAME)
})
