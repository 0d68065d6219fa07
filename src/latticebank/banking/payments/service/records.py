"""Customers' records keys, opened by keys and remembered for a minute: under them lies all that was signed."""

from collections.abc import Collection, Mapping
from uuid import UUID

from latticebank.banking.payments.service.remembered import Remembered
from latticebank.crypto.envelope import FieldKey, field_place, sealed_under
from latticebank.crypto.errors import SealBroken
from latticebank.documents.document import from_base64url
from latticebank.security.keys.client import KeysClient
from latticebank.security.keys.wire import CustomerKeyRequest

_REMEMBERED = 20_000
_SECONDS = 60.0
_AT_ONCE = 1_000
_FIRST_VERSION = 1

Owner = tuple[UUID, int | None]
"""Whose key, and which version of it; None is the active one."""


class RecordsKeys:
    """Opens what customers signed, and gives the keys to seal it."""

    def __init__(self, keys: KeysClient) -> None:
        async def load(wanted: list[Owner]) -> Mapping[Owner, FieldKey]:
            opened = await keys.customer_keys(
                [CustomerKeyRequest(owner, "records", version) for owner, version in wanted]
            )
            found: dict[Owner, FieldKey] = {}
            for each in opened:
                key = FieldKey(each.key_id, each.version, from_base64url(each.secret, "secret"))
                found[(each.owner, each.version)] = key
                if each.state == "active":
                    found[(each.owner, None)] = key
            return found

        self._keys = Remembered(load, at_most=_REMEMBERED, seconds=_SECONDS, at_once=_AT_ONCE)

    async def active(self, owners: Collection[UUID]) -> dict[UUID, FieldKey]:
        """Return the key under which each owner's new records are sealed; an owner without one is left out."""
        found = await self._keys.get_all([(owner, None) for owner in owners])
        return {owner: key for (owner, _), key in found.items()}

    async def open(self, owner: UUID, sealed: bytes, place: bytes) -> bytes | None:
        """Return what was sealed for this owner at a place; None once the key is destroyed.

        Raises:
            SealBroken: it was changed, or comes from another place or owner.

        """
        key_id, version = sealed_under(sealed)
        if version < _FIRST_VERSION:
            raise SealBroken("no customer's key has this version")
        key = await self._keys.get((owner, version))
        if key is None:
            return None
        if key.key_id != key_id:
            raise SealBroken("the value was sealed under another customer's key")
        return key.open(sealed, place)

    async def aclose(self) -> None:
        """Stop asking for keys."""
        await self._keys.aclose()


def document_place(payment: UUID) -> bytes:
    """Return the place of what was signed for a single payment."""
    return field_place("signed_documents", "document", str(payment))


def manifest_place(batch: UUID) -> bytes:
    """Return the place of a signed manifest."""
    return field_place("batches", "manifest", str(batch))


def texts_place(batch: UUID, piece: int) -> bytes:
    """Return the place of a piece of a batch's payments."""
    return field_place("batch_texts", "texts", f"{batch}/{piece}")
