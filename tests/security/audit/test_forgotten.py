"""A bank that lost its memory ends its log, and the new one claims to know no more of the old than it does."""

import asyncio

import pytest

from latticebank.security.audit.model.forgotten import forgotten
from latticebank.security.audit.model.standing import LogHalted
from latticebank.security.audit.service.beginning import begin_anew
from tests.security.audit.hall import Hall


async def test_a_log_that_was_forgotten_stands_still_and_the_next_names_it_without_a_size(hall: Hall) -> None:
    await hall.open("EUR")
    await hall.integrated()
    base = hall.log.foundation
    base.kept.replace(forgotten(base.kept.lines(), base.bank))
    with pytest.raises(LogHalted):
        await hall.log.status._standing.examine()
    begun = await begin_anew(base.database, base.book, base.bank, base.kept, base.now())
    async with asyncio.timeout(60):
        while not hall.rows("SELECT 1 FROM checkpoints WHERE log = 2", database="audit"):  # noqa: ASYNC110 - nobody rings
            await asyncio.sleep(0.05)
    first = (await hall.records())[0]
    assert (first["kind"], first["origin"], first["previous"]) == ("log.begun", begun.origin, "bank.test/log")
    assert "previous_size" not in first
    assert "previous_root" not in first


def test_every_log_that_is_known_is_given_up_and_none_that_is_to_come() -> None:
    lines = forgotten([b'{"origin":"bank.test/log/2","size":7,"root":""}'], "bank.test")
    assert lines == forgotten(lines, "bank.test")
    assert [b'"bank.test/log"' in each for each in lines].count(True) == 1
    assert not any(b"log/3" in each for each in lines)
