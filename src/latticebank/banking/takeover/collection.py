"""Python's search for cyclic garbage, made rare while an import runs: it took a third of an import's time."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_ALLOCATIONS = 100_000


@contextmanager
def rare_collections() -> Iterator[None]:
    """Search for cycles only after every 100,000 new containers; an import makes millions of values and no cycles."""
    before = gc.get_threshold()
    gc.set_threshold(_ALLOCATIONS, 50, 100)
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def leave_alone() -> None:
    """Never again look for cycles in what exists now, until the import is over."""
    gc.freeze()
