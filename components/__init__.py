"""What the platform consists of: one component per file, in folders that follow their type tokens."""
