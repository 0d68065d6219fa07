"""`python -m benchmarks`."""

from benchmarks.commands import app

app()
