"""Checkpoints: who must have signed, what a fork is, and when one tree is shown to begin another."""

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from latticebank.crypto.checkpoints import Checkpoint, CosignerKey, LogKey
from latticebank.crypto.merkle import consistency_proof, root_of
from tests.documents.papers import new_id
from tests.verify.conftest import Verdict
from tests.verify.notary import NOON, NoteKey, PublicLog

Judge = Callable[..., Verdict]


@pytest.fixture
def log() -> PublicLog:
    """A log of 700 logins, without witnesses."""
    log = PublicLog()
    for number in range(700):
        log.record("login", user=new_id(), session=f"{number}")
    return log


def proof_of(log: PublicLog, old: int, new: int) -> str:
    return "".join(f"{base64.b64encode(each).decode()}\n" for each in consistency_proof(log.hashes[:new], old))


def test_a_checkpoint_verifies_and_tells_who_witnessed(judge: Judge, log: PublicLog) -> None:
    log.witnesses = [NoteKey("w.example/old", 4), NoteKey("w.example/new", 6)]
    verdict = judge(log.checkpoint(), log.policy(quorum="w1"))

    assert verdict.code == 0
    assert "witnessed by w0 (w.example/old)" in verdict.told
    assert "witnessed by w1 (w.example/new)" in verdict.told


def test_the_empty_tree_has_its_root(judge: Judge) -> None:
    log = PublicLog()
    other = PublicLog(keys=log.keys)
    other.record("login", user=new_id())
    wrong = f"{log.origin}\n0\n{other.text().splitlines()[2]}\n"

    assert judge(log.checkpoint(), log.policy()).code == 0
    assert judge(f"{wrong}\n" + "".join(key.line(wrong) for key in log.keys), log.policy()).code == 1


def test_each_key_of_the_log_must_have_signed(judge: Judge, log: PublicLog) -> None:
    text, policy = log.text(), log.policy()
    for key in log.keys:
        verdict = judge(f"{text}\n{key.line(text)}", policy)
        assert verdict.code == 1
        assert "the log did not sign it with its" in verdict.faults[0]


def test_a_policy_with_one_key_of_the_log_is_not_enough(judge: Judge, log: PublicLog) -> None:
    for left in (0, 1):
        alone = PublicLog(keys=[log.keys[left]])
        verdict = judge(log.checkpoint(), alone.policy())
        assert verdict.code == 1
        assert "does not name both" in verdict.faults[0]


def test_another_key_under_the_same_name_is_none(judge: Judge, log: PublicLog) -> None:
    assert judge(PublicLog(records=log.records, salts=log.salts).checkpoint(), log.policy()).code == 1


def test_a_wrong_signature_of_a_known_key_spoils_the_checkpoint(judge: Judge, log: PublicLog) -> None:
    log.witnesses = [NoteKey("w.example", 6)]
    text = log.text()
    wrong = "".join(key.line(text) for key in log.keys) + log.witnesses[0].line(log.text(5))
    twice = log.checkpoint() + log.keys[0].line(text)

    assert "does not verify" in judge(f"{text}\n{wrong}", log.policy()).faults[0]
    assert "there twice" in judge(twice, log.policy()).faults[0]


def test_a_time_that_is_none_is_refused(judge: Judge, log: PublicLog) -> None:
    log.witnesses = [NoteKey("w.example", 6)]
    text = log.text()
    for time, code in ((0, 0), (253_402_300_799, 0), (253_402_300_800, 1), (2**64 - 1, 1)):
        lines = "".join(key.line(text) for key in log.keys) + log.witnesses[0].line(text, time)
        assert judge(f"{text}\n{lines}", log.policy()).code == code


def test_signatures_of_strangers_are_told_and_count_for_nothing(judge: Judge, log: PublicLog) -> None:
    log.witnesses = [NoteKey("w.example", 6)]
    policy = log.policy(quorum="w0")
    log.witnesses = [NoteKey("w.example", 6), NoteKey("stranger.example", 4)]

    assert judge(log.checkpoint(), policy).code == 1
    verdict = judge(log.checkpoint(), PublicLog(keys=log.keys).policy())
    assert verdict.code == 0
    assert "2 signatures by keys that the policy does not name" in verdict.told


@pytest.mark.parametrize(
    ("sound", "altered"),
    [
        ("\n700\n", "\n0700\n"),
        ("\n700\n", "\n-700\n"),
        ("\n700\n", "\n9223372036854775808\n"),
        ("=\n", "\n"),
        ("=\n", "=\nextension\n"),
        ("/log", "/other"),
    ],
)
def test_a_checkpoint_that_is_signed_and_malformed_is_refused(
    judge: Judge, log: PublicLog, sound: str, altered: str
) -> None:
    text = log.text().replace(sound, altered)
    assert text != log.text()
    note = f"{text}\n" + log.keys[0].line(text) + log.keys[1].line(log.text())

    assert judge(note, log.policy()).code == 1


def test_two_checkpoints_of_one_tree_are_sound(judge: Judge, log: PublicLog) -> None:
    assert judge([log.checkpoint(), log.checkpoint()], log.policy()).code == 0


def test_two_trees_of_one_size_are_a_fork(judge: Judge, log: PublicLog) -> None:
    other = PublicLog(keys=log.keys, records=[*log.records[:-1], log.records[0]], salts=log.salts)
    verdict = judge([log.checkpoint(), other.checkpoint()], log.policy())

    assert verdict.code == 1
    assert "fork" in verdict.faults[0]


def test_checkpoints_of_different_logs_say_nothing_of_each_other(judge: Judge, log: PublicLog) -> None:
    other = PublicLog(origin=f"{log.origin}/2")
    policy = "".join(f"log {key.vkey}\n" for key in (*log.keys, *other.keys)) + "quorum none\n"

    assert "different logs" in judge([log.checkpoint(), other.checkpoint()], policy).faults[0]


def test_without_proof_it_is_said_that_consistency_was_not_shown(judge: Judge, log: PublicLog) -> None:
    verdict = judge([log.checkpoint(5), log.checkpoint()], log.policy())

    assert (verdict.code, verdict.faults) == (3, [])
    assert "begins the one of 700 entries" in verdict.told


@pytest.mark.parametrize(("old", "new"), [(1, 700), (5, 600), (512, 700), (256, 257), (699, 700), (700, 700), (0, 700)])
def test_a_consistency_proof_shows_it(judge: Judge, log: PublicLog, old: int, new: int) -> None:
    proof = proof_of(log, old, new) if old else ""

    assert judge([log.checkpoint(new), log.checkpoint(old)], log.policy(), proof=proof).code == 0


def test_a_proof_of_something_else_is_a_fault(judge: Judge, log: PublicLog) -> None:
    other = PublicLog(keys=log.keys, records=log.records[::-1], salts=log.salts)
    pair = [log.checkpoint(5), log.checkpoint()]
    proof = proof_of(log, 5, 700)

    assert judge([other.checkpoint(5), log.checkpoint()], log.policy(), proof=proof).code == 1
    assert judge(pair, log.policy(), proof=proof_of(log, 6, 700)).code == 1
    for wrong in (
        "",
        proof[45:],
        proof + proof[:45],
        "AA==\n" + proof,
        "no hash\n",
        proof.replace("=", ""),
        "\n" * 999,
    ):
        assert judge(pair, log.policy(), proof=wrong).code == 1
    assert judge([log.checkpoint(5), log.checkpoint(5)], log.policy(), proof=proof).code == 1
    assert judge([log.checkpoint(5)], log.policy(), proof=proof).code == 2


def test_a_downloaded_log_shows_it(judge: Judge, log: PublicLog, tmp_path: Path) -> None:
    pair = [log.checkpoint(5), log.checkpoint(300)]
    folder = log.download(tmp_path / "log")

    assert judge(pair, log.policy(), log=folder).code == 0
    assert judge([*pair, folder], log.policy()).code == 0
    other = PublicLog(keys=log.keys, records=log.records[::-1], salts=log.salts)
    verdict = judge([other.checkpoint(5), log.checkpoint(300)], log.policy(), log=folder)
    assert verdict.code == 1
    assert "do not make the tree" in verdict.faults[0]


@pytest.mark.parametrize("turned", [False, True])
def test_two_copies_of_a_log_show_whether_it_was_rewritten(
    judge: Judge, log: PublicLog, tmp_path: Path, turned: bool
) -> None:
    def copies(log: PublicLog, name: str) -> list[Path]:
        before = PublicLog(keys=log.keys, records=log.records[:300], salts=log.salts[:300])
        return [before.download(tmp_path / f"{name}-before"), log.download(tmp_path / name)]

    other = PublicLog(keys=log.keys, records=log.records[::-1], salts=log.salts)
    (before, now), (_, forked) = copies(log, "log"), copies(other, "other")

    assert judge([now, before] if turned else [before, now], log.policy()).code == 0
    verdict = judge([forked, before] if turned else [before, forked], log.policy())
    assert verdict.code == 1
    assert "fork" in verdict.faults[0]
    assert judge([forked, now] if turned else [now, forked], log.policy()).code == 1


def test_a_log_that_is_too_short_does_not_show_it(judge: Judge, log: PublicLog, tmp_path: Path) -> None:
    short = PublicLog(keys=log.keys, records=log.records[:10], salts=log.salts[:10]).download(tmp_path / "log")

    assert judge([log.checkpoint(5), log.checkpoint(300)], log.policy(), log=short).code == 3


def test_what_the_log_and_the_witness_of_the_house_sign_verifies(judge: Judge, log: PublicLog) -> None:
    key, witness = LogKey.generate(), CosignerKey.from_seed("witness.example/w", bytes(32))
    checkpoint = Checkpoint(log.origin, len(log.records), root_of(log.hashes))
    note = key.sign(checkpoint, NOON) + witness.cosign(checkpoint, NOON).encode()
    lines = [f"log {each.vkey()}" for each in key.note_keys(log.origin)]
    policy = "\n".join([*lines, f"witness paper {witness.note_key().vkey()}", "quorum paper", ""])
    verdict = judge(note, policy)

    assert (verdict.code, verdict.faults) == (0, [])
    assert "witnessed by paper (witness.example/w) at 2026-11-20T12:00:00Z" in verdict.told
