"""Policies are read as C2SP tlog-policy says, and whatever is not understood is refused."""

from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256

import pytest

from latticebank.verify.checkpoint import parse_key, parse_note, parse_policy
from latticebank.verify.strict import Fault
from tests.verify.conftest import Verdict
from tests.verify.notary import NoteKey, PublicLog

Judge = Callable[..., Verdict]

LOG = [NoteKey("bank.example/log", 1), NoteKey("bank.example/log", 6)]
WITNESSES = [NoteKey(f"w{number}.example", 4) for number in range(6)]
LINES = [f"log {key.vkey}" for key in LOG] + [f"witness w{n} {key.vkey}" for n, key in enumerate(WITNESSES)]


def policy_of(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in (*LINES, *lines)).encode()


@pytest.mark.parametrize(
    ("witnessed", "met"),
    [("0 1 3", True), ("1 2 5", True), ("0 1", False), ("0 3 4 5", False), ("", False), ("0 1 2 3 4 5", True)],
)
def test_groups_of_groups_make_a_quorum(witnessed: str, met: bool) -> None:
    policy = parse_policy(
        policy_of("group X 2 w0 w1 w2", "group Y any w3 w4 w5", "group X-and-Y all X Y", "quorum X-and-Y")
    )

    assert policy.is_met({f"w{number}" for number in witnessed.split()}) is met


def test_a_single_witness_or_none_may_be_the_quorum() -> None:
    assert parse_policy(policy_of("quorum w3")).is_met({"w3"})
    assert not parse_policy(policy_of("quorum w3")).is_met({"w2"})
    assert parse_policy(policy_of("quorum none")).is_met(set())


def test_blanks_comments_addresses_and_other_scripts_are_allowed() -> None:
    key = NoteKey("w.example/\u00fc", 4)
    lines = (
        f"  # \u00fc \n\n\t\n log\t{LOG[0].vkey}  https://bank.example \nwitness \u212a {key.vkey} https://w.example\n"
    )
    policy = parse_policy(lines.encode() + b"witness \xff " + WITNESSES[0].vkey.encode() + b"\nquorum \xff\n")

    assert len(policy.logs) == 1
    assert len(policy.witnesses) == 2
    assert policy.is_met({b"\xff".decode(errors="surrogateescape")})


def test_a_policy_may_be_as_large_as_the_format_recommends() -> None:
    logs = "".join(f"log {NoteKey(f'log{number}.example', 6).vkey}\n" for number in range(32))
    witnesses = "".join(f"witness w{number} {NoteKey(f'w{number}.example', 6).vkey}\n" for number in range(32))
    groups = "".join(f"group g{number} any w{number}\n" for number in range(32))

    assert len(parse_policy(f"{logs}{witnesses}{groups}quorum g31\n".encode()).groups) == 32


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["quorum none", "quorum none"],
        ["quorum w9"],
        ["quorum g", "group g any w0"],
        ["group g any w9", "quorum g"],
        ["group g any g", "quorum g"],
        ["group g any none", "quorum g"],
        ["group g any", "quorum g"],
        ["group g 0 w0", "quorum g"],
        ["group g 3 w0 w1", "quorum g"],
        ["group g 01 w0", "quorum g"],
        ["group g +1 w0", "quorum g"],
        ["group g \u0661 w0", "quorum g"],
        ["group g any w0 w0", "quorum g"],
        ["group g any w0", "group h any w0", "quorum h"],
        ["group w0 any w1", "quorum w0"],
        ["group none any w1", "quorum none"],
        ["witness none " + NoteKey("n.example", 4).vkey, "quorum none"],
        ["witness w0 " + NoteKey("n.example", 4).vkey, "quorum none"],
        ["witness n " + WITNESSES[0].vkey, "quorum none"],
        ["witness n " + NoteKey("n.example", 1).vkey, "quorum none"],
        ["witness n " + LOG[1].vkey, "quorum none"],
        ["log " + NoteKey("n.example", 4).vkey, "quorum none"],
        ["log " + LOG[0].vkey, "quorum none"],
        ["log", "quorum none"],
        ["trust everybody", "quorum none"],
        ["quorum none\r"],
        ["quorum none\x00"],
        ["quorum none\x7f"],
    ],
)
def test_what_is_not_a_policy_is_refused(lines: list[str]) -> None:
    with pytest.raises(Fault):
        parse_policy(policy_of(*lines))


def test_a_policy_cut_off_is_refused() -> None:
    with pytest.raises(Fault):
        parse_policy(policy_of("group long any w0", "quorum long")[:-1])


def test_a_witness_key_that_is_there_under_another_name_is_refused() -> None:
    seed = bytes(32)
    lines = [f"witness a {NoteKey('a.example', 4, seed).vkey}", f"witness b {NoteKey('b.example', 4, seed).vkey}"]

    with pytest.raises(Fault):
        parse_policy(policy_of(*lines, "quorum none"))


def test_a_key_is_read_in_its_one_form() -> None:
    name, key_id, encoded = LOG[0].vkey.split("+", 2)
    assert parse_key(LOG[0].vkey, "").name == name

    for wrong in (
        f"{name}+{key_id.upper()}+{encoded}" if key_id.upper() != key_id else f"{name}+00{key_id}+{encoded}",
        f"{name}+00000000+{encoded}",
        f"other+{key_id}+{encoded}",
        f"+{key_id}+{encoded}",
        f"{name}+{key_id}+{encoded}=",
        f"{name}+{key_id}+{encoded[:-4]}",
        f"{name}+{key_id}",
        f"a b+{key_id}+{encoded}",
        "",
    ):
        with pytest.raises(Fault):
            parse_key(wrong, "")


@pytest.mark.parametrize(
    ("name", "material"),
    [
        ("with\u00a0space", b"\x04" + bytes(32)),
        ("", b"\x04" + bytes(32)),
        ("x" * 256, b"\x04" + bytes(32)),
        ("short", b"\x04" + bytes(31)),
        ("long", b"\x06" + bytes(1313)),
        ("ecdsa", b"\x02" + bytes(91)),
        ("nothing", b"\x04"),
    ],
)
def test_a_key_of_another_name_kind_or_length_is_refused(name: str, material: bytes) -> None:
    key_id = sha256(name.encode() + b"\n" + material).hexdigest()[:8]

    with pytest.raises(Fault):
        parse_key(f"{name}+{key_id}+{b64encode(material).decode()}", "")


@pytest.mark.parametrize(
    "altered",
    [
        lambda note: note.replace("\n\n", "\n"),
        lambda note: note.replace("\u2014", "-"),
        lambda note: note.replace("\u2014 ", "\u2014  "),
        lambda note: note.removesuffix("\n"),
        lambda note: note + "\n",
        lambda note: note + "\u2014 w.example AAAA\n",
        lambda note: note + "\u2014 w+x AAAAAAAA\n",
        lambda note: note + "\u2014 w AAAAAAA\n",
        lambda note: note + "\u2014 w AAAA AAAA\n",
        lambda note: "te\txt" + note,
        lambda note: note + "\u2014 w AAAAAAAA\n" * 64,
        lambda note: "x" * 300_000 + note,
        lambda note: note.replace("w.example", "w\x01example"),
        lambda note: "",
    ],
    ids=range(14),
)
def test_what_is_not_a_note_is_refused(altered: Callable[[str], str]) -> None:
    note = "text\n\n\u2014 w.example AAAAAAAA\n"
    assert parse_note(note.encode())[0] == "text\n"

    with pytest.raises(Fault):
        parse_note(altered(note).encode())


def test_a_policy_that_cannot_be_read_is_wrong_use(judge: Judge) -> None:
    log = PublicLog()
    verdict = judge(log.checkpoint(), "trust everybody\n")

    assert verdict.code == 2
    assert "policy, line 1" in verdict.told
