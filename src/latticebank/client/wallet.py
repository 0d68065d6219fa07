"""The wallet: the keys of a customer's devices, in one file that a passphrase seals.

Beside it lies a file for each open session, whose token is sealed under a key of the wallet. A wallet is written whole or
not at all, and never over what another process has put into it meanwhile.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from secrets import token_bytes
from typing import Literal, Self
from uuid import UUID

import msgspec

from latticebank.client.device import Device
from latticebank.client.private_file import alone_in, read_private, write_private
from latticebank.client.session import Session
from latticebank.crypto.envelope import FieldKey, field_place
from latticebank.crypto.errors import InvalidKey, PassphraseWrong, SealBroken
from latticebank.crypto.passphrase import MAX_PLAINTEXT, open_with_passphrase, seal_with_passphrase
from latticebank.crypto.signatures import SigningKey
from latticebank.documents.document import base64url, from_base64url
from latticebank.values.errors import BankError, Fault, InvalidValue

PURPOSE = "latticebank/wallet/v1"
MIN_PASSPHRASE = 8
MAX_CUSTOMERS = 1_000
_MAX_WALLET_BYTES = 2 * MAX_PLAINTEXT
_MAX_SESSION_BYTES = 16_384
_SESSION_KEY_BYTES = 32


class NoWallet(BankError):
    """There is no wallet at this place."""

    code = "no-wallet"
    title = "There is no wallet here"
    fault = Fault.NOT_FOUND

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"there is no wallet at {path}",
            hint="`latticebank register` makes one; LATTICEBANK_CLIENT_WALLET or --wallet names another place",
        )


class WalletDamaged(BankError):
    """The file is no wallet, or was changed after it was sealed."""

    code = "wallet-damaged"
    title = "The wallet cannot be read"
    fault = Fault.INTERNAL


class NotInWallet(BankError):
    """The wallet has no such customer, or several of whom one must be chosen."""

    code = "not-in-wallet"
    title = "The wallet does not say who acts"
    fault = Fault.NOT_FOUND


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer of a bank and the device that signs for the customer here.

    `confirmed` is False while it is not known whether the bank ever received the registration.
    """

    bank: str
    address: str
    user: UUID
    device: Device
    email: str = field(default="", repr=False)
    confirmed: bool = True


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A customer as the wallet writes it; `seed` is base64url."""

    bank: str
    address: str
    user: UUID
    device: UUID
    algorithm: str
    seed: str
    email: str
    confirmed: bool


class _Contents(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a wallet seals. `session_key` seals the sessions beside it, base64url."""

    format: Literal[1]
    session_key: str
    customers: list[_Kept]


class _SealedSession(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file of a session: whose it is, and the rest sealed."""

    format: Literal[1]
    user: UUID
    sealed: str


class Wallet:
    """The wallet in a file. It shows no secret to anyone who prints it."""

    def __init__(self, path: Path, passphrase: str, session_key: bytes, customers: tuple[Customer, ...]) -> None:
        self.path = path
        self.customers = customers
        self._passphrase = passphrase
        self._session_key = session_key

    @classmethod
    def open(cls, path: Path, passphrase: str) -> Self:
        """Open the wallet of a file.

        Raises:
            NoWallet: there is no file.
            OpenToOthers: others can read it, or write to its folder.
            PassphraseWrong, WalletDamaged: it does not open.

        """
        return cls(path, passphrase, *_opened(path, passphrase))

    @classmethod
    def open_or_new(cls, path: Path, passphrase: str) -> Self:
        """Open the wallet of a file, or return an empty one, to be written when it first keeps something.

        Raises:
            InvalidValue: the passphrase of a new wallet is shorter than eight characters.
            OpenToOthers, PassphraseWrong, WalletDamaged: as `open`.

        """
        try:
            return cls.open(path, passphrase)
        except NoWallet:
            if len(passphrase) < MIN_PASSPHRASE:
                raise InvalidValue(
                    f"the passphrase of a wallet has at least {MIN_PASSPHRASE} characters", field="passphrase"
                ) from None
            return cls(path, passphrase, token_bytes(_SESSION_KEY_BYTES), ())

    def customer(self, email: str | None = None, bank: str | None = None) -> Customer:
        """Return the customer with this e-mail address at this bank; the only one, if neither is given.

        Raises:
            NotInWallet: there is none, or there are several.

        """
        found = [
            customer
            for customer in self.customers
            if (email is None or customer.email.casefold() == email.casefold()) and bank in (None, customer.bank)
        ]
        if len(found) == 1:
            return found[0]
        if not found:
            raise NotInWallet(f"{self.path} has no such customer", hint="see `latticebank whoami --all`, or register")
        raise NotInWallet(
            f"{self.path} has {len(found)} customers", hint="say --as E-MAIL; `latticebank whoami --all` lists them"
        )

    def keep(self, customer: Customer) -> None:
        """Write a customer into the wallet, in place of what it has for the same device.

        Raises:
            InvalidValue: the wallet is full.
            PassphraseWrong, WalletDamaged, OpenToOthers, CannotUseFile: it cannot be written.

        """
        with self._changing():
            others = tuple(each for each in self.customers if each.device.id != customer.device.id)
            if len(others) >= MAX_CUSTOMERS:
                raise InvalidValue(f"a wallet has at most {MAX_CUSTOMERS} customers", field="wallet")
            self.customers = (*others, customer)

    def confirm(self, customer: Customer) -> Customer:
        """Write down, and return, that the bank knows this customer."""
        if not customer.confirmed:
            customer = replace(customer, confirmed=True)
            self.keep(customer)
        return customer

    def forget(self, customer: Customer) -> None:
        """Take a customer and the key of the device out of the wallet, for ever, and end the session kept here."""
        self.drop_session(customer)
        with self._changing():
            self.customers = tuple(each for each in self.customers if each.device.id != customer.device.id)

    def keep_session(self, customer: Customer, session: Session) -> None:
        """Keep an open session beside the wallet, for the address of the customer's bank alone."""
        sealed = self._session_cipher(customer.user).seal(msgspec.json.encode(session), _session_place(customer))
        file = _SealedSession(1, customer.user, base64url(sealed))
        write_private(self._session_path(customer.user), msgspec.json.encode(file))

    def session(self, customer: Customer) -> Session | None:
        """Return the session that is kept for a customer.

        One that was opened at another address, or cannot be read any more, is no session: its token goes nowhere else.
        """
        received = read_private(self._session_path(customer.user), _MAX_SESSION_BYTES)
        if received is None:
            return None
        try:
            file = msgspec.json.decode(received, type=_SealedSession)
            sealed = from_base64url(file.sealed, "sealed")
            text = self._session_cipher(customer.user).open(sealed, _session_place(customer))
            return msgspec.json.decode(text, type=Session)
        except (SealBroken, InvalidValue, msgspec.DecodeError):
            return None

    def drop_session(self, customer: Customer) -> None:
        """Forget the session that is kept for a customer, if there is one."""
        with suppress(FileNotFoundError):
            self._session_path(customer.user).unlink()

    def __repr__(self) -> str:
        return f"Wallet({str(self.path)!r}, {len(self.customers)} customers)"

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Take in what others wrote since the wallet was opened, let the block change `customers`, and write."""
        with alone_in(self.path.parent):
            if self.path.exists():
                self._session_key, self.customers = _opened(self.path, self._passphrase)
            before = self.customers
            yield
            if self.customers != before or not self.path.exists():
                self._write()

    def _write(self) -> None:
        contents = _Contents(1, base64url(self._session_key), [_kept(customer) for customer in self.customers])
        write_private(self.path, seal_with_passphrase(msgspec.json.encode(contents), self._passphrase, PURPOSE))

    def _session_path(self, user: UUID) -> Path:
        return self.path.with_name(f"{self.path.name}.{user}.session")

    def _session_cipher(self, user: UUID) -> FieldKey:
        return FieldKey(user, 1, self._session_key)


def _opened(path: Path, passphrase: str) -> tuple[bytes, tuple[Customer, ...]]:
    """Return the session key and the customers that the wallet of a file holds."""
    sealed = read_private(path, _MAX_WALLET_BYTES)
    if sealed is None:
        raise NoWallet(path)
    try:
        contents = msgspec.json.decode(open_with_passphrase(sealed, passphrase, PURPOSE), type=_Contents)
        session_key = from_base64url(contents.session_key, "session_key")
        return session_key, tuple(map(_customer, contents.customers))
    except PassphraseWrong:
        raise PassphraseWrong(f"{path} does not open with this passphrase", field="passphrase") from None
    except InvalidValue as error:
        if error.field == "passphrase":
            raise
        raise _damaged(path) from error
    except (SealBroken, InvalidKey, msgspec.DecodeError) as error:
        raise _damaged(path) from error


def _session_place(customer: Customer) -> bytes:
    return field_place("session", customer.address, str(customer.user))


def _kept(customer: Customer) -> _Kept:
    return _Kept(
        bank=customer.bank,
        address=customer.address,
        user=customer.user,
        device=customer.device.id,
        algorithm=customer.device.key.algorithm,
        seed=base64url(customer.device.key.seed),
        email=customer.email,
        confirmed=customer.confirmed,
    )


def _customer(kept: _Kept) -> Customer:
    key = SigningKey.from_seed(kept.algorithm, from_base64url(kept.seed, "seed"))
    return Customer(
        kept.bank, kept.address, kept.user, Device(kept.device, key), email=kept.email, confirmed=kept.confirmed
    )


def _damaged(path: Path) -> WalletDamaged:
    return WalletDamaged(f"{path} is no wallet, or was changed after it was sealed", hint="restore it from a copy")
