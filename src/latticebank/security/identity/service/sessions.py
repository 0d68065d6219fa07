"""Sessions: logging in, under a bound on guessing, and out; changing the password."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from uuid import UUID

from latticebank.crypto.errors import InvalidSignature
from latticebank.documents.document import base64url, judge
from latticebank.documents.login import LoginProof
from latticebank.kernel.caller import Caller
from latticebank.kernel.database import UnitOfWork
from latticebank.security.identity.events import (
    LOCKED_OUT,
    LOGGED_IN,
    LOGIN_FAILED,
    PASSWORD_CHANGED,
    SESSION_ENDED,
    Happening,
)
from latticebank.security.identity.model.attempts import FORGOTTEN, CounterKind, charge, give_back, is_worth_telling
from latticebank.security.identity.model.devices import Device, DeviceState, Signed, signed
from latticebank.security.identity.model.people import PasswordWrong, Profile, require_fit_password
from latticebank.security.identity.model.rights import roles_of
from latticebank.security.identity.model.sessions import (
    AT_MOST,
    IDLE,
    KEPT,
    MAX_SESSIONS,
    TOKEN_PREFIX,
    LoginRefused,
    SessionEnded,
)
from latticebank.security.identity.service.evenness import evenly
from latticebank.security.identity.service.foundation import Foundation
from latticebank.security.identity.service.passwords import Busy
from latticebank.security.identity.store import attempts, devices, sessions, users
from latticebank.security.identity.store.users import UserRow
from latticebank.security.identity.wire import LoggedIn, LoginOrder
from latticebank.values.errors import BankError, InvalidValue

FORGOTTEN_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class _Counter:
    """Where an attempt is counted."""

    kind: CounterKind
    subject: bytes


class Sessions:
    """The use cases around sessions and passwords."""

    def __init__(self, foundation: Foundation) -> None:
        self._base = foundation

    async def log_in(self, order: LoginOrder) -> LoggedIn:
        """Open a new session.

        Raises:
            InvalidValue, InvalidDocument: the form is wrong.
            OtherBank, DocumentExpired, DocumentFromFuture: the proof is not for here and now.
            TooManyAttempts: the address, known or not, is locked; or the device that proved itself is.
            LoginRefused: address or password is wrong.
            Busy: too many log in at once.

        """
        base = self._base
        proof = self._read_proof(order)
        indexes = base.own_keys.email_indexes(order.email)
        async with base.database.read() as connection:
            user = await users.by_email(connection, base.book, indexes)
            device = None if proof is None else await devices.by_id(connection, base.book, UUID(proof.document.device))
        proved = self._is_proved(user, device, proof)
        counter = _Counter(CounterKind.EMAIL, indexes[0])
        if device is not None and proved:
            counter = _Counter(CounterKind.DEVICE, device.id.bytes)
        known = user if user is not None and user.is_active else None
        async with evenly(only=LoginRefused):
            locks = await self._charge(counter)
            upgraded = await self._check_password(known, order.password, counter, LoginRefused(), locks=locks)
        assert known is not None
        return await self._open(known, device.id if device is not None and proved else None, counter, upgraded)

    async def log_out(self, caller: Caller) -> None:
        """End the session of the caller."""
        base = self._base
        session = _session_of(caller)
        async with base.database.begin() as unit:
            if await sessions.end(unit.connection, base.book, session, base.now()):
                self._tell_of_ends(unit, caller.user, [session])

    async def change_password(self, caller: Caller, old: str, new: str) -> None:
        """Replace the password of the caller and end all other sessions.

        Raises:
            InvalidValue, PasswordRefused: the new password is unfit.
            PasswordWrong: the old one is wrong.
            TooManyAttempts: it was wrong too often.
            SessionEnded: the session is over, or the password changed meanwhile.

        """
        base, user, session = self._base, caller.user, _session_of(caller)
        known = await self._in_session(caller)
        profile = await base.profile_keys.open(user, known.profile, "users", "profile", user)
        require_fit_password(new, Profile.from_bytes(profile).email, base.bank, "/new")
        if old == new:
            raise InvalidValue("this is the present password", field="/new")
        counter = _Counter(CounterKind.USER, user.bytes)
        locks = await self._charge(counter)
        await self._check_password(known, old, counter, PasswordWrong("/old"), locks=locks)
        hashed = await base.passwords.hash(new)
        async with base.database.begin() as unit:
            if not await users.change_password(unit.connection, base.book, user, known.password, hashed):
                raise SessionEnded
            ended = await sessions.end_others(unit.connection, base.book, user, session, base.now())
            self._tell_of_ends(unit, user, ended)
            await attempts.clear(unit.connection, base.book, counter.kind, counter.subject)
            unit.publish(base.event(PASSWORD_CHANGED, session, Happening(user, session=session)))

    async def require_password(self, caller: Caller, password: str) -> None:
        """Check that the caller knows the password, before what cannot be undone.

        Raises:
            PasswordWrong: it is another.
            TooManyAttempts: it was wrong too often.
            SessionEnded: the session is over.
            Busy: too many log in at once.

        """
        base, known = self._base, await self._in_session(caller)
        counter = _Counter(CounterKind.USER, known.id.bytes)
        locks = await self._charge(counter)
        await self._check_password(known, password, counter, PasswordWrong("/password"), locks=locks)
        async with base.database.begin() as unit:
            await attempts.clear(unit.connection, base.book, counter.kind, counter.subject)

    async def forget(self) -> int:
        """Delete sessions and counters that are long over, some at a time; how many they were."""
        base, now = self._base, self._base.now()
        async with base.database.begin() as unit:
            gone = await sessions.forget(unit.connection, base.book, now - KEPT, FORGOTTEN_AT_ONCE)
            return gone + await attempts.forget(unit.connection, base.book, now - FORGOTTEN * 4, FORGOTTEN_AT_ONCE)

    async def _in_session(self, caller: Caller) -> UserRow:
        """Return the user who calls in a session.

        Raises:
            SessionEnded: it is over.

        """
        base, session = self._base, _session_of(caller)
        async with base.database.read() as connection:
            known = await users.by_id(connection, base.book, caller.user)
            there = await sessions.sessions_by_id(connection, base.book, [session])
        if known is None or session not in there or not there[session].is_open(base.now()):
            raise SessionEnded
        return known

    def _read_proof(self, order: LoginOrder) -> Signed[LoginProof] | None:
        if (order.document is None) != (order.signature is None):
            missing = "/document" if order.document is None else "/signature"
            raise InvalidValue("document and signature go together", field=missing)
        if order.document is None or order.signature is None:
            return None
        proof = signed(LoginProof, order.document, order.signature)
        judge(proof.document, self._base.bank, self._base.now())
        return proof

    def _is_proved(self, user: UserRow | None, device: Device | None, proof: Signed[LoginProof] | None) -> bool:
        """Whether an active device of this user proved itself; if not, the log-in goes on as if without a device."""
        if user is None or device is None or proof is None or device.user != user.id:
            return False
        if device.state(self._base.now()) is not DeviceState.ACTIVE:
            return False
        try:
            proof.require_signed_by(device.key())
        except InvalidSignature:
            return False
        return True

    async def _charge(self, counter: _Counter) -> bool:
        """Count an attempt; whether it is the one that locks."""
        base, now = self._base, self._base.now()
        async with base.database.begin() as unit:
            known = await attempts.lock(unit.connection, base.book, counter.kind, counter.subject, now)
            charged = charge(known, now)
            await attempts.write(unit.connection, base.book, counter.kind, counter.subject, charged)
        return charged.locked_until is not None

    async def _check_password(
        self, user: UserRow | None, password: str, counter: _Counter, wrong: BankError, *, locks: bool
    ) -> str | None:
        """Return the new hash of a right password whose old one is out of date, None if it is not; or raise `wrong`."""
        base = self._base
        try:
            verdict = await base.passwords.verify(None if user is None else user.password, password)
            if verdict.matches:
                return await base.passwords.hash(password) if verdict.upgrade else None
        except Busy:
            await self._give_back(counter)
            raise
        await self._tell_of_failure(user, counter, locks=locks)
        raise wrong

    async def _give_back(self, counter: _Counter) -> None:
        base = self._base
        async with base.database.begin() as unit:
            known = await attempts.lock(unit.connection, base.book, counter.kind, counter.subject, base.now())
            await attempts.write(unit.connection, base.book, counter.kind, counter.subject, give_back(known))

    def _tell_of_ends(self, unit: UnitOfWork, user: UUID, ended: Iterable[UUID]) -> None:
        for session in ended:
            unit.publish(self._base.event(SESSION_ENDED, session, Happening(user, session=session)))

    async def _tell_of_failure(self, user: UserRow | None, counter: _Counter, *, locks: bool) -> None:
        """Tell of the first failure of each hour, and of every lock, if there is anyone to tell of."""
        base, now = self._base, self._base.now()
        async with base.database.begin() as unit:
            known = await attempts.lock(unit.connection, base.book, counter.kind, counter.subject, now)
            if is_worth_telling(known, now):
                known = replace(known, told_at=now)
                await attempts.write(unit.connection, base.book, counter.kind, counter.subject, known)
                if user is not None:
                    unit.publish(base.event(LOGIN_FAILED, user.id, Happening(user.id)))
            if user is not None and locks:
                unit.publish(base.event(LOCKED_OUT, user.id, Happening(user.id)))

    async def _open(self, user: UserRow, device: UUID | None, counter: _Counter, upgraded: str | None) -> LoggedIn:
        base, now = self._base, self._base.now()
        session, token, ends_at = base.ids(), _new_token(), now + AT_MOST
        async with base.database.begin() as unit:
            connection = unit.connection
            if not await users.hold_password(connection, base.book, user.id, user.password):
                raise LoginRefused
            await attempts.clear(connection, base.book, counter.kind, counter.subject)
            if upgraded is not None:
                await users.upgrade_password(connection, base.book, user.id, user.password, upgraded)
            await sessions.insert(
                connection,
                base.book,
                session=session,
                user=user.id,
                token_hash=token_hash(token),
                device=device,
                now=now,
                ends_at=ends_at,
            )
            ended = await sessions.end_oldest(connection, base.book, user.id, MAX_SESSIONS, now)
            self._tell_of_ends(unit, user.id, ended)
            unit.publish(base.event(LOGGED_IN, session, Happening(user.id, session=session, device=device)))
        return LoggedIn(token, session, user.id, ends_at, int(IDLE.total_seconds()), roles_of(user.rights))


def token_hash(token: str) -> bytes:
    """Return what is stored of the token of a session: 32 random bytes need no slow hash."""
    return sha256(token.encode()).digest()


def _new_token() -> str:
    return TOKEN_PREFIX + base64url(secrets.token_bytes(32))


def _session_of(caller: Caller) -> UUID:
    if caller.session is None:
        raise SessionEnded
    return caller.session
