"""A log kept in tiles has the roots and the proofs of the tree that it is, however it was appended to."""

import random
import re
import time
from collections.abc import Mapping
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latticebank.crypto.errors import TileNotFound, TilesDamaged
from latticebank.crypto.merkle import (
    EMPTY_ROOT,
    consistency_proof,
    inclusion_proof,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from latticebank.crypto.tiles import (
    MAX_NUMBER,
    MAX_SIZE,
    Frontier,
    Piece,
    Tile,
    consistency_nodes,
    consistency_proof_from,
    folded,
    inclusion_nodes,
    parse_level,
    parse_tile_path,
    partial_tiles,
    root_from,
    root_nodes,
    subtree_root,
    tile_at,
    tile_path,
    tiles_for,
)

SMALL = 1_100
LARGE = 70_000
LEAVES = [sha256(number.to_bytes(4)).digest() for number in range(LARGE)]

Tiles = dict[tuple[int, int], bytes]


def inclusion_proof_from(tiles: Mapping[tuple[int, int], bytes], index: int, size: int) -> list[bytes]:
    """The proof of a leaf, folded from the tiles as audit does it."""
    return [folded([subtree_root(node, tiles) for node in nodes]) for nodes in inclusion_nodes(index, size)]


def keep(tiles: Tiles, pieces: list[Piece]) -> None:
    """Put pieces where they say that they belong; each begins where its tile ends."""
    for piece in pieces:
        place = (piece.level, piece.number)
        assert len(tiles.get(place, b"")) == piece.start * 32
        tiles[place] = tiles.get(place, b"") + piece.hashes


def tiles_of(size: int) -> Tiles:
    tiles: Tiles = {}
    keep(tiles, Frontier().append(LEAVES[:size]))
    return tiles


WHOLE = tiles_of(LARGE)


def cut(wanted: list[Tile]) -> Tiles:
    """These tiles alone, no wider than they are said to be."""
    return {(tile.level, tile.number): WHOLE[tile.level, tile.number][: tile.width * 32] for tile in wanted}


def test_every_tree_to_1100_leaves_has_the_root_and_the_proofs_of_the_definition() -> None:
    draw = random.Random(1)
    frontier, tiles = Frontier(), Tiles()
    assert frontier.root() == root_from(tiles, 0) == EMPTY_ROOT
    for size in range(1, SMALL + 1):
        keep(tiles, frontier.append(LEAVES[size - 1 : size]))
        leaves = LEAVES[:size]
        assert frontier.size == size
        assert frontier.root() == root_of(leaves) == root_from(tiles, size)
        for index in {size - 1, draw.randrange(size)}:
            assert inclusion_proof_from(tiles, index, size) == inclusion_proof(leaves, index)
            assert consistency_proof_from(tiles, index + 1, size) == consistency_proof(leaves, index + 1)


@given(st.lists(st.integers(0, 700), max_size=12), st.booleans())
@settings(deadline=None)
def test_leaves_make_the_same_tiles_in_whatever_pieces_they_come(counts: list[int], restarted: bool) -> None:
    frontier, tiles = Frontier(), Tiles()
    for count in counts:
        pieces = frontier.append(LEAVES[frontier.size : frontier.size + count])
        assert len({(piece.level, piece.number) for piece in pieces}) == len(pieces)
        keep(tiles, pieces)
        if restarted:
            frontier = Frontier.of(frontier.size, frontier.partial)

    assert tiles == tiles_of(frontier.size)
    assert frontier.root() == root_of(LEAVES[: frontier.size])
    partial = {tile.level: tiles[tile.level, tile.number] for tile in partial_tiles(frontier.size)}
    assert frontier.partial == partial


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_proofs_of_large_trees_come_from_the_tiles_that_are_asked_for_and_no_others(data: st.DataObject) -> None:
    size = data.draw(st.one_of(st.integers(1, LARGE), st.integers(65_530, 65_540), st.just(65_536)))
    index = data.draw(st.integers(0, size - 1))
    leaves = LEAVES[:size]
    root = root_of(leaves)

    assert root_from(cut(tiles_for(root_nodes(size), size)), size) == root
    proof = inclusion_proof_from(cut(tiles_for(inclusion_nodes(index, size), size)), index, size)
    verify_inclusion(leaves[index], index, size, proof, root)
    old = index + 1
    steps = consistency_proof_from(cut(tiles_for(consistency_nodes(old, size), size)), old, size)
    verify_consistency(old, root_of(leaves[:old]), size, root, steps)


def test_proofs_at_ten_million_leaves_take_few_tiles_and_little_time() -> None:
    size, index = 10_000_019, 7_654_321
    wanted = tiles_for(inclusion_nodes(index, size), size)
    wanted += tiles_for(consistency_nodes(index, size), size) + tiles_for(root_nodes(size), size)
    tiles = {(tile.level, tile.number): sha256(repr(tile).encode()).digest() * tile.width for tile in wanted}

    assert len(tiles_for(inclusion_nodes(index, size), size)) <= 6
    assert len(tiles_for(consistency_nodes(index, size), size)) <= 6
    begun = time.process_time()
    for _ in range(20):
        inclusion_proof_from(tiles, index, size)
    assert (time.process_time() - begun) / 20 < 0.005
    assert len(inclusion_proof_from(tiles, index, size)) == 24


def test_appending_takes_microseconds_a_leaf() -> None:
    frontier = Frontier()
    begun = time.process_time()

    for start in range(0, LARGE, 500):
        frontier.append(LEAVES[start : start + 500])

    assert (time.process_time() - begun) / LARGE < 0.000_01


def test_a_copy_of_the_edge_is_appended_to_apart() -> None:
    frontier = Frontier()
    frontier.append(LEAVES[:300])
    other = frontier.copy()
    other.append(LEAVES[300:900])

    assert frontier.root() == root_of(LEAVES[:300])
    assert other.root() == root_of(LEAVES[:900])
    frontier.append(LEAVES[300:900])
    assert frontier.root() == other.root()


def test_the_widths_of_70000_leaves_are_those_of_the_specification() -> None:
    assert partial_tiles(70_000) == [Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert partial_tiles(256) == [Tile(1, 0, 1)]
    assert partial_tiles(0) == []
    assert tile_at(0, 273, 70_000) == Tile(0, 273, 112)
    assert tile_at(0, 272, 70_000) == Tile(0, 272, 256)
    assert tile_at(0, 274, 70_000) is None
    assert tile_at(0, 273, 273 * 256) is None
    assert tile_at(3, 0, 70_000) is None
    assert tile_at(63, 0, MAX_SIZE) is None


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "000"),
        (Tile(0, 5, 1), "005.p/1"),
        (Tile(1, 999, 255), "999.p/255"),
        (Tile(0, 1000), "x001/000"),
        (Tile(0, 1_234_067), "x001/x234/067"),
        (Tile(0, 1_234_067, 12), "x001/x234/067.p/12"),
        (Tile(0, MAX_NUMBER), "x036/x028/x797/x018/x963/968"),
    ],
)
def test_a_tile_has_one_path(tile: Tile, path: str) -> None:
    assert tile_path(tile) == path
    assert parse_tile_path(tile.level, path) == tile


@given(st.integers(0, MAX_NUMBER), st.integers(1, 256))
def test_every_path_leads_back_to_its_tile(number: int, width: int) -> None:
    tile = Tile(0, number, width)

    assert parse_tile_path(0, tile_path(tile)) == tile
    assert re.fullmatch(r"(x\d{3}/)*\d{3}(\.p/\d+)?", tile_path(tile))


@pytest.mark.parametrize(
    "path",
    [
        *(
            "",
            "5",
            "05",
            "0005",
            "x000/005",
            "x00/005",
            "x1234/005",
            "001/005",
            "x001/x005",
            "x001/",
            "/005",
            "x001//005",
        ),
        *("005.p", "005.p/", "005.p/0", "005.p/01", "005.p/256", "005.p/999", "005.p/1000", "005.p/-1", "005.P/1"),
        *("-05", "+05", "00a", "005 ", " 005", "005\n", "005.p/1\n", "٠٠٥", "x001/../005", "..", "005?", "005.p/1/2"),
        *("x036/x028/x797/x018/x963/969", "x999/" * 6 + "999", "x001/" * 1000 + "001"),
    ],
)
def test_any_other_path_is_no_tile(path: str) -> None:
    with pytest.raises(TileNotFound):
        parse_tile_path(0, path)


def test_levels_go_from_0_to_63_in_one_form() -> None:
    assert [parse_level(str(level)) for level in range(64)] == [*range(64)]
    for text in ("", "00", "01", "64", "100", "-1", "x", "1\n", "٣", "entries"):
        with pytest.raises(TileNotFound):
            parse_level(text)


@pytest.mark.parametrize(
    ("size", "partial"),
    [
        (0, {0: b""}),
        (1, {}),
        (1, {0: bytes(31)}),
        (1, {0: bytes(64)}),
        (1, {0: bytes(32), 1: bytes(32)}),
        (256, {0: bytes(8192)}),
        (300, {0: bytes(44 * 32)}),
        (-1, {}),
        (MAX_SIZE + 1, {level: bytes(128 * 32) for level in range(8)}),
    ],
)
def test_an_edge_of_other_widths_than_its_size_has_is_refused(size: int, partial: dict[int, bytes]) -> None:
    with pytest.raises(TilesDamaged):
        Frontier.of(size, partial)


def test_what_is_no_hash_changes_nothing() -> None:
    frontier = Frontier()
    frontier.append(LEAVES[:255])
    root = frontier.root()

    for wrong in (b"", bytes(31), bytes(33)):
        with pytest.raises(TilesDamaged):
            frontier.append([LEAVES[255], wrong])
    full = Frontier.of(MAX_SIZE, {tile.level: bytes(tile.width * 32) for tile in partial_tiles(MAX_SIZE)})
    with pytest.raises(TilesDamaged):
        full.append(LEAVES[:1])
    assert (frontier.size, frontier.root()) == (255, root)


def test_a_missing_or_short_tile_gives_no_proof() -> None:
    size = 1_000
    wanted = tiles_for(inclusion_nodes(900, size), size)
    assert Tile(0, 3, 232) in wanted
    for tile in wanted:
        lacking = {place: content for place, content in cut(wanted).items() if place != (tile.level, tile.number)}
        with pytest.raises(TilesDamaged):
            inclusion_proof_from(lacking, 900, size)
    with pytest.raises(TilesDamaged):
        root_from(tiles_of(999), 1_000)
    with pytest.raises(TilesDamaged):
        consistency_proof_from(tiles_of(999), 998, 1_000)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (5, 5), (-1, 5)])
def test_there_is_no_proof_from_tiles_of_a_leaf_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(IndexError):
        inclusion_proof_from(WHOLE, index, size)
    with pytest.raises(IndexError):
        consistency_proof_from(WHOLE, index + 1 if index == size else index, size)


def test_subtrees_beyond_a_tree_have_no_tiles() -> None:
    with pytest.raises(IndexError):
        tiles_for(inclusion_nodes(900, 1_000), 500)
