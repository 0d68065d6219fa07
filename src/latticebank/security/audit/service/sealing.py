"""How openings lie in the database: a run of them sealed together, bound to its place in its log."""

from collections.abc import Sequence

import msgspec

from latticebank.crypto.envelope import FieldKey, field_place
from latticebank.security.audit.model.entries import Opening
from latticebank.security.audit.service.foundation import Foundation
from latticebank.security.audit.store.openings import SealedRun

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Opening])


def place_of(log: int, first_index: int) -> bytes:
    """Return the place of the openings of a run."""
    return field_place("openings", "sealed", f"{log}/{first_index}")


def seal_run(key: FieldKey, run: Sequence[Opening], place: bytes) -> bytes:
    """Return the openings of a run, sealed."""
    return key.seal(_encoder.encode(run), place)


async def open_run(base: Foundation, log: int, run: SealedRun) -> list[Opening] | None:
    """Return the openings of a run; None once the key of its owner is destroyed.

    Raises:
        SealBroken: it was changed, or comes from another place.

    """
    place = place_of(log, run.first_index)
    own = base.own_keys.opening(run.sealed)
    if own is not None:
        return _decoder.decode(own.open(run.sealed, place))
    if run.owner is None:
        return None
    opened = await base.records.open(run.owner, run.sealed, place)
    return None if opened is None else _decoder.decode(opened)
