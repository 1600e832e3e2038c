import type { DatabaseAdapterObj } from 'payload'

type Transactions = {
  drizzle: { transaction(...given: unknown[]): Promise<unknown> }
  initializing: Promise<void>
  sessions: Record<string, object>
  beginTransaction(options?: unknown): Promise<string>
  commitTransaction(id: string | Promise<string>): Promise<void>
}

/**
 * Lets a request fail whose COMMIT failed.
 *
 * Payload's PostgreSQL adapter swallows that error: the request answers with the new document and its id, and the row
 * does not exist. It happens when the server ends the session while the transaction waits for a hook or an upload.
 */
export function withCommitErrors<T>(adapter: DatabaseAdapterObj<T>): DatabaseAdapterObj<T> {
  return {
    ...adapter,
    init: (args) => {
      const db = adapter.init(args)
      const transactions = db as unknown as Transactions
      const { beginTransaction, commitTransaction } = transactions
      const outcomes = new WeakMap<object, Promise<unknown>>()

      transactions.beginTransaction = async (options) => {
        await transactions.initializing
        let outcome: Promise<unknown> | undefined
        const transaction = (...given: unknown[]) => (outcome = transactions.drizzle.transaction(...given))
        const recording = Object.create(transactions, { drizzle: { value: { transaction } } })
        const id: string = await beginTransaction.call(recording, options)
        const session = transactions.sessions[id]
        if (session && outcome) outcomes.set(session, outcome)
        return id
      }

      transactions.commitTransaction = async (given) => {
        const id = await given
        const session = transactions.sessions[id]
        await commitTransaction.call(transactions, id)
        if (session) await outcomes.get(session)
      }
      return db
    },
  }
}
