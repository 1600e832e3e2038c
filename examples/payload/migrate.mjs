// The migration Job's command: waits until the database answers, then runs `payload migrate` on the direct URL.
import { spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'

import pg from 'pg'

const WAIT_SECONDS = 60
const CONNECT_SECONDS = 5
const RUNS = 5

const connectionString = process.env.DATABASE_URI_DIRECT
if (!connectionString) throw new Error('DATABASE_URI_DIRECT is not set; make env SERVICE=payload writes it')

// A refusal by the server itself, such as a wrong password, is final; that it is still starting up (57P03) is not.
const isFinal = (error) => error instanceof pg.DatabaseError && error.code !== '57P03'

/** A pod's first connections are lost while the network plugin still installs its rules. */
async function waitForDatabase() {
  for (const deadline = Date.now() + WAIT_SECONDS * 1000; ; ) {
    const client = new pg.Client({ connectionString, connectionTimeoutMillis: CONNECT_SECONDS * 1000 })
    try {
      await client.connect()
      return await client.end()
    } catch (error) {
      if (isFinal(error) || Date.now() > deadline) throw error
      console.error(`the database does not answer yet: ${error.message}`)
      await sleep(1000)
    }
  }
}

/** Runs the command; gives its exit status and whether it printed anything. */
async function migrate() {
  const child = spawn(process.execPath, ['node_modules/payload/bin.js', 'migrate'], {
    env: { ...process.env, DATABASE_URI: connectionString },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const forward = (signal) => child.kill(signal)
  process.once('SIGTERM', forward)
  let printed = false
  child.stdout.on('data', (data) => {
    printed = true
    process.stdout.write(data)
  })
  const status = await new Promise((resolve) => child.once('close', (code) => resolve(code ?? 1)))
  process.off('SIGTERM', forward)
  return { status, printed }
}

await waitForDatabase()
for (let run = 1; ; run += 1) {
  const { status, printed } = await migrate()
  // On a busy machine an import of the TypeScript loader never settles: Node then ends with status 0, and nothing is
  // migrated. A run that did its work says so.
  if (status !== 0 || printed) process.exit(status)
  if (run === RUNS) throw new Error(`payload migrate printed nothing in ${RUNS} runs`)
}
