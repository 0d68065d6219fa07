"""The papers of the town: what opens the bank to its people, in the folder `demo` of the data folder.

    demo/README          says what this is
    demo/passphrase      opens the others; random, and readable by the owner of the folder alone
    demo/town.sealed     everyone's e-mail address, password and device key, and how far the town has come
    demo/wallets/NAME    a wallet for the command line, made when somebody is first asked to act

A passphrase beside what it opens protects nothing: that is for a demonstration only, and the README says so.
"""

import secrets
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal
from uuid import UUID

import msgspec

from latticebank.client import Customer, Device, SignedDocument, Wallet
from latticebank.client.private_file import alone_in, read_private, write_private
from latticebank.crypto.passphrase import MAX_PLAINTEXT, open_with_passphrase, seal_with_passphrase
from latticebank.crypto.signatures import SigningKey
from latticebank.documents.document import base64url, from_base64url
from latticebank.runtime.town.people import DOMAIN, Newcomer, RoleWord
from latticebank.values.errors import BankError, Fault
from latticebank.values.ids import Uuid7Source

FOLDER = "demo"
PURPOSE = "latticebank/demo-town/v1"
README = """The demo town of this bank: people who do not exist, with their passwords and keys.

town.sealed and the wallets open with the passphrase that lies beside them, so nothing here is secret from whoever
can read this folder. That is fit for a demonstration on one machine, and for nothing else.

`latticebank demo people` lists who lives here, `latticebank demo as NAME` lets you act as one of them.
"""
_README, _PASSPHRASE, _TOWN, _WALLETS = "README", "passphrase", "town.sealed", "wallets"
_MAX_PASSPHRASE_BYTES = 200
_MAX_TOWN_BYTES = 2 * MAX_PLAINTEXT
# No vowel but y, and none that look alike: no word comes about, so no password holds a name.
_LETTERS = "bcdfghjkmnpqrstvwxyz"


class NoTown(BankError):
    """The data folder has no demo town."""

    code = "no-demo-town"
    title = "There is no demo town here"
    fault = Fault.NOT_FOUND


class NoSuchResident(BankError):
    """Nobody of this name lives in the town."""

    code = "no-such-resident"
    title = "Nobody of this name lives in the demo town"
    fault = Fault.NOT_FOUND


class Planned(msgspec.Struct, frozen=True):
    """A payment or deposit that the town makes once, under an id that was chosen before it was ever tried."""

    id: UUID
    amount: str
    payer: str = ""
    payee: str = ""
    reference: str = ""


class Resident(msgspec.Struct):
    """Someone of the town and what opens the bank to them; `seed` and the signature are base64url.

    The enrolment stays as it was signed, so that a registration that was broken off can be repeated. `account` is empty
    until the resident has moved in.
    """

    name: str
    full_name: str
    phone: str
    role: RoleWord
    password: str
    user: UUID
    device: UUID
    algorithm: str
    seed: str
    party: str = ""
    enrolment: str = ""
    enrolment_signature: str = ""
    deposits: list[Planned] = []
    account: str = ""

    @property
    def email(self) -> str:
        """The address under which the bank knows the resident."""
        return f"{self.name}@{DOMAIN}"

    @property
    def is_staff(self) -> bool:
        """Whether the resident works at the bank."""
        return self.role not in ("customer", "merchant")

    def key(self) -> Device:
        """Return the device of the resident, with its key."""
        return Device(self.device, SigningKey.from_seed(self.algorithm, from_base64url(self.seed, "seed")))

    def __repr__(self) -> str:
        return f"Resident({self.name!r}, {self.role!r})"


class Town(msgspec.Struct):
    """The people of the town, and what they pay at first; `complete` once all of that is done."""

    format: Literal[1]
    residents: list[Resident]
    payments: list[Planned]
    complete: bool = False

    def resident(self, name: str) -> Resident:
        """Return a resident by name or e-mail address.

        Raises:
            NoSuchResident: there is none.

        """
        wanted = name.casefold().removesuffix(f"@{DOMAIN}")
        for resident in self.residents:
            if resident.name == wanted:
                return resident
        raise NoSuchResident(f"nobody is called {name!r}", hint="`latticebank demo people` lists everyone")

    def has(self, name: str) -> bool:
        """Whether somebody of this name lives here."""
        return any(resident.name == name for resident in self.residents)


class Papers:
    """The folder of the town."""

    def __init__(self, data: Path) -> None:
        self.folder = data / FOLDER

    def town(self) -> Town | None:
        """Return the town as it was last written down; None where there is none.

        Raises:
            OpenToOthers, CannotUseFile, PassphraseWrong, SealBroken: its file is not what was written.

        """
        if not self.folder.exists() or (sealed := read_private(self.folder / _TOWN, _MAX_TOWN_BYTES)) is None:
            return None
        return msgspec.json.decode(open_with_passphrase(sealed, self.passphrase(), PURPOSE), type=Town)

    def existing_town(self) -> Town:
        """Return the town.

        Raises:
            NoTown: there is none.

        """
        if (town := self.town()) is None:
            raise NoTown(f"there is nobody in {self.folder}", hint="open a fresh bank with `latticebank up`")
        return town

    def keep(self, town: Town) -> None:
        """Write the town down, whole or not at all."""
        sealed = seal_with_passphrase(msgspec.json.encode(town), self.passphrase(), PURPOSE)
        write_private(self.folder / _TOWN, sealed)

    def alone(self) -> AbstractContextManager[None]:
        """Keep other processes from adding people meanwhile: the last to write would forget those of the first."""
        return alone_in(self.folder)

    def passphrase(self) -> str:
        """Return the passphrase of the folder, made at its first use."""
        path = self.folder / _PASSPHRASE
        if not self.folder.exists() or (found := read_private(path, _MAX_PASSPHRASE_BYTES)) is None:
            write_private(self.folder / _README, README.encode())
            found = secrets.token_urlsafe(32).encode()
            write_private(path, found)
        return found.decode()

    def wallet(self, resident: Resident, bank: str, address: str) -> Path:
        """Return the wallet of a resident for the command line, made at its first use."""
        path = self.folder / _WALLETS / resident.name
        if not path.exists():
            wallet = Wallet.open_or_new(path, self.passphrase())
            wallet.keep(Customer(bank, address, resident.user, resident.key(), email=resident.email))
        return path

    def without_wallets(self) -> None:
        """Remove the wallets: they were those of another town."""
        if (self.folder / _WALLETS).exists():
            for path in (self.folder / _WALLETS).iterdir():
                path.unlink()


def resident_of(newcomer: Newcomer, number: int, amounts: list[str], ids: Uuid7Source) -> Resident:
    """Return a newcomer with a fresh password and device; `amounts` are the deposits, `number` makes the phone number."""
    device = Device.new(ids)
    return Resident(
        name=newcomer.name,
        full_name=newcomer.full_name,
        phone=f"+1202555{number % 10_000:04}",
        role=newcomer.role,
        password=new_password(),
        user=ids(),
        device=device.id,
        algorithm=device.key.algorithm,
        seed=base64url(device.key.seed),
        party=newcomer.party,
        deposits=[Planned(ids(), amount) for amount in amounts],
    )


def enrolment_of(resident: Resident) -> SignedDocument:
    """Return the enrolment of a resident's device as it was signed."""
    named = msgspec.json.decode(resident.enrolment, type=dict[str, str])
    return SignedDocument(UUID(named["id"]), resident.enrolment, resident.enrolment_signature)


def new_password() -> str:
    """Return a password of 64 random bits that can be typed."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(3)) for _ in range(5))
