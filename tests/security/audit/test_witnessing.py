"""Witnesses cosign what the log publishes, and stop a log that says other than it has said."""

import asyncio
import shutil
from pathlib import Path
from secrets import token_bytes
from typing import Any

import psycopg
import pytest

from latticebank.crypto.checkpoints import Checkpoint, CosignerKey, LogKey, cosigned_at, open_checkpoint
from latticebank.crypto.errors import MalformedNote
from latticebank.crypto.log_policy import NamedWitness
from latticebank.crypto.notes import ED25519_COSIGNATURE, MAX_SIGNATURES, NoteKey, parse_note
from latticebank.crypto.tiles import MAX_SIZE
from latticebank.kernel.settings import InvalidSettings
from latticebank.security.audit.model.standing import LogHalted
from latticebank.security.audit.service.witness import ROUND_SECONDS, Witness
from latticebank.security.audit.service.witnessing import how_many_fit
from latticebank.verify.checkpoint import parse_note as verifiers_note
from latticebank.verify.checkpoint import parse_policy as verifiers_policy
from latticebank.verify.checkpoint import verify_checkpoint
from latticebank.verify.strict import Fault as VerifiersFault
from latticebank.verify.strict import Findings
from tests.clocks import MovingClock
from tests.security.audit.hall import Hall, open_hall
from tests.security.audit.outsiders import WITNESS, Ditherer, Founding, Liar, Outsider, Stutterer
from tests.security.audit.outsiders import founded as founded
from tests.security.identity.people import said


async def status(hall: Hall) -> dict[str, Any]:
    return said(await hall.audit("/status", "operator"))


async def grow(hall: Hall) -> int:
    await hall.open("EUR")
    return (await hall.integrated()).size


async def signatures(hall: Hall, outsider: Outsider) -> list[bytes]:
    """What the newest checkpoint has by the key of a witness; all of it verifies."""
    note, key = parse_note((await hall.read("/checkpoint")).body), outsider.key.note_key()
    assert (cosigned_at(note, key) is not None) == bool(note.signatures_of(key))
    return note.signatures_of(key)


async def cosigned(hall: Hall, *outsiders: Outsider) -> None:
    """Wait until the newest checkpoint has the cosignature of each of these witnesses."""
    async with asyncio.timeout(60):
        while not all([await signatures(hall, each) for each in outsiders]):  # noqa: ASYNC110 - nobody rings
            await asyncio.sleep(0.02)


async def refusal(hall: Hall) -> str:
    """What the log says once it stands still."""
    async with asyncio.timeout(60):
        while (told := (await status(hall))["refusal"]) is None:  # noqa: ASYNC110 - nobody rings
            await asyncio.sleep(0.05)
    return str(told)


def forget(folder: Path) -> None:
    """Lose all that the bank kept apart."""
    shutil.rmtree(folder / "bank" / "kept")


def copied(urls: dict[str, str], name: str) -> dict[str, str]:
    """The databases, with that of audit as it is now under another name."""
    source = urls["audit"].rpartition("/")[2]
    with psycopg.connect(urls["audit"].rpartition("/")[0] + "/postgres", autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{source}_{name}" WITH (FORCE)'.encode())
        connection.execute(f'CREATE DATABASE "{source}_{name}" TEMPLATE "{source}"'.encode())
    return {**urls, "audit": f"{urls['audit']}_{name}"}


async def test_what_is_published_carries_the_cosignature(
    urls: dict[str, str], clock: MovingClock, tmp_path: Path, founded: Founding
) -> None:
    [outsider] = await founded(Outsider)
    async with outsider.awake(), open_hall(urls, tmp_path / "bank", clock, witnesses=tmp_path / "witnesses") as hall:
        await hall.is_open()
        size = await grow(hall)
        await cosigned(hall, outsider)
        [witness] = (await status(hall))["witnesses"]
        assert witness == {"name": WITNESS, "size": size, "trouble": None}
        assert WITNESS in (await hall.read("/policy")).body.decode()


async def test_the_bank_goes_on_without_a_silent_witness_which_cosigns_when_it_is_back(
    urls: dict[str, str], clock: MovingClock, tmp_path: Path, founded: Founding
) -> None:
    [outsider] = await founded(Outsider)
    async with open_hall(urls, tmp_path / "bank", clock, witnesses=tmp_path / "witnesses") as hall:
        await hall.is_open()
        await grow(hall)
        assert not await signatures(hall, outsider)
        [witness] = (await status(hall))["witnesses"]
        assert witness["trouble"]
        async with outsider.awake():
            await cosigned(hall, outsider)
        [witness] = (await status(hall))["witnesses"]
        assert witness["trouble"] is None


async def test_a_witness_remembers_what_a_restored_bank_has_forgotten(
    urls: dict[str, str], clock: MovingClock, tmp_path: Path, founded: Founding
) -> None:
    [outsider] = await founded(Outsider)
    older = copied(urls, "older")
    async with outsider.awake():
        async with open_hall(urls, tmp_path / "bank", clock, witnesses=tmp_path / "witnesses") as hall:
            await hall.is_open()
            size = await grow(hall)
        forget(tmp_path)
        async with open_hall(older, tmp_path / "bank", clock, witnesses=tmp_path / "witnesses") as hall:
            before = hall.rows("SELECT size, (SELECT max(size) FROM checkpoints) FROM logs", database="audit")
            await hall.is_open()
            assert f"and {size} were published" in await refusal(hall)
            after = hall.rows("SELECT size, (SELECT max(size) FROM checkpoints) FROM logs", database="audit")
            assert after == before
    # It is remembered: the witness need not be there the next time.
    async with open_hall(older, tmp_path / "bank", clock, witnesses=tmp_path / "witnesses") as hall:
        await hall.is_open()
        assert "were published" in await refusal(hall)


async def test_a_witness_refuses_a_fork_and_the_log_stands_still(
    urls: dict[str, str], clock: MovingClock, tmp_path: Path, founded: Founding
) -> None:
    [outsider] = await founded(Outsider)
    older = copied(urls, "forked")
    async with outsider.awake(), open_hall(urls, tmp_path / "bank", clock, witnesses=tmp_path / "witnesses") as hall:
        await hall.is_open()
        size = await grow(hall)
    forget(tmp_path)
    # Nobody is there to contradict, so the restored log grows another way.
    async with open_hall(older, tmp_path / "bank", clock) as hall:
        await hall.is_open()
        await grow(hall)
        assert await grow(hall) > size
    async with outsider.awake(), open_hall(older, tmp_path / "bank", clock, witnesses=tmp_path / "witnesses") as hall:
        await hall.is_open()
        assert "are not those that were published" in await refusal(hall)
        published = hall.rows("SELECT max(size) FROM checkpoints", database="audit")
        await hall.open("EUR")
        with pytest.raises(LogHalted):
            await hall.log.background._publish()
        assert hall.rows("SELECT max(size) FROM checkpoints", database="audit") == published


@pytest.mark.parametrize(
    ("status_code", "body"),
    [(409, "9000000000000\n"), (409, ""), (422, "no"), (200, "nonsense"), (500, "")],
    ids=["a large size", "no size", "a fork", "no cosignature", "an error"],
)
async def test_a_word_without_the_logs_own_signatures_stops_nothing(
    urls: dict[str, str], clock: MovingClock, tmp_path: Path, founded: Founding, status_code: int, body: str
) -> None:
    [outsider] = await founded(Liar)
    other = LogKey.generate().sign(Checkpoint("bank.test/log", 9_000_000, b"\x07" * 32), clock.now())
    assert isinstance(outsider, Liar)
    async with (
        outsider.claiming(status_code, body, other),
        open_hall(urls, tmp_path / "bank", clock, witnesses=tmp_path / "witnesses") as hall,
    ):
        await hall.is_open()
        size = await grow(hall)
        told = await status(hall)
        assert (told["refusal"], told["published_size"]) == (None, size)
        async with asyncio.timeout(60):
            while (await status(hall))["witnesses"][0]["trouble"] is None:  # noqa: ASYNC110 - nobody rings
                await asyncio.sleep(0.02)


async def test_a_bank_that_died_before_it_published_what_was_cosigned_goes_on(
    urls: dict[str, str], clock: MovingClock, tmp_path: Path, founded: Founding
) -> None:
    [outsider] = await founded(Outsider)
    async with outsider.awake():
        async with open_hall(urls, tmp_path / "bank", clock, witnesses=tmp_path / "witnesses") as hall:
            await hall.is_open()
            size = await grow(hall)
            # The database refuses what is to be published: the witness has cosigned it by then.
            hall.write(
                "CREATE TRIGGER refused BEFORE INSERT OR UPDATE ON checkpoints "
                "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_log()",
                database="audit",
            )
            await hall.open("EUR")
            async with asyncio.timeout(60):
                while outsider.knows() <= size:  # noqa: ASYNC110 - nobody rings
                    await asyncio.sleep(0.02)
        assert hall.rows("SELECT max(size) FROM checkpoints", database="audit") == [(size,)]
        hall.write("DROP TRIGGER refused ON checkpoints", database="audit")
        async with open_hall(urls, tmp_path / "bank", clock, witnesses=tmp_path / "witnesses") as hall:
            await hall.is_open()
            await grow(hall)
            assert (await status(hall))["refusal"] is None
            await cosigned(hall, outsider)


async def test_what_a_witness_says_twice_or_for_others_is_taken_over_once(
    urls: dict[str, str], clock: MovingClock, tmp_path: Path, founded: Founding
) -> None:
    [stutterer] = await founded(Stutterer)
    async with stutterer.awake(), open_hall(urls, tmp_path / "bank", clock, witnesses=tmp_path / "witnesses") as hall:
        await hall.is_open()
        size = await grow(hall)
        await cosigned(hall, stutterer)
        note, policy = (await hall.read("/checkpoint")).body, (await hall.read("/policy")).body
    assert len(parse_note(note).signatures) == 3, "two keys of the log, and that of the witness"
    findings = Findings("the checkpoint", "checkpoint")
    assert verify_checkpoint(note, verifiers_policy(policy), findings).size == size
    assert any(WITNESS in line for line in findings.checked)


async def test_two_keys_of_one_name_are_two_witnesses(
    urls: dict[str, str], clock: MovingClock, tmp_path: Path, founded: Founding
) -> None:
    one, other = await founded(Outsider, Outsider)
    async with (
        one.awake(),
        other.awake(),
        open_hall(urls, tmp_path / "bank", clock, witnesses=tmp_path / "witnesses") as hall,
    ):
        await hall.is_open()
        await grow(hall)
        await cosigned(hall, one, other)


async def test_a_witness_that_thinks_holds_up_neither_the_log_nor_another_and_is_heard_when_it_has_thought(
    urls: dict[str, str], clock: MovingClock, tmp_path: Path, founded: Founding
) -> None:
    ditherer, prompt = await founded(Ditherer, Outsider)
    assert isinstance(ditherer, Ditherer)
    async with (
        ditherer.awake(),
        prompt.awake(),
        open_hall(urls, tmp_path / "bank", clock, witnesses=tmp_path / "witnesses") as hall,
    ):
        await hall.is_open()
        first = await grow(hall)
        await ditherer.asked.wait()
        # It has not answered, and does not before the test says so: other sizes are published and cosigned meanwhile.
        assert await grow(hall) > first
        await cosigned(hall, prompt)
        assert not await signatures(hall, ditherer)
        ditherer.may_answer.set()
        await cosigned(hall, ditherer, prompt)
        assert [len(await signatures(hall, each)) for each in (ditherer, prompt)] == [1, 1]
        assert {each["trouble"] for each in (await status(hall))["witnesses"]} == {None}


def test_a_log_that_grows_passes_by_who_was_late_and_one_that_rests_asks_it() -> None:
    key = CosignerKey.from_seed(WITNESS, token_bytes(32)).note_key()
    witness = Witness(NamedWitness("w1", key, "http://127.0.0.1:1"), "http://127.0.0.1:1")

    def free() -> tuple[bool, bool, bool]:
        return witness.is_free(growing=True), witness.is_free(growing=False), witness.prompt

    assert free() == (True, True, True)
    witness.cosigned(ROUND_SECONDS + 0.1)
    assert free() == (False, True, False)
    witness.cosigned(0.01)
    assert free() == (True, True, True)
    witness.failed("it does not answer")
    assert free() == (False, False, False)


@pytest.mark.parametrize("name", ["w.example/w", "a-name-as-long-as-they-come.example/" + "w" * 200])
def test_as_many_witnesses_fit_as_a_checkpoint_of_the_bank_has_room_for(clock: MovingClock, name: str) -> None:
    keys = [CosignerKey.from_seed(f"{name}{number:02}", token_bytes(32)) for number in range(30)]
    fitting = how_many_fit("bank.test", [key.note_key() for key in keys])
    assert fitting == 19 if len(name) < 20 else fitting < 19
    log = LogKey.generate()
    largest = Checkpoint("bank.test/log/32767", MAX_SIZE, b"\x07" * 32)
    note = log.sign(largest, clock.now())
    for key in keys[:fitting]:
        note += key.cosign(largest, clock.now()).encode()
    assert open_checkpoint(note, log.note_keys(largest.origin)) == largest
    assert verifiers_note(note)[1]
    note += keys[fitting].cosign(largest, clock.now()).encode()
    with pytest.raises(MalformedNote):
        parse_note(note)
    with pytest.raises(VerifiersFault):
        verifiers_note(note)


def test_no_more_cosignatures_fit_than_a_note_may_have_signatures() -> None:
    keys = [NoteKey.of(f"w{number}.example", ED25519_COSIGNATURE, token_bytes(32)) for number in range(80)]
    assert how_many_fit("bank.test", keys) == MAX_SIGNATURES - 2
    assert how_many_fit("bank.test", keys[:3]) == 3
    assert how_many_fit("bank.test", []) == 0


async def test_more_witnesses_than_fit_keep_the_bank_closed(
    urls: dict[str, str], clock: MovingClock, tmp_path: Path
) -> None:
    keys = [CosignerKey.from_seed(f"w{number}.example/w", token_bytes(32)).note_key() for number in range(20)]
    lines = [f"witness w{number} {key.vkey()} http://w{number}.example" for number, key in enumerate(keys)]
    (tmp_path / "witnesses").write_text("\n".join(lines))
    with pytest.raises(InvalidSettings, match="names 20 witnesses, and the cosignatures of the first 19 fill"):
        async with open_hall(urls, tmp_path / "bank", clock, witnesses=tmp_path / "witnesses"):
            pass


@pytest.mark.parametrize(
    "address", ["", " nonsense", " http://[::1", " ftp://witness.example", " http://[1:2]", " http://w1:99999"]
)
async def test_a_witness_without_an_address_keeps_the_bank_closed(
    urls: dict[str, str], clock: MovingClock, tmp_path: Path, address: str
) -> None:
    key = CosignerKey.from_seed(WITNESS, token_bytes(32)).note_key()
    (tmp_path / "witnesses").write_text(f"witness w1 {key.vkey()}{address}\n")
    with pytest.raises(InvalidSettings, match="names no address of w1"):
        async with open_hall(urls, tmp_path / "bank", clock, witnesses=tmp_path / "witnesses"):
            pass
