"""A Merkle tree kept in tiles of 256 hashes: C2SP tlog-tiles. What is appended, where it lies, and proofs from it.

The tile `number` of level `level` holds the roots of the complete subtrees of 256**level leaves, from the subtree
`number * 256` on; only a full one counts on the level above. All hashes are SHA-256, 32 bytes; tiles hold them joined.
Sizes are below 2**63.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from latticebank.crypto.errors import TileNotFound, TilesDamaged
from latticebank.crypto.merkle import root_of

HEIGHT = 8
WIDTH = 1 << HEIGHT
HASH_BYTES = 32
MAX_SIZE = (1 << 63) - 1
MAX_LEVEL = 63
MAX_NUMBER = 1 << 55

_PATH = re.compile(r"((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")
_MAX_PATH = 40


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile by its place, with the number of hashes in it: 256 if it is full."""

    level: int
    number: int
    width: int = WIDTH


class Piece(NamedTuple):
    """Hashes, joined, that come into a tile behind the `start` that it has."""

    level: int
    number: int
    start: int
    hashes: bytes


class Node(NamedTuple):
    """The complete subtree over the leaves from `place << height` to below `place + 1 << height`."""

    height: int
    place: int


Needed: TypeAlias = list[tuple[Node, ...]]
"""For each hash that is sought the complete subtrees that it is folded from, left to right."""


def tile_path(tile: Tile) -> str:
    """Return where a tile lies below its level: `x001/x234/067`, or `x001/x234/067.p/12` if it is not full."""
    groups = [f"{tile.number % 1000:03}"]
    rest = tile.number // 1000
    while rest:
        groups.append(f"x{rest % 1000:03}")
        rest //= 1000
    partial = "" if tile.width == WIDTH else f".p/{tile.width}"
    return "/".join(reversed(groups)) + partial


def parse_level(text: str) -> int:
    """Return the level of a path.

    Raises:
        TileNotFound: it is no number from 0 to 63 in its one form.

    """
    if not re.fullmatch("0|[1-9][0-9]?", text) or int(text) > MAX_LEVEL:
        raise TileNotFound(f"{text[:_MAX_PATH]!a} is no level of a tree")
    return int(text)


def parse_tile_path(level: int, path: str) -> Tile:
    """Return the tile of a path below its level.

    Raises:
        TileNotFound: no tile has this path.

    """
    match = _PATH.fullmatch(path) if len(path) <= _MAX_PATH else None
    if match is None:
        raise TileNotFound(f"{path[:_MAX_PATH]!a} is no path of a tile")
    number, width = match.groups()
    tile = Tile(level, int(number.replace("/", "").replace("x", "")), int(width or WIDTH))
    full_written_as_partial = width is not None and tile.width >= WIDTH
    if full_written_as_partial or tile.number > MAX_NUMBER or tile_path(tile) != path:
        raise TileNotFound(f"{path!a} is no path of a tile")
    return tile


def tile_at(level: int, number: int, size: int) -> Tile | None:
    """Return a tile as wide as it is in the tree of `size` leaves, None if it has nothing yet."""
    width = min((size >> HEIGHT * level) - number * WIDTH, WIDTH)
    return Tile(level, number, width) if width > 0 else None


def partial_tiles(size: int) -> list[Tile]:
    """Return the tiles that have begun and are not full in the tree of `size` leaves, at most one a level."""
    places = [(level, *divmod(size >> HEIGHT * level, WIDTH)) for level in range(_levels(size))]
    return [Tile(level, number, width) for level, number, width in places if width]


class Frontier:
    """The right edge of a tree, all that is needed to append to it: its size and the tiles that are not full."""

    __slots__ = ("_edge", "size")

    def __init__(self) -> None:
        """Begin a tree without leaves."""
        self.size = 0
        self._edge: list[list[bytes]] = []

    @classmethod
    def of(cls, size: int, partial: Mapping[int, bytes]) -> "Frontier":
        """Return the edge of a tree from its size and its partial tiles by level.

        Raises:
            TilesDamaged: a tree of this size has others.

        """
        in_bounds = 0 <= size <= MAX_SIZE
        expected = {tile.level: tile.width * HASH_BYTES for tile in partial_tiles(size)} if in_bounds else {}
        if not in_bounds or expected != {level: len(tile) for level, tile in partial.items()}:
            raise TilesDamaged(f"these are not the partial tiles of a tree of {size} leaves")
        frontier = cls()
        frontier.size = size
        frontier._edge = [_hashes_of(partial.get(level, b"")) for level in range(_levels(size))]
        return frontier

    def copy(self) -> "Frontier":
        """Return another that is appended to apart from this one."""
        other = Frontier()
        other.size = self.size
        other._edge = [tile.copy() for tile in self._edge]
        return other

    @property
    def partial(self) -> dict[int, bytes]:
        """The tiles that are not full, by level."""
        return {level: b"".join(tile) for level, tile in enumerate(self._edge) if tile}

    def append(self, leaf_hashes: Sequence[bytes]) -> list[Piece]:
        """Append leaves and return what comes into which tile, one piece a touched tile, lower levels first.

        Raises:
            TilesDamaged: one is no hash, or the tree would be larger than 2**63 - 1; nothing is appended.

        """
        if not set(map(len, leaf_hashes)) <= {HASH_BYTES} or self.size + len(leaf_hashes) > MAX_SIZE:
            raise TilesDamaged("a leaf hash has 32 bytes, a tree less than 2**63 leaves")
        pieces: list[Piece] = []
        fresh, before, level = leaf_hashes, self.size, 0
        while fresh:
            if level == len(self._edge):
                self._edge.append([])
            fresh = self._extend(level, before >> HEIGHT * level, fresh, pieces)
            level += 1
        self.size = before + len(leaf_hashes)
        return pieces

    def root(self) -> bytes:
        """Return the root of the tree; EMPTY_ROOT without leaves."""
        # What lower levels leave over is a last subtree, not complete, on the level above.
        rest: list[bytes] = []
        for tile in self._edge:
            if tile or rest:
                rest = [root_of([*tile, *rest])]
        return root_of(rest)

    def _extend(self, level: int, place: int, fresh: Sequence[bytes], pieces: list[Piece]) -> list[bytes]:
        """Append to one level from `place` on and return the roots of the tiles that this fills."""
        filled = []
        edge = self._edge[level]
        begin = 0
        while begin < len(fresh):
            number, start = divmod(place + begin, WIDTH)
            taken = fresh[begin : begin + WIDTH - start]
            pieces.append(Piece(level, number, start, b"".join(taken)))
            begin += len(taken)
            edge.extend(taken)
            if len(edge) == WIDTH:
                filled.append(root_of(edge))
                edge.clear()
        return filled


def root_nodes(size: int) -> Needed:
    """Return what the root of a tree is folded from; nothing for the empty one."""
    return [_complete(0, size)] if size else []


def inclusion_nodes(index: int, size: int) -> Needed:
    """Return what the hashes of the inclusion proof of a leaf are folded from (RFC 9162, 2.1.3.1).

    Raises:
        IndexError: there is no such leaf.

    """
    if not 0 <= index < size:
        raise IndexError(f"a tree of {size} leaves has no leaf {index}")
    return [_complete(*span) for span in _beside(index, 0, size)]


def consistency_nodes(old: int, new: int) -> Needed:
    """Return what the hashes of the consistency proof of two sizes are folded from (RFC 9162, 2.1.4.1).

    Raises:
        IndexError: `old` is not 1 to `new`.

    """
    if not 1 <= old <= new:
        raise IndexError(f"a tree of {new} leaves does not begin with one of {old}")
    if old == new:
        return []
    # The old tree ends in a complete subtree: the proof begins with it, unless it is the whole old tree.
    last = _complete(0, old)[-1]
    first = last.place << last.height
    spans = [(first, old)] if first else []
    spans += _beside(first, last.height, new)
    return [_complete(*span) for span in spans]


def tiles_for(needed: Iterable[Iterable[Node]], size: int) -> list[Tile]:
    """Return the tiles that hold these subtrees, each once, as wide as they are in the tree of `size` leaves.

    Raises:
        IndexError: that tree has no such subtree.

    """
    places = {_place(node)[:2] for nodes in needed for node in nodes}
    tiles = [tile_at(level, number, size) for level, number in sorted(places)]
    if None in tiles:
        raise IndexError(f"a tree of {size} leaves has no such subtree")
    return [tile for tile in tiles if tile is not None]


def root_from(tiles: Mapping[tuple[int, int], bytes], size: int) -> bytes:
    """Return the root of the tree of `size` leaves from its tiles by (level, number); wider tiles do.

    Raises:
        TilesDamaged: a tile is missing or too short.

    """
    return root_of(_folded(root_nodes(size), tiles))


def consistency_proof_from(tiles: Mapping[tuple[int, int], bytes], old: int, new: int) -> list[bytes]:
    """Return the proof that one tree begins another, as `merkle.consistency_proof` does, from the new one's tiles.

    Raises:
        IndexError: `old` is not 1 to `new`.
        TilesDamaged: a tile is missing or too short.

    """
    return _folded(consistency_nodes(old, new), tiles)


def subtree_root(node: Node, tiles: Mapping[tuple[int, int], bytes]) -> bytes:
    """Return the root of a complete subtree from the tiles by (level, number). It is the same in every later tree.

    Raises:
        TilesDamaged: the tile is missing or too short.

    """
    level, number, start, end = _place(node)
    tile = tiles.get((level, number), b"")
    if len(tile) < end * HASH_BYTES:
        raise TilesDamaged(f"the tile {number} of level {level} has not {end} hashes")
    return root_of(_hashes_of(tile[start * HASH_BYTES : end * HASH_BYTES]))


def folded(roots: Sequence[bytes]) -> bytes:
    """Return the hash over complete subtrees that follow each other, the largest first; at least one."""
    # The tree over their roots is not the tree over their leaves: fold from the right.
    hashes = list(roots)
    while len(hashes) > 1:
        hashes[-2:] = [root_of(hashes[-2:])]
    return hashes[0]


def _beside(leaf: int, height: int, size: int) -> list[tuple[int, int]]:
    """Return the spans of leaves beside the way from a complete subtree, that begins with `leaf`, up to the root."""
    spans = []
    begin, end = 0, size
    while end - begin > 1 << height:
        middle = begin + (1 << (end - begin - 1).bit_length() - 1)
        if leaf < middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((begin, middle))
            begin = middle
    return spans[::-1]


def _complete(begin: int, end: int) -> tuple[Node, ...]:
    """Return the complete subtrees that these leaves divide into, the largest first."""
    nodes = []
    while begin < end:
        height = (end - begin).bit_length() - 1
        nodes.append(Node(height, begin >> height))
        begin += 1 << height
    return tuple(nodes)


def _place(node: Node) -> tuple[int, int, int, int]:
    """Return the level and the number of the tile of a subtree, and which of its hashes fold to it."""
    level, within = divmod(node.height, HEIGHT)
    number, start = divmod(node.place << within, WIDTH)
    return level, number, start, start + (1 << within)


def _folded(needed: Needed, tiles: Mapping[tuple[int, int], bytes]) -> list[bytes]:
    return [folded([subtree_root(node, tiles) for node in nodes]) for nodes in needed]


def _hashes_of(tile: bytes) -> list[bytes]:
    return [tile[begin : begin + HASH_BYTES] for begin in range(0, len(tile), HASH_BYTES)]


def _levels(size: int) -> int:
    """Return how many levels of tiles a tree has."""
    return (size.bit_length() + HEIGHT - 1) // HEIGHT
