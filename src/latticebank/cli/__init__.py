"""The `latticebank` command: each command is a thin layer over the same services that everyone uses.

A command finds the bank that runs on the data folder and calls it over HTTP; where none runs, it opens the bank's
books in its own process for as long as it takes.
"""

from latticebank.cli.application import main

__all__ = ["main"]
