"""The banking services: the ledger, and what is built upon it."""
