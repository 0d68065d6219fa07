"""`latticebank verify`, and `python -m latticebank.verify`: what is verified together, and what is told of it.

Exit codes: 0 sound, 1 a fault, 2 wrong use, 3 nothing is wrong, and not all that was asked could be shown, 74 what was found
cannot be written, 130 nobody reads it.
"""

import json
import os
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from latticebank.verify.checkpoint import Policy, TreeHead, parse_policy, verify_checkpoint
from latticebank.verify.consistency import CHECKPOINT, LOG, RECEIPT, Seen, compare_trees
from latticebank.verify.log import verify_log
from latticebank.verify.openings import verify_openings
from latticebank.verify.receipt import verify_receipt
from latticebank.verify.strict import Fault, Findings, parse

SOUND, FAULTY, WRONG_USE, NOT_SHOWN, NOT_WRITTEN = 0, 1, 2, 3, 74
_VERDICTS = {SOUND: "SOUND", FAULTY: "NOT SOUND", NOT_SHOWN: "NOTHING IS WRONG, AND NOT ALL WAS SHOWN"}
_MAX_FILE_BYTES = 8_388_608


class WrongUse(Exception):
    """The command was not given what it needs."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command was given."""

    paths: Sequence[Path]
    policy: Path
    openings: Path | None = None
    log: Path | None = None
    proof: Path | None = None
    as_json: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default those of the process; return its exit code."""
    parser = ArgumentParser(prog="python -m latticebank.verify", description="Check the bank's word, offline.")
    parser.add_argument("paths", nargs="+", type=Path, help="a receipt, a checkpoint, or a log's folder")
    parser.add_argument("--policy", type=Path, required=True, help="whom to trust (C2SP tlog-policy)")
    parser.add_argument("--openings", type=Path, help="openings of the log, to be checked with it")
    parser.add_argument("--log", type=Path, help="the folder of a log that shows checkpoints to be consistent")
    parser.add_argument("--proof", type=Path, help="a consistency proof for two checkpoints")
    parser.add_argument("--json", action="store_true", dest="as_json", help="write JSON")
    if sys.stdout is None:
        sys.stderr.write("Standard output is closed.\n")
        return NOT_WRITTEN
    try:
        given = parser.parse_args(arguments)
    except SystemExit as end:  # of wrong use, and of help, which argparse takes for written
        sys.exit(_write("", sys.stdout, sys.stderr) or end.code)
    return run(Wanted(**vars(given)))


def run(wanted: Wanted, out: TextIO | None = None, err: TextIO | None = None) -> int:
    """Verify what is wanted, write what was found, and return the exit code."""
    out, err = out or sys.stdout, err or sys.stderr
    try:
        found = _verify(wanted)
    except WrongUse as wrong:
        return _refuse(str(wrong), err, WRONG_USE)
    except OSError as error:
        return _refuse(f"{error.filename}: it cannot be read: {error.strerror}", err, WRONG_USE)
    code = NOT_SHOWN if any(each.not_shown for each in found) else SOUND
    code = FAULTY if any(each.faults for each in found) else code
    if wanted.as_json:
        subjects = [asdict(each) for each in found]
        text = json.dumps({"verdict": _VERDICTS[code].lower(), "subjects": subjects}, indent=2) + "\n"
    else:
        text = "".join(map(_in_words, found)) + f"{_VERDICTS[code]}\n"
    return _write(text, out, err) or code


def _in_words(found: Findings) -> str:
    told = {"holds": found.checked, "note": found.noticed, "not shown": found.not_shown, "FAULT": found.faults}
    lines = [f"  {word:9}  {_plain(line)}\n" for word, lines in told.items() for line in lines]
    return "".join([f"{found.kind} {_plain(found.subject)}\n", *lines])


def _write(text: str, out: TextIO, err: TextIO) -> int:
    """Write a text and return 0, or 74 where that cannot be done; BrokenPipeError where nobody reads it."""
    try:
        out.write(text)
        out.flush()
    except OSError as error:
        # What is left in the stream is thrown away: else Python tries again when it ends, and ends with another code.
        with suppress(OSError), Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), out.fileno())
        if isinstance(error, BrokenPipeError):
            raise
        return _refuse(f"Standard output cannot be written: {error.strerror}", err, NOT_WRITTEN)
    return SOUND


def _refuse(why: str, err: TextIO, code: int) -> int:
    """Say why there is no verdict; the code says it also where that cannot be written."""
    with suppress(OSError):
        err.write(f"{_plain(why)}\n")
    return code


def _verify(wanted: Wanted) -> list[Findings]:
    """Return what was found of each thing; OSError where one that was named cannot be read."""
    # That of pathlib raises where a folder is closed.
    logs = {path for path in (*wanted.paths, wanted.log) if path and os.path.isdir(path)}  # noqa: PTH112
    if wanted.log and wanted.log not in logs:
        raise WrongUse(f"--log: {wanted.log} is not a folder")
    if wanted.openings and len(logs) != 1:
        raise WrongUse("--openings goes with one log")
    try:
        policy = parse_policy(_read(wanted.policy))
    except Fault as fault:
        raise WrongUse(str(fault)) from None
    contents = {path: _read(path) for path in wanted.paths if path not in logs}
    receipts = {path for path, content in contents.items() if content.lstrip()[:1] in (b"{", b"[")}
    if wanted.proof and (len(contents) != 2 or receipts):
        raise WrongUse("--proof goes with two checkpoints")
    proof = _read(wanted.proof) if wanted.proof else b""
    found: list[Findings] = []
    seen: list[Seen] = []
    for path in (*contents, *sorted(logs)):
        found.append(Findings(str(path), LOG if path in logs else RECEIPT if path in receipts else CHECKPOINT))
        try:
            head = _verify_one(path, contents.get(path, b""), policy, wanted.openings, found[-1])
            sound_log = found[-1].kind != LOG or not found[-1].faults
            seen.append(Seen(head, path, found[-1].kind if sound_log else CHECKPOINT))
        except Fault as fault:
            found[-1].faults.append(str(fault))
    if len(seen) > 1:
        found.append(Findings("all of these together", "consistency"))
        try:
            hashes = [parse("base64", line, "proof") for line in proof.decode(errors="replace").splitlines()]
            compare_trees(seen, hashes if wanted.proof else None, found[-1])
        except Fault as fault:
            found[-1].faults.append(str(fault))
    return found


def _verify_one(path: Path, content: bytes, policy: Policy, openings: Path | None, findings: Findings) -> TreeHead:
    if findings.kind == RECEIPT:
        return verify_receipt(content, policy, findings)
    if findings.kind == CHECKPOINT:
        return verify_checkpoint(content, policy, findings)
    head = verify_log(path, policy, findings)
    if openings is not None:
        verify_openings(openings, path, head.size, findings)
    return head


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(_MAX_FILE_BYTES + 1)
    if len(content) > _MAX_FILE_BYTES:
        raise WrongUse(f"{path}: it has more than {_MAX_FILE_BYTES} bytes")
    return content


def _plain(text: str) -> str:
    """Return a text with everything escaped that a terminal could take for more than letters."""
    return text.encode("unicode_escape").decode()
