import type { GlobalConfig } from 'payload'

import { anyone, authenticated } from '../access'
import { navItems } from './Header'

export const Footer: GlobalConfig = {
  slug: 'footer',
  access: { read: anyone, update: authenticated },
  fields: [navItems],
}
