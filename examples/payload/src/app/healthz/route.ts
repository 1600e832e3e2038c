/** Answers while the process serves requests. The database has no part in it: its failure must not restart the pod. */
export const dynamic = 'force-dynamic'

export const GET = () => new Response('ok\n', { headers: { 'content-type': 'text/plain' } })
