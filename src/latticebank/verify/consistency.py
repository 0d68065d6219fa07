"""Whether all trees that were seen are of one history: none forked, and each begins the next larger one of its log."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from latticebank.verify.checkpoint import TreeHead
from latticebank.verify.log import root_at
from latticebank.verify.merkle import left_of, node_hash
from latticebank.verify.strict import Fault, Findings

RECEIPT, CHECKPOINT, LOG = "receipt", "checkpoint", "log"


class Seen(NamedTuple):
    """A tree that a log signed, and where: in a file, or in a folder whose entries make it."""

    head: TreeHead
    path: Path
    kind: str


def compare_trees(seen: list[Seen], proof: list[bytes] | None, findings: Findings) -> None:
    """Find forks, and show by the entries of a folder or by a proof that each tree begins the next larger one."""
    paths = {each.head: each.path for each in reversed(seen)}
    trees, logs = sorted(paths), [each for each in seen if each.kind == LOG]
    named = {each.head for each in seen if each.kind != RECEIPT}
    for one, other in pairwise(trees):
        fork = f"fork: {one.origin} signed two trees of {one.size} entries: {paths[one]} and {paths[other]}"
        findings.require(one[:2] != other[:2], fork)
    for tree in trees:
        for log in _that_hold(logs, tree):
            made = root_at(log.path, tree.size, log.head.size) == tree.root
            findings.require(made, f"fork: the entries of the log in {log.path} do not make the tree of {paths[tree]}")
    findings.require(len({head.origin for head in named}) <= 1, "origin: these are checkpoints of different logs")
    findings.require(len(trees) > 1 or not proof, "proof: nothing is to be proved of one tree")
    if len(trees) == 1:
        findings.checked.append(f"all show the same tree of {trees[0].size} entries ({trees[0].origin})")
    for old, new in pairwise(trees if not findings.faults else []):
        what = f"the tree of {old.size} entries begins the one of {new.size} entries ({old.origin})"
        proven = proof is not None and is_consistent(old.size, old.root, new.size, new.root, proof)
        if old.origin != new.origin:
            continue
        if proven or old.size == 0 or _that_hold(logs, new):
            findings.checked.append(what)
        elif proof is not None:
            raise Fault(f"proof: it does not show that {what}")
        elif len(named) > 1:
            findings.not_shown.append(f"that {what}: name --log or --proof")
        else:
            findings.noticed.append(f"it was not shown that {what}: name --log for that")


def _that_hold(logs: list[Seen], tree: TreeHead) -> list[Seen]:
    """Return the folders that hold all entries of a tree."""
    return [log for log in logs if log.head.origin == tree.origin and log.head.size >= tree.size]


def is_consistent(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether a proof shows the tree of `old` leaves to begin the one of `new` leaves (RFC 9162, 2.1.4)."""
    rest = list(proof)

    def climb(old: int, new: int, *, begins: bool) -> tuple[bytes, bytes]:
        """Return the roots of the first `old` and of all `new` leaves of a subtree; whether it begins the tree."""
        if old == new:
            root = old_root if begins else rest.pop()
            return root, root
        sibling, left = rest.pop(), left_of(new)
        if old <= left:
            before, after = climb(old, left, begins=begins)
            return before, node_hash(after, sibling)
        before, after = climb(old - left, new - left, begins=False)
        return node_hash(sibling, before), node_hash(sibling, after)

    try:
        return 0 < old <= new and climb(old, new, begins=True) == (old_root, new_root) and not rest
    except IndexError:  # the proof is too short
        return False
