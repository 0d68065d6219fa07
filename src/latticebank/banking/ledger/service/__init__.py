"""What the ledger does: `writer` takes commands through the database, `ledger` answers callers."""
