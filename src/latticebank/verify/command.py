"""`latticebank verify`, and `python -m latticebank.verify`: what is verified together, and what is told of it.

Exit codes: 0 sound, 1 a fault, 2 wrong use, 3 nothing is wrong, and not all that was asked could be shown.
"""

import json
import os
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from io import TextIOWrapper
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TextIO

from latticebank.verify.checkpoint import verify_checkpoint
from latticebank.verify.findings import Fault, Findings
from latticebank.verify.history import Openings
from latticebank.verify.log import Told, claimed_size, verify_log
from latticebank.verify.merkle import check_consistency
from latticebank.verify.notes import TreeHead
from latticebank.verify.policy import MAX_POLICY_BYTES, Policy, parse_policy
from latticebank.verify.receipt import MAX_RECEIPT_BYTES, verify_receipt
from latticebank.verify.strict import parse_base64, read_file

SOUND, FAULTY, WRONG_USE, NOT_SHOWN = 0, 1, 2, 3
_VERDICTS = {SOUND: "sound", FAULTY: "fault", NOT_SHOWN: "not shown"}
_TELL_EVERY = 1 << 18
_MAX_PROOF_BYTES = 16_384
RECEIPT, CHECKPOINT, LOG = "receipt", "checkpoint", "log"


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


class _Seen(NamedTuple):
    """A tree that a log signed, and where that was seen."""

    head: TreeHead
    subject: str
    kind: str


@dataclass(slots=True)
class _Check:
    """What was verified so far."""

    policy: Policy
    findings: list[Findings] = field(default_factory=list)
    seen: list[_Seen] = field(default_factory=list)
    roots: list[dict[tuple[str, int], bytes]] = field(default_factory=list)
    """Of each sound folder the roots that were computed from its entries, by origin and size."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default those of the process; return its exit code."""
    parser = ArgumentParser(prog="python -m latticebank.verify", description="Check the bank's word, offline.")
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="a receipt, a checkpoint, or a log's folder"
    )
    parser.add_argument("--policy", type=Path, required=True, metavar="FILE", help="whom to trust (C2SP tlog-policy)")
    parser.add_argument("--openings", type=Path, metavar="FILE", help="openings of the log, to be checked with it")
    parser.add_argument("--log", type=Path, metavar="FOLDER", help="a downloaded log that shows checkpoints consistent")
    parser.add_argument("--proof", type=Path, metavar="FILE", help="a consistency proof for two checkpoints")
    parser.add_argument("--json", action="store_true", dest="as_json", help="write JSON")
    return run(Wanted(**vars(parser.parse_args(arguments))))


def run(wanted: Wanted, out: TextIO | None = None, err: TextIO | None = None) -> int:
    """Verify what is wanted, write what was found, and return the exit code."""
    out, err = out or sys.stdout, err or sys.stderr
    for stream in (out, err):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        findings = _verify(wanted, _progress(err))
    except WrongUse as wrong:
        err.write(f"{_plain(str(wrong))}\n")
        return WRONG_USE
    code = SOUND
    if any(each.not_shown for each in findings):
        code = NOT_SHOWN
    if any(each.faults for each in findings):
        code = FAULTY
    if wanted.as_json:
        told = [{**asdict(each), "faults": [fault._asdict() for fault in each.faults]} for each in findings]
        out.write(json.dumps({"verdict": _VERDICTS[code], "subjects": told}, indent=2) + "\n")
        return code
    for each in findings:
        out.write(f"{each.kind} {_plain(each.subject)}\n")
        for word, lines in (("holds", each.checked), ("note", each.noticed), ("not shown", each.not_shown)):
            out.writelines(f"  {word:9}  {_plain(line)}\n" for line in lines)
        out.writelines(f"  {'FAULT':9}  {_plain(where)}: {_plain(what)}\n" for where, what in each.faults)
    out.write({SOUND: "SOUND", FAULTY: "NOT SOUND", NOT_SHOWN: "NOTHING IS WRONG, AND NOT ALL WAS SHOWN"}[code] + "\n")
    return code


def _verify(wanted: Wanted, told: Told) -> list[Findings]:
    """Return what was found of each thing; faults of the call itself raise `WrongUse`."""
    folders = [path for path in wanted.paths if _is_folder(path)]
    files = [path for path in wanted.paths if not _is_folder(path)]
    if wanted.log is not None:
        if not _is_folder(wanted.log):
            raise WrongUse(f"--log: {wanted.log} is not a folder")
        folders.append(wanted.log)
    if wanted.openings is not None and len(folders) != 1:
        raise WrongUse("--openings goes with one log")
    try:
        check = _Check(parse_policy(read_file(wanted.policy, MAX_POLICY_BYTES)))
        contents = [(path, read_file(path, MAX_RECEIPT_BYTES)) for path in files]
    except Fault as fault:
        raise WrongUse(f"{fault.where}: {fault.what}") from None
    if wanted.proof is not None and (len(contents) != 2 or any(_is_receipt(content) for _, content in contents)):
        raise WrongUse("--proof goes with two checkpoints")
    for path, content in contents:
        _verify_file(check, path, content)
    # The larger log shows whether it goes on from the smaller one.
    for folder in sorted(folders, key=claimed_size):
        _verify_folder(check, folder, wanted.openings, told)
    _compare_trees(check, wanted.proof)
    return check.findings


def _verify_file(check: _Check, path: Path, content: bytes) -> None:
    is_receipt = _is_receipt(content)
    findings = Findings(str(path), RECEIPT if is_receipt else CHECKPOINT)
    check.findings.append(findings)
    head = None
    with findings.to_the_end():
        if is_receipt:
            head = verify_receipt(content, check.policy, findings)
        else:
            head = verify_checkpoint(_decoded(content), check.policy, findings)
    if head is not None:
        check.seen.append(_Seen(head, str(path), findings.kind))


def _verify_folder(check: _Check, folder: Path, openings: Path | None, told: Told) -> None:
    findings = Findings(str(folder), LOG)
    check.findings.append(findings)
    sizes = {seen.head.size for seen in check.seen}
    with ExitStack() as stack:
        stack.enter_context(findings.to_the_end())
        opened = None
        if openings is not None:
            try:
                opened = Openings(stack.enter_context(openings.open("rb")))
            except OSError as error:
                raise WrongUse(f"{openings}: it cannot be read: {error.strerror}") from None
        head, roots = verify_log(folder, check.policy, findings, sizes, opened, told)
        check.seen.append(_Seen(head, str(folder), LOG))
        if not findings.faults:
            check.roots.append({(head.origin, size): root for size, root in roots.items()})


def _compare_trees(check: _Check, proof: Path | None) -> None:
    """Find forks among all trees that were seen, and show the checkpoints that were named to be of one history."""
    if len(check.seen) < 2:
        return
    findings = Findings("all of these together", "consistency")
    check.findings.append(findings)
    with findings.to_the_end():
        trees: dict[tuple[str, int], _Seen] = {}
        for seen in check.seen:
            first = trees.setdefault((seen.head.origin, seen.head.size), seen)
            if first.head.root != seen.head.root:
                what = f"two trees of {seen.head.size} entries: {first.subject} and {seen.subject}"
                findings.fault("fork", f"{seen.head.origin} signed {what}")
            elif any(
                roots.get((seen.head.origin, seen.head.size), seen.head.root) != seen.head.root for roots in check.roots
            ):
                findings.fault("fork", f"the entries of the log do not make the tree of {seen.subject}")
        named = [seen for seen in trees.values() if seen.kind != RECEIPT]
        if len({seen.head.origin for seen in named}) > 1:
            findings.fault("origin", "these are checkpoints of different logs")
        if not findings.faults:
            _show_consistent(check, findings, proof, named)


def _show_consistent(check: _Check, findings: Findings, proof: Path | None, named: list[_Seen]) -> None:
    """Show by the entries of a folder, or by a proof, that each tree begins the next larger one of its log.

    Raises:
        WrongUse: the proof cannot be read.
        Fault: it does not show that.

    """
    trees = sorted({seen.head for seen in check.seen})
    hashes = _read_proof(proof) if proof is not None else None
    for old, new in pairwise(trees):
        if old.origin != new.origin:
            continue
        what = f"the tree of {old.size} entries begins the one of {new.size} entries ({old.origin})"
        both = {(old.origin, old.size), (new.origin, new.size)}
        if old.size == 0 or any(both <= roots.keys() for roots in check.roots):
            findings.checked.append(what)
        elif hashes is not None:
            check_consistency(old.size, old.root, new.size, new.root, hashes, "proof")
            findings.checked.append(what)
        elif len(named) > 1:
            findings.not_shown.append(f"that {what}: name --log or --proof")
        else:
            findings.noticed.append(f"it was not shown that {what}: name --log for that")
    if len(trees) == 1 and hashes:
        raise Fault("proof", "nothing is to be proved of one tree")
    if len(trees) == 1:
        findings.checked.append(f"all show the same tree of {trees[0].size} entries ({trees[0].origin})")


def _read_proof(path: Path) -> list[bytes]:
    try:
        lines = _decoded(read_file(path, _MAX_PROOF_BYTES)).splitlines()
    except Fault as fault:
        raise WrongUse(f"{fault.where}: {fault.what}") from None
    hashes = [parse_base64(line, f"proof, line {number}") for number, line in enumerate(lines, start=1)]
    for number, each in enumerate(hashes, start=1):
        if len(each) != 32:
            raise Fault(f"proof, line {number}", "a hash has 32 bytes")
    return hashes


def _is_receipt(content: bytes) -> bool:
    return content.lstrip()[:1] in (b"{", b"[")


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - that of pathlib raises where a folder is closed


def _decoded(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Fault("text", f"byte {error.start} is not UTF-8") from None


def _plain(text: str) -> str:
    """Return a text with everything escaped that a terminal could take for more than letters."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def _progress(err: TextIO) -> Told:
    """Return what tells a person at a terminal how far a long log is read."""

    def told(done: int, of: int) -> None:
        if err.isatty() and of > _TELL_EVERY and (done == of or done % _TELL_EVERY == 0):
            err.write(f"\r{done} of {of} entries" + ("\n" if done == of else ""))
            err.flush()

    return told
