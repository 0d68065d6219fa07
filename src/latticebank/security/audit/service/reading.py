"""What everybody may read of the log: checkpoint, tiles, bundles of entries, and whom to trust for it."""

from latticebank.crypto.errors import TileNotFound
from latticebank.crypto.log_policy import NamedWitness
from latticebank.crypto.tiles import HASH_BYTES, Tile, tile_at
from latticebank.security.audit.model.entries import LEAF_BYTES
from latticebank.security.audit.service.foundation import Foundation
from latticebank.security.audit.service.publishing import Publishing
from latticebank.security.audit.store import tree
from latticebank.security.audit.store.published import Published

_LENGTH = LEAF_BYTES.to_bytes(2)


class Reading:
    """The log as C2SP tlog-tiles shows it: nothing beyond what is published."""

    def __init__(self, foundation: Foundation, publishing: Publishing, witnesses: list[NamedWitness]) -> None:
        self._base = foundation
        self._publishing = publishing
        self._witnesses = witnesses

    async def checkpoint(self) -> bytes:
        """Return the newest checkpoint, a signed note.

        Raises:
            NothingPublished: there is none.

        """
        return (await self._publishing.newest()).note

    async def tile(self, tile: Tile) -> bytes:
        """Return the hashes of a tile, joined.

        Raises:
            TileNotFound: the published tree has no such tile, or it is not as wide.

        """
        content = await self._content(tree.TILE, tile)
        return content[: tile.width * HASH_BYTES]

    async def bundle(self, tile: Tile) -> bytes:
        """Return the entries below a tile of level 0, each after its length in two bytes.

        Raises:
            TileNotFound: as `tile`.

        """
        content = await self._content(tree.BUNDLE, tile)
        leaves = [content[begin : begin + LEAF_BYTES] for begin in range(0, tile.width * LEAF_BYTES, LEAF_BYTES)]
        return b"".join(_LENGTH + leaf for leaf in leaves)

    async def policy(self) -> str:
        """Return the keys of the log and of its witnesses (C2SP tlog-policy). All keys of the log sign each checkpoint."""
        base = self._base
        log = await self._current()
        lines = [
            f"# The log of {base.bank}. Both of its keys sign every checkpoint: demand both.",
            *(f"log {key.vkey()}" for key in base.own_keys.log.note_keys(log.origin)),
            *(f"witness {each.name} {each.key.vkey()}" for each in self._witnesses),
            "quorum none",
        ]
        return "\n".join(lines) + "\n"

    async def _content(self, statement: str, tile: Tile) -> bytes:
        base = self._base
        log, newest = await self._current(), await self._newest_size()
        there = tile_at(tile.level, tile.number, newest)
        if there is None or tile.width > there.width:
            raise TileNotFound(f"the log of {newest} published leaves has no such tile")
        rows = await base.database.fetch(statement, (base.book, log.log, tile.level, tile.number))
        if not rows:
            raise TileNotFound("the log has no such tile")
        return bytes(rows[0][0])

    async def _newest_size(self) -> int:
        newest: Published = await self._publishing.newest()
        return newest.size

    async def _current(self) -> tree.Log:
        async with self._base.database.read() as connection:
            log = await tree.current(connection, self._base.book)
        if log is None:
            raise TileNotFound("the log was not begun yet")
        return log
