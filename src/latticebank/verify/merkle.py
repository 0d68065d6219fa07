"""The Merkle tree of RFC 9162, 2.1 (the hashing of RFC 6962): SHA-256, hashes of 32 bytes."""

from collections.abc import Sequence
from hashlib import sha256

from latticebank.verify.findings import Fault

EMPTY_ROOT = sha256().digest()


def leaf_hash(leaf: bytes) -> bytes:
    """Return the hash of a leaf."""
    return sha256(b"\x00" + leaf).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """Return the root over at least one hash: of leaves, or of complete subtrees of one height and what remains."""
    level = list(hashes)
    while len(level) > 1:
        pairs = [sha256(b"\x01" + level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)]
        level = pairs + level[len(pairs) * 2 :]
    return level[0]


def check_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes, where: str) -> None:
    """Return if the proof leads from a leaf's hash to the root of the tree of `size` leaves (RFC 9162, 2.1.3.2).

    Raises:
        Fault: it does not.

    """
    if not 0 <= index < size:
        raise Fault(where, f"a tree of {size} leaves has no leaf {index}")
    node, last, computed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise Fault(where, "the proof is longer than the way to the root")
        if node % 2 == 1 or node == last:
            computed = _node(sibling, computed)
            while node % 2 == 0 and node != 0:
                node, last = node // 2, last // 2
        else:
            computed = _node(computed, sibling)
        node, last = node // 2, last // 2
    if last != 0 or computed != root:
        raise Fault(where, "the proof does not lead to the root of the checkpoint")


def check_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes], where: str) -> None:
    """Return if the proof shows the tree of `old` leaves to begin the one of `new` leaves (RFC 9162, 2.1.4.2).

    Raises:
        Fault: it does not.

    """
    if not 0 < old <= new:
        raise Fault(where, f"there is no proof that {old} leaves begin {new}")
    if old == new:
        if proof or old_root != new_root:
            raise Fault(where, "two trees of one size are not the same")
        return
    node, last = old - 1, new - 1
    while node % 2 == 1:
        node, last = node // 2, last // 2
    hashes = [old_root, *proof] if node == 0 else list(proof)
    if not hashes:
        raise Fault(where, "the proof is empty")
    from_old = from_new = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise Fault(where, "the proof is longer than the way to the root")
        if node % 2 == 1 or node == last:
            from_old, from_new = _node(sibling, from_old), _node(sibling, from_new)
            while node % 2 == 0 and node != 0:
                node, last = node // 2, last // 2
        else:
            from_new = _node(from_new, sibling)
        node, last = node // 2, last // 2
    if last != 0 or from_old != old_root or from_new != new_root:
        raise Fault(where, "the proof does not lead to the roots of both checkpoints")


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()
