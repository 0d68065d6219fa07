"""A process that imports a file, tells how far it is, and goes on at a word: database URL, folder, mapping, file."""

import asyncio
import sys
from pathlib import Path

from latticebank.banking.takeover.progress import Phase
from latticebank.banking.takeover.run import take_over
from tests.banking.takeover.banks import ledger_of


def tell(phase: Phase, done: int, total: int) -> None:
    sys.stderr.write(f"{phase.name} {done} {total}\n")
    sys.stderr.flush()
    sys.stdin.readline()


async def main(url: str, folder: str, mapping: str, file: str) -> None:
    async with ledger_of(url, Path(folder)) as client:
        await take_over(client, Path(mapping), Path(file), correct_rounding=True, progress=tell)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
