// The migration Job's command: waits until the database answers, then runs `payload migrate` on the direct URL.
import { spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'

import pg from 'pg'

const WAIT_SECONDS = 60
const CONNECT_SECONDS = 5

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

/** Gives the command's exit status: not 0 where it did not come to its end. */
async function migrate() {
  // The condition keeps Lexical's packages from loading one another by top-level await in a circle. On that an import
  // may wait for ever, and Node then ends with status 0 and nothing migrated.
  const command = ['--conditions=production', 'node_modules/payload/bin.js', 'migrate']
  const child = spawn(process.execPath, command, {
    // Elsewhere than in production Payload writes its types as well, which takes as long as the migration.
    env: { ...process.env, DATABASE_URI: connectionString, NODE_ENV: 'production' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  process.once('SIGTERM', (signal) => child.kill(signal))
  let output = ''
  child.stdout.on('data', (data) => {
    output += data
    process.stdout.write(data)
  })
  const status = await new Promise((resolve) => child.once('close', (code) => resolve(code ?? 1)))
  if (status === 0 && !output.includes('Done.')) throw new Error('payload migrate ended before it was done')
  return status
}

await waitForDatabase()
process.exitCode = await migrate()
