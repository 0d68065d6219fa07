"""`latticebank device`: the devices whose keys may sign for a customer."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, get_args
from uuid import UUID

import msgspec
import typer

from latticebank.cli.console import err, out, this_command, write_json, write_table
from latticebank.cli.people.asking import PASSWORD, answer, confirm, secret
from latticebank.cli.people.entering import DeviceName, Email, PasswordFile, name_of_this_device
from latticebank.cli.people.person import Json, Person, acting, call
from latticebank.client import BankClient, Customer, Device, NotInWallet, Session, SignedDocument
from latticebank.client.device import fingerprint_of, read_enrolment
from latticebank.client.private_file import CannotUseFile
from latticebank.crypto.registry import DEFAULT_SIGNATURE
from latticebank.documents.document import from_base64url
from latticebank.security.identity.wire import DeviceView, RevokeReason
from latticebank.values.errors import BankError, Fault, InvalidValue

FORMAT = "latticebank-enrolment-request/1"
_MAX_BYTES = 65_536

device = typer.Typer(help="Look after the devices that sign for you.", no_args_is_help=True)

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
RequestFile = Annotated[Path, typer.Argument(metavar="FILE", help="What `device request` wrote on the new device.")]


class EnrolledAlready(BankError):
    """The device in the wallet is one of the customer's devices."""

    code = "enrolled-already"
    title = "This device is enrolled already"
    fault = Fault.CONFLICT


class EnrolmentRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a new device hands to one that is active: its signed enrolment, and the name that it wants."""

    format: str
    device_name: str
    document: str
    signature: str

    @property
    def enrolment(self) -> SignedDocument:
        """The signed enrolment.

        Raises:
            InvalidDocument, InvalidValue, InvalidSignature: it is none, or the new key did not sign it.

        """
        document = read_enrolment(SignedDocument(UUID(int=0), self.document, self.signature))
        return SignedDocument(UUID(document.id), self.document, self.signature)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(device, name="device")


def read_request(path: Path) -> EnrolmentRequest:
    """Return the request that a file holds.

    Raises:
        CannotUseFile, InvalidValue: it cannot be read, or holds none.

    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES)
        request = msgspec.json.decode(content, type=EnrolmentRequest)
    except OSError as error:
        raise CannotUseFile(path, error) from error
    except msgspec.DecodeError:
        raise InvalidValue(f"{path} is no enrolment request", field="FILE") from None
    if request.format != FORMAT:
        raise InvalidValue(f"{path} is no enrolment request of this version", field="FILE")
    return request


@device.command("request")
@acting
def request(
    person: Person,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write what the other device needs.")],
    email: Email = None,
    device_name: DeviceName = "",
    sponsor: Annotated[
        UUID | None, typer.Option(help="The device that will enrol this one.", show_default="your only active one")
    ] = None,
    unsponsored: Annotated[
        bool, typer.Option("--unsponsored", help="You have no device left: two members of staff vouch for you.")
    ] = False,
    algorithm: Annotated[str, typer.Option(help="The algorithm of this device's key.")] = DEFAULT_SIGNATURE,
    password_file: PasswordFile = None,
    as_json: Json = False,
) -> None:
    """On a new device: make its key, log in, and write what an active device needs to enrol it within ten minutes.

    Then take FILE to your other device and run `latticebank device enrol FILE` there. If it took too long, run this
    again: the key stays the same.
    """
    email = answer(email or person.email, "Your e-mail address", "--email")
    password = secret(PASSWORD, password_file)
    person.makes_wallet = True
    wallet = person.wallet

    async def enter(bank: BankClient) -> tuple[str, Session, list[DeviceView]]:
        info = await bank.security_info()
        return info.bank, await bank.login(email, password), await bank.devices()

    named, session, devices = call(person.address, enter)
    customer = _newcomer(person, email, named, session, devices, algorithm)
    sponsored_by = None if unsponsored else _sponsor(devices, sponsor)
    wallet.keep(customer)
    wallet.keep_session(customer, session)
    signed = person.signatory(customer).enrolment(customer.user, sponsored_by)
    content = EnrolmentRequest(FORMAT, device_name or name_of_this_device(), signed.document, signed.signature)
    _write(file, content)
    if as_json:
        write_json({"device": customer.device.id, "fingerprint": customer.device.fingerprint, "sponsor": sponsored_by})
        return
    out.print(f"device {customer.device.id}", markup=False)
    out.print(f"fingerprint {customer.device.fingerprint}", markup=False)
    if unsponsored:
        err.print(f"Give {file} to the bank's staff within ten minutes.", markup=False, soft_wrap=True)
    else:
        err.print(
            f"Within ten minutes, on your other device: {this_command()} device enrol {file}\n"
            "It shows the same fingerprint, or somebody has changed the file.",
            markup=False,
            soft_wrap=True,
        )


@device.command("enrol")
@acting
def enrol(person: Person, file: RequestFile, yes: Yes = False, as_json: Json = False) -> None:
    """On an active device: enrol a new one, after comparing the fingerprints. It cools off before it can pay."""
    received = read_request(file)
    enrolment = received.enrolment
    err.print(f"The new device is called {received.device_name}. Its fingerprint is", markup=False)
    err.print(f"  {_fingerprint(enrolment)}", markup=False)
    confirm("Does the new device show the same?", yes=yes)
    signature = person.signs.sponsor(enrolment, person.customer.user)
    view = person.ask(lambda bank: bank.enrol_device(received.device_name, enrolment, signature))
    if as_json:
        write_json(view)
    else:
        out.print(
            f"Device {view.device} is {view.state}; it can pay from {view.active_from:%Y-%m-%d %H:%M} UTC.",
            markup=False,
        )


@device.command("list")
@acting
def list_devices(person: Person, as_json: Json = False) -> None:
    """List your devices."""
    devices = person.ask(BankClient.devices)
    if as_json:
        write_json(devices)
        return
    here = person.customer.device.id
    columns = [
        ("device", "left"),
        ("name", "left"),
        ("state", "left"),
        ("since", "left"),
        ("algorithm", "left"),
        ("", "left"),
    ]
    write_table(
        columns,
        (
            [str(each.device), each.name, each.state, f"{each.enrolled_at:%Y-%m-%d %H:%M}", each.algorithm,
             "this device" if each.device == here else None]
            for each in devices
        ),
    )  # fmt: skip


@device.command("revoke")
@acting
def revoke(
    person: Person,
    identifier: Annotated[UUID, typer.Argument(metavar="DEVICE", help="The id of the device.")],
    reason: Annotated[str, typer.Option(help=f"Why: {', '.join(get_args(RevokeReason))}.")] = "no-longer-needed",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Make a device count no more, at once and for ever."""
    if reason not in get_args(RevokeReason):
        raise typer.BadParameter(f"say one of {', '.join(get_args(RevokeReason))}", param_hint="--reason")
    word: RevokeReason = msgspec.convert(reason, RevokeReason)
    if identifier == person.customer.device.id:
        confirm("This is the device that you are using: it will sign nothing any more. Revoke it?", yes=yes)
    view = person.ask(lambda bank: bank.revoke_device(identifier, word))
    if as_json:
        write_json(view)
    else:
        out.print(f"Device {view.device} is {view.state}.", markup=False)


def _newcomer(
    person: Person, email: str, bank: str, session: Session, devices: list[DeviceView], algorithm: str
) -> Customer:
    """Return the customer with a key that the bank does not know: that of an earlier request, or a new one.

    Raises:
        EnrolledAlready: the wallet has an active or cooling device of this customer.

    """
    states = {each.device: each.state for each in devices}
    try:
        kept = person.wallet.customer(email, bank)
    except NotInWallet:
        return Customer(bank, person.address, session.user, Device.new(person.ids, algorithm), email=email)
    match states.get(kept.device.id):
        case None:
            return replace(kept, user=session.user, address=person.address)
        case "revoked":
            person.wallet.forget(kept)
            fresh = Device.new(person.ids, algorithm)
            return replace(kept, user=session.user, device=fresh, address=person.address)
        case state:
            raise EnrolledAlready(
                f"the device in {person.wallet_path} is {state}", hint="see `latticebank device list`"
            )


def _sponsor(devices: list[DeviceView], chosen: UUID | None) -> UUID:
    active = [each.device for each in devices if each.state == "active"]
    if chosen is not None and chosen in active:
        return chosen
    if chosen is None and len(active) == 1:
        return active[0]
    raise InvalidValue(
        f"choose one of your {len(active)} active devices" if active else "you have no active device",
        field="--sponsor",
        hint=", ".join(map(str, active)) or "say --unsponsored, and go to the bank's staff",
    )


def _fingerprint(enrolment: SignedDocument) -> str:
    return fingerprint_of(from_base64url(read_enrolment(enrolment).public_key, "public_key"))


def _write(file: Path, request: EnrolmentRequest) -> None:
    try:
        file.write_bytes(msgspec.json.format(msgspec.json.encode(request)) + b"\n")
    except OSError as error:
        raise CannotUseFile(file, error) from error
