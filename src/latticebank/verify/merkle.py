"""The Merkle tree of RFC 9162, 2.1 (the hashing of RFC 6962): SHA-256, hashes of 32 bytes."""

from collections.abc import Sequence
from hashlib import sha256


def leaf_hash(leaf: bytes) -> bytes:
    """Return the hash of a leaf."""
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node above two others."""
    return sha256(b"\x01" + left + right).digest()


def left_of(size: int) -> int:
    """Return how many leaves of at least 2 are left of the root: the largest power of two below their number."""
    return 1 << (size - 1).bit_length() - 1


def is_included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether a proof leads from the hash of leaf `index` to the root of a tree of `size` leaves (RFC 9162, 2.1.3)."""
    rest = list(proof)

    def climb(index: int, size: int) -> bytes:
        if size == 1:
            return leaf
        sibling, left = rest.pop(), left_of(size)
        if index < left:
            return node_hash(climb(index, left), sibling)
        return node_hash(sibling, climb(index - left, size - left))

    try:
        return 0 <= index < size and climb(index, size) == root and not rest
    except IndexError:  # the proof is too short
        return False
