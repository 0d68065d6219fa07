"""Ports for servers that have to know their own, or each other's, before they open."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept_port() -> Iterator[int]:
    """Yield a port at which nobody listens, kept for a server that takes it with `SO_REUSEADDR`, as ours do.

    It stays bound, so Linux gives it to nobody who asks for any port, and connects nobody from it.
    """
    with socket.socket() as keeper:
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeper.bind(("127.0.0.1", 0))
        yield int(keeper.getsockname()[1])
