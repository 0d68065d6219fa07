"""Registration: a person, the first device and the first account, in that order and safe to repeat at any point.

Whether an address is taken shows neither in the answer nor in the time it takes, nor in what must be up for it.
"""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from latticebank.banking.ledger.client import LedgerClient
from latticebank.banking.ledger.wire import AccountOpening
from latticebank.documents.document import judge, require_uuid7
from latticebank.documents.enrolment import DeviceEnrolment
from latticebank.kernel.database import UnitOfWork
from latticebank.security.identity.events import USER_REGISTERED, Happening
from latticebank.security.identity.model.devices import Device, KeyAlreadyEnrolled, Signed, own_key, signed
from latticebank.security.identity.model.people import Profile, UserIdTaken, profile_of, require_fit_password
from latticebank.security.identity.service.devices import device_name, tell_of_enrolment
from latticebank.security.identity.service.evenness import evenly
from latticebank.security.identity.service.foundation import Foundation
from latticebank.security.identity.store import devices, refusals, users
from latticebank.security.identity.store.refusals import Connection, Refusal
from latticebank.security.identity.store.users import UserRow
from latticebank.security.identity.wire import Registered, RegistrationOrder
from latticebank.security.keys.client import KeysClient
from latticebank.values.errors import InvalidValue
from latticebank.values.ids import derived_id

FINISHED_AFTER = timedelta(seconds=15)
"""A registration that was broken off is finished by the bank itself after so long."""
FINISHED_AT_ONCE = 50
REFUSAL_KEPT = timedelta(days=30)
"""For so long a refused registration is answered like one that was not."""
FORGOTTEN_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True, repr=False)
class _Newcomer:
    """A registration whose form is right."""

    user: UUID
    profile: Profile
    device_name: str
    password: str
    enrolment: Signed[DeviceEnrolment]

    @property
    def device(self) -> UUID:
        return UUID(self.enrolment.document.device)

    @property
    def public_key(self) -> bytes:
        return own_key(self.enrolment.document).public_bytes

    def said(self) -> list[str]:
        """Return all that was said but the password."""
        return said_at_registration(self.user, self.profile, self.device_name, self.enrolment.identity)


class Registration:
    """Makes customers. `currency` is that of their first account."""

    def __init__(self, foundation: Foundation, keys: KeysClient, ledger: LedgerClient, currency: str) -> None:
        self._base = foundation
        self._keys = keys
        self._ledger = ledger
        self._currency = currency

    async def register(self, order: RegistrationOrder) -> Registered:
        """Register a customer; for an address that is taken, answer as if it were not, and remember ids and key.

        What follows is answered as if there were a customer, too: the same order, and others with these ids or this key.

        Raises:
            InvalidValue, InvalidDocument, PasswordRefused, InvalidSignature: the form is wrong.
            OtherBank, DocumentExpired, DocumentFromFuture: the enrolment is not for here and now.
            UserIdTaken, KeyAlreadyEnrolled: the id or the key belongs to another registration.
            Busy, RemoteProblem, ServiceUnavailable: try again with the same order.

        """
        newcomer = self._read(order)
        async with evenly():
            await self._admit(newcomer)
        return Registered(newcomer.user, newcomer.device)

    async def finish(self) -> int:
        """Open the accounts of registrations that were broken off; how many there were."""
        before = self._base.now() - FINISHED_AFTER
        async with self._base.database.read() as connection:
            left = await users.opening(connection, self._base.book, before, FINISHED_AT_ONCE)
        for user in left:
            await self._open_account(user)
        return len(left)

    async def forget(self) -> int:
        """Delete refused registrations that are long over, some at a time; how many they were."""
        base = self._base
        async with base.database.begin() as unit:
            return await refusals.forget(unit.connection, base.book, base.now() - REFUSAL_KEPT, FORGOTTEN_AT_ONCE)

    def _read(self, order: RegistrationOrder) -> _Newcomer:
        require_uuid7(str(order.user), "/user")
        profile = profile_of(order.email, order.full_name, order.phone)
        name = device_name(order.device_name)
        require_fit_password(order.password, order.email, self._base.bank)
        enrolment = signed(DeviceEnrolment, order.document, order.signature)
        if enrolment.document.user != str(order.user):
            raise InvalidValue("this enrolment is for another user", field="/document/user")
        if enrolment.document.sponsor:
            raise InvalidValue("the first device has no sponsor", field="/document/sponsor")
        enrolment.require_signed_by(own_key(enrolment.document))
        return _Newcomer(order.user, profile, name, order.password, enrolment)

    async def _admit(self, newcomer: _Newcomer) -> None:
        base, user = self._base, newcomer.user
        indexes = base.own_keys.email_indexes(newcomer.profile.email)
        async with base.database.read() as connection:
            known = await _known(connection, base.book, user)
            taken = await users.by_email(connection, base.book, indexes)
            enrolled = await _is_enrolled(connection, base.book, newcomer)
        if known is None:
            judge(newcomer.enrolment.document, base.bank, base.now())
            if enrolled:
                # Asked whether or not the address is taken, or the answer would tell.
                raise _already_enrolled()
            password = await base.passwords.hash(newcomer.password)
            known = await self._store(newcomer, indexes[0], password, refused=taken is not None)
        if known is not None:
            await self._require_repetition(known, newcomer)
        if known is None or not known.is_active:
            await self._complete(user)

    async def _require_repetition(self, known: UserRow | Refusal, newcomer: _Newcomer) -> None:
        """Let the same registration through again, and no other under the same id."""
        verdict = await self._base.passwords.verify(known.password, newcomer.password)
        if not verdict.matches or known.request_mac not in self._base.own_keys.request_macs(newcomer.said()):
            raise UserIdTaken("another registration has this user id", field="/user", hint="take a new one (UUIDv7)")

    async def _store(
        self, newcomer: _Newcomer, email_index: bytes, password: str, *, refused: bool
    ) -> UserRow | Refusal | None:
        """Store user and device, or that they were refused; or return who came first under the same user id.

        What is asked of others is the same either way, so that one that is down shows no difference.
        """
        base, user, now = self._base, newcomer.user, self._base.now()
        mac = base.own_keys.request_macs(newcomer.said())[0]
        await self._keys.create_customer_keys(user)
        profile = await base.profile_keys.seal(user, newcomer.profile.to_bytes(), "users", "profile", user)
        name = newcomer.device_name.encode()
        sealed_name = await base.profile_keys.seal(user, name, "devices", "name", newcomer.device)
        async with base.database.begin() as unit:
            connection, key = unit.connection, newcomer.public_key
            await refusals.hold(connection, base.book, user.bytes, newcomer.device.bytes, key)
            rival = await _known(connection, base.book, user)
            if rival is not None:
                return rival
            if await _is_enrolled(connection, base.book, newcomer):
                raise _already_enrolled()
            # Another registration may have taken the address since it was looked for.
            if not refused and await users.insert(
                connection,
                base.book,
                user,
                email_index=email_index,
                request_mac=mac,
                password=password,
                profile=profile,
                now=now,
            ):
                await self._store_device(unit, newcomer, sealed_name)
                return None
            device = newcomer.device
            await refusals.insert(
                connection, base.book, user, device=device, public_key=key, request_mac=mac, password=password, now=now
            )
        return None

    async def _store_device(self, unit: UnitOfWork, newcomer: _Newcomer, sealed_name: bytes) -> None:
        enrolment, now = newcomer.enrolment, self._base.now()
        device = Device(
            id=newcomer.device,
            user=newcomer.user,
            algorithm=enrolment.document.algorithm,
            public_key=newcomer.public_key,
            name=sealed_name,
            document=enrolment.received,
            signature=enrolment.signature,
            sponsor=None,
            sponsor_signature=None,
            proposal=None,
            enrolled_at=now,
            active_from=now,
        )
        if not await devices.insert(unit.connection, self._base.book, device):
            raise _already_enrolled()
        tell_of_enrolment(unit, self._base, device)

    async def _complete(self, user: UUID) -> None:
        """Open the first account; of a refused registration, only ask the ledger what it has."""
        base = self._base
        async with base.database.read() as connection:
            refused = await refusals.by_user(connection, base.book, user)
        if refused is None:
            await self._open_account(user)
            return
        await self._ledger.accounts(party=f"user:{user}", limit=1)
        async with base.database.begin() as unit:
            await refusals.activate(unit.connection, base.book, user)

    async def _open_account(self, user: UUID) -> None:
        """Open the first account, once however often this is called, and let the user in."""
        opening = AccountOpening("checking", self._currency, owners=[f"user:{user}"])
        await self._ledger.open_account(derived_id("registration", str(user)), opening)
        async with self._base.database.begin() as unit:
            if await users.activate(unit.connection, self._base.book, user):
                unit.publish(self._base.event(USER_REGISTERED, user, Happening(user)))


def said_at_registration(user: UUID, told: Profile, device_name: str, enrolment: bytes) -> list[str]:
    """Return what a registration said but the password; `enrolment` is the SHA-256 of the first device's."""
    return [str(user), told.email, told.full_name, told.phone, device_name, enrolment.hex()]


async def _known(connection: Connection, book: int, user: UUID) -> UserRow | Refusal | None:
    """Return the registration of a user id, refused or not."""
    return await users.by_id(connection, book, user) or await refusals.by_user(connection, book, user)


async def _is_enrolled(connection: Connection, book: int, newcomer: _Newcomer) -> bool:
    """Whether the id or the key of the device was used, in a refused registration or not."""
    device, key = newcomer.device, newcomer.public_key
    return await devices.is_taken(connection, book, device, key) or await refusals.is_taken(
        connection, book, device, key
    )


def _already_enrolled() -> KeyAlreadyEnrolled:
    return KeyAlreadyEnrolled("this device or its key is enrolled already", field="/document")
