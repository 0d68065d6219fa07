"""A log as files below a folder, served on the loopback as it is: what a bank serves, without the bank."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from latticebank.crypto.checkpoints import Checkpoint, CosignerKey, LogKey
from latticebank.crypto.merkle import leaf_hash
from latticebank.crypto.tiles import WIDTH, Frontier, Tile, tile_at, tile_path


def write_log(
    folder: Path, origin: str, key: LogKey, leaves: Sequence[bytes], at: datetime, witnesses: Sequence[CosignerKey] = ()
) -> Checkpoint:
    """Write checkpoint, tiles and bundles of a log of these leaves."""
    frontier = Frontier()
    tiles: dict[tuple[int, int], bytes] = {}
    for begin in range(0, len(leaves), 1_000):
        for piece in frontier.append([leaf_hash(leaf) for leaf in leaves[begin : begin + 1_000]]):
            place = (piece.level, piece.number)
            tiles[place] = tiles.get(place, b"") + piece.hashes
    for (level, number), content in tiles.items():
        _write(folder / "tile" / str(level) / tile_path(Tile(level, number, len(content) // 32)), content)
    number = 0
    while (bundle := tile_at(0, number, len(leaves))) is not None:
        entries = leaves[number * WIDTH : number * WIDTH + bundle.width]
        content = b"".join(len(entry).to_bytes(2) + entry for entry in entries)
        _write(folder / "tile" / "entries" / tile_path(bundle), content)
        number += 1
    checkpoint = Checkpoint(origin, len(leaves), frontier.root())
    cosignatures = "".join(witness.cosign(checkpoint, at) for witness in witnesses)
    _write(folder / "checkpoint", key.sign(checkpoint, at) + cosignatures.encode())
    return checkpoint


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder and give its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(folder)))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        pass


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
