"""The bank's customers' and staff's own commands: they sign with the keys of a wallet and call the bank from outside.

Each module has a `register` that adds its commands; they share who acts (`person`) and how secrets are given (`asking`).
"""
