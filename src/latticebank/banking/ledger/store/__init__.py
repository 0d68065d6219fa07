"""All SQL of the ledger: `write` is the write path, `read` answers questions, `proof` finds broken invariants."""
