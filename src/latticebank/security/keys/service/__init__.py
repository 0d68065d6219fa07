"""What is done with keys: `keyring` answers callers, `kek` opens the key of keys, `backup` copies the tree and back.

`holds` keeps keys from being destroyed, `tombstones` keeps those that were from coming back.
"""
