"""The devices of a customer: listed, joined by others, revoked; and shown to payments with their evidence."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from latticebank.documents.document import Document, base64url, identity, judge
from latticebank.documents.enrolment import DeviceEnrolment, require_device_name
from latticebank.kernel.database import UnitOfWork
from latticebank.security.identity.events import DEVICE_ENROLLED, DEVICE_REVOKED, Happening
from latticebank.security.identity.model.devices import (
    MAX_DEVICES,
    Device,
    DeviceIdReused,
    KeyAlreadyEnrolled,
    Signed,
    TooManyDevices,
    UnknownDevice,
    own_key,
    signature_bytes,
    signed,
)
from latticebank.security.identity.service.foundation import Foundation
from latticebank.security.identity.service.profile_keys import ProfileKeys
from latticebank.security.identity.store import devices, refusals
from latticebank.security.identity.wire import DeviceRecord, DeviceView, EnrolmentOrder
from latticebank.values.errors import BankError, InvalidValue

D = TypeVar("D", bound=Document)


class Devices:
    """The use cases around devices."""

    def __init__(self, foundation: Foundation) -> None:
        self._base = foundation

    async def of_user(self, user: UUID) -> list[DeviceView]:
        """Return the devices of a user in the order of their enrolment."""
        async with self._base.database.read() as connection:
            found = await devices.of_user(connection, self._base.book, user)
        now = self._base.now()
        return [await self._view(device, now) for device in found]

    async def enrol(self, user: UUID, order: EnrolmentOrder) -> DeviceView:
        """Let a device join another; it counts after the time of cooling off. To repeat an order is safe.

        Raises:
            InvalidValue, InvalidDocument, InvalidSignature: the form is wrong.
            OtherBank, DocumentExpired, DocumentFromFuture: the enrolment is not for here and now.
            UnknownDevice, DeviceRevoked, DeviceCooling: the sponsor does not count.
            DeviceIdReused, KeyAlreadyEnrolled, TooManyDevices: there is no room for it.

        """
        base = self._base
        name = device_name(order.device_name)
        enrolment = signed(DeviceEnrolment, order.document, order.signature)
        vouched = signature_bytes(order.sponsor_signature, "/sponsor_signature")
        require_of_user(enrolment, user, sponsored=True)
        enrolment.require_signed_by(own_key(enrolment.document))
        identifier, sponsor = UUID(enrolment.document.device), UUID(enrolment.document.sponsor)
        async with base.database.read() as connection:
            known = await devices.by_id(connection, base.book, identifier)
            refused = await refusals.has_device(connection, base.book, identifier)
        if refused:
            raise _id_reused()
        if known is not None:
            return await self._view(_same(known, enrolment), base.now())
        judge(enrolment.document, base.bank, base.now())
        sealed = await seal_name(base.profile_keys, user, name, identifier)
        async with base.database.begin() as unit:
            voucher = await active_device(unit, base, sponsor, user, "/document/sponsor")
            Signed(enrolment.document, enrolment.received, vouched).require_signed_by(voucher.key())
            device = new_device(base, enrolment, sealed, sponsor=sponsor, sponsor_signature=vouched)
            device = await store_new(unit, base, device, enrolment)
        return await self._view(device, base.now())

    async def revoke(self, user: UUID, device: UUID, reason: str) -> DeviceView:
        """Revoke a device of a user at once and for ever; to repeat it changes nothing.

        Raises:
            UnknownDevice: the user has no such device.

        """
        base = self._base
        async with base.database.begin() as unit:
            now = base.now()
            if await devices.revoke(unit.connection, base.book, user, device, reason, now):
                happening = Happening(user, device=device, revoked_at=now, reason=reason)
                unit.publish(base.event(DEVICE_REVOKED, device, happening))
            found = await devices.by_id(unit.connection, base.book, device)
        if found is None or found.user != user:
            raise UnknownDevice("you have no such device", field="device")
        return await self._view(found, base.now())

    async def records(self, wanted: Sequence[UUID]) -> list[DeviceRecord]:
        """Return those of these devices that exist with their evidence, in the order asked."""
        async with self._base.database.read() as connection:
            found = await devices.by_ids(connection, self._base.book, wanted)
        now = self._base.now()
        return [_record(found[device], now) for device in wanted if device in found]

    async def _view(self, device: Device, now: datetime) -> DeviceView:
        name = await self._base.profile_keys.open(device.user, device.name, "devices", "name", device.id)
        return DeviceView(
            device=device.id,
            name=name.decode(),
            algorithm=device.algorithm,
            state=device.state(now).value,
            enrolled_at=device.enrolled_at,
            active_from=device.active_from,
            revoked_at=device.revoked_at,
        )


def device_name(name: str, field: str = "/device_name") -> str:
    """Return the name of a device if it is one.

    Raises:
        InvalidValue: it is none.

    """
    try:
        require_device_name(name)
    except BankError as error:
        error.field = field
        raise
    return name


def require_of_user(enrolment: Signed[DeviceEnrolment], user: UUID, *, sponsored: bool, place: str = "") -> None:
    """Check that an enrolment is for this user, and names a sponsor if it must and only then.

    Raises:
        InvalidValue: it is not.

    """
    if enrolment.document.user != str(user):
        raise InvalidValue("this enrolment is for another user", field=f"{place}/document/user")
    if sponsored and not enrolment.document.sponsor:
        raise InvalidValue("an active device must sponsor this one", field=f"{place}/document/sponsor")
    if not sponsored and enrolment.document.sponsor:
        raise InvalidValue("staff vouch for this device, and no other device does", field=f"{place}/document/sponsor")


async def seal_name(keys: ProfileKeys, user: UUID, name: str, device: UUID) -> bytes:
    """Return the name of a device as it is stored."""
    return await keys.seal(user, name.encode(), "devices", "name", device)


async def active_device(unit: UnitOfWork, base: Foundation, device: UUID, user: UUID, field: str) -> Device:
    """Return a device of a user that counts now, and that nobody revokes until the transaction ends.

    Raises:
        UnknownDevice, DeviceRevoked, DeviceCooling: it does not count.

    """
    found = await devices.hold(unit.connection, base.book, device)
    if found is None or found.user != user:
        raise UnknownDevice("you have no such device", field=field)
    found.require_active(base.now())
    return found


def new_device(
    base: Foundation,
    enrolment: Signed[DeviceEnrolment],
    sealed_name: bytes,
    *,
    sponsor: UUID | None = None,
    sponsor_signature: bytes | None = None,
    proposal: UUID | None = None,
) -> Device:
    """Return the device of an enrolment as it is stored; it counts after the time of cooling off."""
    now, document = base.now(), enrolment.document
    return Device(
        id=UUID(document.device),
        user=UUID(document.user),
        algorithm=document.algorithm,
        public_key=own_key(document).public_bytes,
        name=sealed_name,
        document=enrolment.received,
        signature=enrolment.signature,
        sponsor=sponsor,
        sponsor_signature=sponsor_signature,
        proposal=proposal,
        enrolled_at=now,
        active_from=now + base.cooling,
    )


async def store_new(unit: UnitOfWork, base: Foundation, device: Device, enrolment: Signed[DeviceEnrolment]) -> Device:
    """Store a device and tell of it; one that the same enrolment made meanwhile is returned.

    Raises:
        DeviceIdReused, KeyAlreadyEnrolled, TooManyDevices: there is no room for it.

    """
    connection = unit.connection
    if await devices.count_of_user(connection, base.book, device.user) >= MAX_DEVICES:
        raise TooManyDevices(f"a user has at most {MAX_DEVICES} devices", hint="revoke one that is no longer used")
    await refusals.hold(connection, base.book, device.id.bytes, device.public_key)
    if await refusals.has_device(connection, base.book, device.id):
        raise _id_reused()
    if await refusals.is_taken(connection, base.book, device.id, device.public_key):
        raise _key_enrolled()
    if await devices.insert(connection, base.book, device):
        tell_of_enrolment(unit, base, device)
        return device
    rival = await devices.by_id(connection, base.book, device.id)
    if rival is None:
        raise _key_enrolled()
    return _same(rival, enrolment)


def tell_of_enrolment(unit: UnitOfWork, base: Foundation, device: Device) -> None:
    """Publish that a device was stored."""
    happening = Happening(
        device.user,
        device=device.id,
        proposal=device.proposal,
        document=identity(device.document).hex(),
        algorithm=device.algorithm,
        enrolled_at=device.enrolled_at,
        active_from=device.active_from,
        sponsor=device.sponsor,
    )
    unit.publish(base.event(DEVICE_ENROLLED, device.id, happening))


def _same(known: Device, enrolment: Signed[DeviceEnrolment]) -> Device:
    if known.document != enrolment.received:
        raise _id_reused()
    return known


def _id_reused() -> DeviceIdReused:
    return DeviceIdReused("this device id names another device", field="/document/device")


def _key_enrolled() -> KeyAlreadyEnrolled:
    return KeyAlreadyEnrolled("this key belongs to another device", field="/document/public_key")


def _record(device: Device, now: datetime) -> DeviceRecord:
    return DeviceRecord(
        device=device.id,
        user=device.user,
        algorithm=device.algorithm,
        public_key=base64url(device.public_key),
        state=device.state(now).value,
        enrolled_at=device.enrolled_at,
        active_from=device.active_from,
        revoked_at=device.revoked_at,
        document=device.document.decode(errors="replace"),
        signature=base64url(device.signature),
        sponsor=device.sponsor,
        sponsor_signature=None if device.sponsor_signature is None else base64url(device.sponsor_signature),
        proposal=device.proposal,
    )
