"""The command: what it says to people, how it ends, and that nothing makes it break or reach for the bank's own code."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latticebank.verify.command import Wanted, main, run
from tests.documents.papers import new_id
from tests.verify.conftest import Verdict
from tests.verify.notary import Json, NoteKey, Phone, PublicLog, accept, new_user, payment, post, receipt, write

Judge = Callable[..., Verdict]


@pytest.fixture(scope="module")
def log() -> PublicLog:
    """A log of 300 entries and a witness."""
    log = PublicLog(witnesses=[NoteKey("witness.example/w", 6)])
    for number in range(300):
        log.record("login", user=new_id(), session=f"{number}")
    return log


@pytest.fixture(scope="module")
def paid(log: PublicLog) -> Json:
    """A receipt of a payment in that log."""
    phone = Phone(new_user())
    signed = payment(phone)
    shown = [phone.enrol(log), accept(log, signed), post(log, signed)]
    return receipt(log, signed, [phone], shown)


def told(folder: Path, *things: Path, policy: str) -> tuple[int, str]:
    out = StringIO()
    code = run(Wanted(things, write(folder / "policy", policy.encode())), out, out)
    return code, out.getvalue()


def test_it_tells_line_by_line_what_holds_and_ends_with_the_verdict(tmp_path: Path, log: PublicLog, paid: Json) -> None:
    file = write(tmp_path / "receipt.json", json.dumps(paid).encode())
    code, said = told(tmp_path, file, log.download(tmp_path / "log"), policy=log.policy(quorum="w0"))

    assert code == 0
    assert said.splitlines()[0] == f"receipt {file}"
    assert "  holds      checkpoint: 303 entries of latticebank.localhost/log at 2026-11-20T12:00:00Z" in said
    assert "  holds      checkpoint: witnessed by w0 (witness.example/w) at 2026-11-20T12:00:00Z" in said
    assert said.splitlines()[-1] == "SOUND"


def test_it_names_each_fault_and_ends_with_the_verdict(tmp_path: Path, log: PublicLog, paid: Json) -> None:
    wrong = {**paid, "document": paid["document"].replace("12.34", "99.34")}
    code, said = told(tmp_path, write(tmp_path / "receipt.json", json.dumps(wrong).encode()), policy=log.policy())

    assert code == 1
    assert "  FAULT      signature: it is not the signature of the document by the first device" in said
    assert "the amount is not the one that was signed" in said
    assert said.splitlines()[-1] == "NOT SOUND"


def test_nothing_that_is_told_can_move_a_terminal(tmp_path: Path, log: PublicLog) -> None:
    key = [NoteKey("evil\u202e\u009b31m/log", kind) for kind in (1, 6)]
    other = PublicLog(origin="evil\u202e\u009b31m/log", keys=key)
    code, said = told(tmp_path, write(tmp_path / "checkpoint", other.checkpoint().encode()), policy=other.policy())

    assert code == 0
    assert all(character.isprintable() or character == "\n" for character in said)
    assert "evil\\u202e\\x9b31m" in said


def test_wrong_use_ends_with_2(tmp_path: Path, log: PublicLog) -> None:
    checkpoint = write(tmp_path / "checkpoint", log.checkpoint().encode())
    policy = write(tmp_path / "policy", log.policy().encode())
    out = StringIO()

    for wanted in (
        Wanted([tmp_path / "nothing"], policy),
        Wanted([checkpoint], tmp_path / "nothing"),
        Wanted([checkpoint], policy, openings=checkpoint),
        Wanted([checkpoint], policy, log=checkpoint),
        Wanted([checkpoint], policy, proof=checkpoint),
        Wanted([log.download(tmp_path / "log")], policy, openings=tmp_path / "nothing"),
        Wanted([checkpoint, checkpoint], policy, proof=tmp_path / "nothing"),
    ):
        assert run(wanted, out, out) == 2, wanted
    with pytest.raises(SystemExit, match="2"):
        main([str(checkpoint)])


def test_it_uses_nothing_of_the_rest_of_the_bank(tmp_path: Path, log: PublicLog) -> None:
    checkpoint = write(tmp_path / "checkpoint", log.checkpoint().encode())
    policy = write(tmp_path / "policy", log.policy().encode())
    program = (
        "import sys; from latticebank.verify.command import main; code = main(sys.argv[1:]); "
        "allowed = {'latticebank', 'cryptography', '_cffi_backend', 'typing_extensions', *sys.stdlib_module_names}; "
        "mine = {n for n in sys.modules if n.startswith('latticebank.') and not n.startswith('latticebank.verify')}; "
        "others = {n.partition('.')[0] for n in sys.modules} - allowed; print(sorted(mine | others)); sys.exit(code)"
    )
    arguments = [sys.executable, "-I", "-c", program, str(checkpoint), "--policy", str(policy)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stderr) == (0, "")
    loaded = set(json.loads(done.stdout.splitlines()[-1].replace("'", '"')))
    assert not {name for name in loaded if name.startswith("latticebank")}
    assert loaded <= {"__main__", "site", "sitecustomize", "usercustomize", "__editable__"} | {
        name for name in loaded if name.startswith(("_", "distutils", "coverage"))
    }


def test_it_runs_as_a_module_and_as_a_command_with_one_output(tmp_path: Path, log: PublicLog, paid: Json) -> None:
    file = write(tmp_path / "receipt.json", json.dumps(paid).encode())
    policy = write(tmp_path / "policy", log.policy().encode())
    said = []
    for module in (["latticebank.verify"], ["latticebank", "verify"]):
        arguments = [sys.executable, "-m", *module, str(file), "--policy", str(policy), "--json"]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        said.append(json.loads(done.stdout))

    assert said[0] == said[1]
    assert said[0]["verdict"] == "sound"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize("module", ["latticebank.verify", "latticebank verify"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_verdict_that_cannot_be_written_is_none(
    tmp_path: Path, log: PublicLog, paid: Json, module: str, unbuffered: str
) -> None:
    sound = write(tmp_path / "sound.json", json.dumps(paid).encode())
    wrong = write(tmp_path / "wrong.json", json.dumps({**paid, "document": "{}"}).encode())
    policy = write(tmp_path / "policy", log.policy().encode())
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}

    def ended(*arguments: str, out: int) -> tuple[int, bytes]:
        command = [sys.executable, "-m", *module.split(), *arguments]
        done = subprocess.run(command, env=environment, stdout=out, stderr=subprocess.PIPE, check=False, timeout=60)
        return done.returncode, done.stderr

    for arguments in ([str(sound)], [str(wrong)], [str(wrong), "--json"], ["--help"]):
        with open("/dev/full", "wb") as full:  # noqa: PTH123 - its descriptor
            code, said = ended(*arguments, "--policy", str(policy), out=full.fileno())
        assert (code, said.count(b"\n")) == (74, 1), said
        assert b"Standard output cannot be written: No space left on device" in said
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert ended(str(wrong), "--policy", str(policy), out=writing) == (130, b"")
    finally:
        os.close(writing)


SCRAPS = st.one_of(
    st.binary(max_size=400),
    st.text(max_size=200).map(lambda text: text.encode(errors="surrogatepass")),
    st.sampled_from([
        b"", b"{", b"[", b"null", b"NaN", b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe", b"{}", b"[]", b'{"type":1e999}',
        b'{"type":"\\ud800"}', b"{\"a\":1,\"a\":2}", b"1" * 9_000, b"[" + b"1" * 9_000 + b"]", b"\xef\xbb\xbf{}", b"\n\n\n",
    ]),
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scrap=SCRAPS)
def test_no_bytes_make_it_break(judge: Judge, log: PublicLog, scrap: bytes) -> None:
    assert judge(scrap, log.policy()).code == 1


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def _paths(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        for name, member in value.items():
            found += _paths(member, (*path, name))
    if isinstance(value, list):
        for place, member in enumerate(value):
            found += _paths(member, (*path, place))
    return found


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_value_in_the_place_of_another_makes_it_break_or_passes(
    judge: Judge, log: PublicLog, paid: Json, data: st.DataObject
) -> None:
    changed = json.loads(json.dumps(paid))
    *way, last = data.draw(st.sampled_from(_paths(changed)))
    value = data.draw(JSON_VALUES)
    place = changed
    for step in way:
        place = place[step]
    before, place[last] = place[last], value

    assert judge(changed, log.policy()).code == (0 if before == value and type(before) is type(value) else 1)


@pytest.mark.parametrize("inner", ["document", "record", "enrolment"])
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_member_of_a_text_inside_makes_it_break_or_passes(
    judge: Judge, log: PublicLog, paid: Json, inner: str, data: st.DataObject
) -> None:
    changed = json.loads(json.dumps(paid))
    holder = {"document": changed, "record": changed["entries"][1], "enrolment": changed["devices"][0]}[inner]
    name = "record" if inner == "record" else "document"
    original = holder[name]
    members = json.loads(original)
    member = data.draw(st.sampled_from([*members, "extra"]))
    value = data.draw(JSON_VALUES)
    members[member] = value
    holder[name] = json.dumps(members, sort_keys=True, separators=(",", ":"))

    assert judge(changed, log.policy()).code == (0 if holder[name] == original else 1)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Act without the power of root to read what is closed."""
    user = os.geteuid()
    os.seteuid(user or 65_534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_closed_folder_is_a_fault_and_not_the_end(log: PublicLog) -> None:
    with TemporaryDirectory(prefix="latticebank-tests-") as name:
        place = Path(name)
        place.chmod(0o755)
        folder, policy = log.download(place / "log"), write(place / "policy", log.policy().encode())
        assert run(Wanted([folder], policy), StringIO()) == 0
        for closed in (folder / "tile" / "0", folder / "tile", folder, folder / "checkpoint"):
            out, mode = StringIO(), closed.stat().st_mode
            closed.chmod(0)
            with as_nobody():
                code = run(Wanted([folder], policy), out)
            closed.chmod(mode)
            assert code == 1
            assert "it cannot be read: Permission denied" in out.getvalue()
