import type { Access } from 'payload'

export const authenticated: Access = ({ req: { user } }) => Boolean(user)

export const anyone: Access = () => true

/** Editors read everything; the public reads what is published. */
export const authenticatedOrPublished: Access = ({ req: { user } }) =>
  user ? true : { _status: { equals: 'published' } }
