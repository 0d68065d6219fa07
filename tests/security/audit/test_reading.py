"""Whoever reads the log through a proxy, however old what that has kept, reads the log that there is now."""

import asyncio

from latticebank.crypto.tiles import WIDTH, tile_at, tile_path
from latticebank.kernel.transports import Response
from latticebank.security.audit.service.beginning import begin_anew
from tests.security.audit.hall import Hall


async def read(hall: Hall, path: str, method: str = "GET", known: str | None = None) -> Response:
    """Ask for a tile, or whether it is still the one that is known by this."""
    headers = {} if known is None else {"If-None-Match": known}
    return await hall.send("audit", method, f"/api/log/tile/{path}", headers=headers)


async def last_tiles(hall: Hall) -> list[str]:
    """The path of the last tile of hashes, and of the last bundle of entries."""
    size = (await hall.integrated()).size
    last = tile_at(0, (size - 1) // WIDTH, size)
    assert last is not None
    return [f"0/{tile_path(last)}", f"entries/{tile_path(last)}"]


async def test_a_tile_that_is_known_is_not_sent_again(hall: Hall) -> None:
    for path in await last_tiles(hall):
        tile = await read(hall, path)
        tag = tile.headers["etag"]
        assert tile.headers["cache-control"] == "public, no-cache", "a proxy keeps it, and asks before it gives it away"
        for known in (tag, f'"another", {tag}', f"W/{tag}", "*"):
            same = await read(hall, path, known=known)
            assert (same.status, same.body) == (304, b""), known
            assert (same.headers["etag"], same.headers["cache-control"]) == (tag, "public, no-cache")
        for other in ('"another"', tag[:-2] + '"', tag.strip('"'), ""):
            assert await as_first(hall, path, other) == tile.body, other


async def as_first(hall: Hall, path: str, known: str) -> bytes:
    """What is sent to somebody who knows something else."""
    tile = await read(hall, path, known=known)
    assert tile.status == 200
    return tile.body


async def test_the_head_of_a_tile_is_told_without_it(hall: Hall) -> None:
    [path, _] = await last_tiles(hall)
    tile, head = await read(hall, path), await read(hall, path, "HEAD")
    assert (head.status, head.body) == (200, b"")
    for name in ("etag", "cache-control", "content-type", "content-length"):
        assert head.headers[name] == tile.headers[name], name
    assert (await read(hall, path, "HEAD", tile.headers["etag"])).status == 304


async def test_tiles_of_another_width_and_of_a_new_log_are_other_tiles(hall: Hall) -> None:
    await hall.open("EUR")
    await hall.integrated()
    paths = [f"{level}/000.p/{width}" for level in ("0", "entries") for width in (1, 2)]
    old = {path: (await read(hall, path)) for path in paths}
    base = hall.log.foundation
    await begin_anew(base.database, base.book, base.bank, base.kept, base.now(), though_sound=True)
    await hall.open("EUR")
    async with asyncio.timeout(60):
        while not hall.rows("SELECT 1 FROM checkpoints WHERE log = 2 AND size > 1", database="audit"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    for path in paths:
        assert await as_first(hall, path, old[path].headers["etag"]) != old[path].body
    assert len({tile.headers["etag"] for tile in old.values()}) == len(paths)
