"""What a file of openings tells of the batches of the ledger. It is read as `latticebank verify` reads it, by the same code."""

from collections.abc import Iterator
from pathlib import Path

from latticebank.banking.ledger.model.logged import LoggedBatch
from latticebank.verify.openings import read_openings
from latticebank.verify.records import parse_record
from latticebank.verify.strict import Fault, parse


def batches_logged(openings: Path, bank: str) -> Iterator[LoggedBatch]:
    """Yield the batches in the order of the log, holding one line at a time. Nothing says here that the log holds them.

    Raises:
        Fault: it cannot be read, is no file of openings, is of another bank's log, or tells of no batch.

    """
    batches = 0
    try:
        for number, opening in enumerate(read_openings(openings)):
            index, where = opening["index"], f"entry {opening['index']}"
            facts = parse_record(opening["record"], where)
            if facts["bank"] != bank:
                raise Fault(f"{where}: it is of the bank {facts['bank']}, and this is {bank}")
            if facts["kind"] == "ledger.batch":
                shard, link = parse("whole", facts["shard"], where), parse("hash", facts["link"], where)
                yield LoggedBatch(facts["first_seq"], facts["next_seq"], index, index - number, shard, link)
                batches += 1
    except OSError as error:
        raise Fault(f"{openings}: it cannot be read: {error.strerror}") from None
    if not batches:
        raise Fault(f"{openings}: no entry that is opened in it tells of a batch of the ledger")
