"""How people come in and what they are shown of themselves and of the bank."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from latticebank.security.identity.wire.words import DocumentText, Message, Password, RoleWord, SignatureText


@dataclass(frozen=True, slots=True, repr=False)
class RegistrationOrder(Message):
    """Who wants to become a customer. `user` is an id of the client's making (UUIDv7).

    `document` is the enrolment of the first device, without a sponsor, signed by the new key.
    """

    user: UUID
    email: Annotated[str, Field(max_length=254, examples=["ada@example.org"])]
    password: Password
    full_name: Annotated[str, Field(max_length=140, examples=["Ada Lovelace"])]
    phone: Annotated[str, Field(max_length=20, examples=["+442071838750"])]
    device_name: Annotated[str, Field(max_length=60, examples=["Ada's laptop"])]
    document: DocumentText
    signature: SignatureText


@dataclass(frozen=True, slots=True)
class Registered(Message):
    """The new customer and the first device."""

    user: UUID
    device: UUID


@dataclass(frozen=True, slots=True, repr=False)
class LoginOrder(Message):
    """Who wants in. A known device may prove itself, which opens a door that others' attempts have locked."""

    email: Annotated[str, Field(max_length=254, examples=["ada@example.org"])]
    password: Password
    document: DocumentText | None = None
    signature: SignatureText | None = None


@dataclass(frozen=True, slots=True, repr=False)
class LoggedIn(Message):
    """A new session: `token` is what the client presents as a bearer token, until `expires_at` at most."""

    token: str
    session: UUID
    user: UUID
    expires_at: datetime
    idle_seconds: int
    roles: list[RoleWord]


@dataclass(frozen=True, slots=True, repr=False)
class PasswordChange(Message):
    """The present password and the one that takes its place; all other sessions end."""

    old: Password
    new: Password


@dataclass(frozen=True, slots=True, repr=False)
class ProfileView(Message):
    """What a customer told the bank."""

    user: UUID
    email: str
    full_name: str
    phone: str
    verified: bool
    roles: list[RoleWord]


@dataclass(frozen=True, slots=True, repr=False)
class ErasureOrder(Message):
    """Who wants their profile erased for ever says their password again; the operator says none."""

    password: Password | None = None


@dataclass(frozen=True, slots=True)
class ErasureView(Message):
    """What was erased: the profile, and with it so many sessions and devices that counted until then."""

    user: UUID
    requested_at: datetime
    erased_at: datetime
    sessions_ended: int
    devices_revoked: int


@dataclass(frozen=True, slots=True)
class AlgorithmView(Message):
    """An algorithm of the bank: what it does, and whether it may authorise anything new."""

    name: str
    use: Literal["signature", "log", "sealing", "field"]
    post_quantum: bool
    authorises: bool
    default: bool


@dataclass(frozen=True, slots=True)
class SecurityInfo(Message):
    """How the bank protects itself, for everyone to see."""

    bank: str
    version: str
    library: str
    algorithms: list[AlgorithmView]
    token_keys: list[str]
    password_hash: str
