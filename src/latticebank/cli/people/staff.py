"""`latticebank staff`: rights, which one proposes, a second approves, and a third gets."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

import typer

from latticebank.cli.console import err, out, write_json, write_table
from latticebank.cli.people.devices import read_request
from latticebank.cli.people.person import Json, Person, acting, call, checked_address
from latticebank.client import BankClient, SignedDocument
from latticebank.client.device import fingerprint_of
from latticebank.documents.document import from_base64url, identity, read
from latticebank.documents.enrolment import DeviceEnrolment
from latticebank.documents.rights import DEVICE, RightsProposal
from latticebank.kernel.credential_file import operator_credential
from latticebank.kernel.settings import load_settings
from latticebank.runtime.presence import running_bank
from latticebank.security.identity.wire import ProposalView
from latticebank.values.errors import BankError, Fault, InvalidValue

staff = typer.Typer(help="Grant and withdraw rights: it takes two members of staff.", no_args_is_help=True)

OwnBankUrl = Annotated[
    str | None,
    typer.Option(
        "--bank-url",
        envvar="LATTICEBANK_CLIENT_ADDRESS",
        help="The address of the bank.",
        show_default="that of the bank that runs here",
    ),
]
ProposalId = Annotated[UUID, typer.Argument(metavar="ID", help="The id of the proposal.")]
_PAGE = 200
_MAX_PAGES = 50


class ProposalNotFound(BankError):
    """No proposal that waits has this id."""

    code = "proposal-not-found"
    title = "There is no such proposal"
    fault = Fault.NOT_FOUND


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(staff, name="staff")


@staff.command("propose")
@acting
def propose(
    person: Person,
    right: Annotated[
        str,
        typer.Argument(
            help="teller, manager, auditor, admin; verified (identity was proved); party:REFERENCE (whom the books know "
            "by it); device (see --enrolment)."
        ),
    ],
    subject: Annotated[UUID, typer.Option("--for", metavar="USER", help="The id of the user (`latticebank whoami`).")],
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take the right away instead.")] = False,
    enrolment: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="For the right `device`: what `device request --unsponsored` wrote."),
    ] = None,
    as_json: Json = False,
) -> None:
    r"""Propose a right for somebody else. Another member of staff has 24 hours to approve it.

    Admins propose and approve roles. Tellers and managers propose, and managers approve, the other rights.

    For example:

        latticebank staff propose teller \
            --for 01a1f894-d57b-77b4-bb9e-2e9dc09a2a6b
        latticebank staff proposals
    """
    device = _proposed_device(right, enrolment)
    full = right if device is None else f"{DEVICE}{device.enrolment.hash}"
    signed = person.signs.rights("withdraw" if withdraw else "grant", full, subject)

    async def do(bank: BankClient) -> ProposalView:
        if device is None:
            return await bank.propose(signed)
        return await bank.propose(signed, device_name=device.name, enrolment=device.enrolment)

    view = person.ask(do)
    if as_json:
        write_json(view)
    else:
        out.print(
            f"Proposed: {_sentence(view.action, view.right, view.subject)}. Proposal {view.id}.",
            markup=False,
            soft_wrap=True,
        )
        err.print(f"Another member of staff approves it until {view.expires_at:%Y-%m-%d %H:%M} UTC.", markup=False)


@staff.command("proposals")
@acting
def proposals(
    person: Person,
    everything: Annotated[bool, typer.Option("--all", help="Also those that are decided or have lapsed.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="The most to show.")] = 50,
    as_json: Json = False,
) -> None:
    """List the proposals that wait for a decision, the newest first."""
    page = person.ask(lambda bank: bank.proposals(only_open=not everything, limit=limit))
    if as_json:
        write_json(page.items)
        return
    columns = [("proposal", "left"), ("what", "left"), ("state", "left"), ("proposed", "left"), ("by", "left")]
    write_table(
        columns,
        (
            [
                str(each.id),
                _sentence(each.action, each.right, each.subject),
                each.state,
                f"{each.proposed_at:%Y-%m-%d %H:%M}",
                str(each.proposer),
            ]
            for each in page.items
        ),
    )
    if page.next_cursor is not None:
        err.print("There are more; a higher --limit shows them.", markup=False)


@staff.command("approve")
@acting
def approve(person: Person, identifier: ProposalId, as_json: Json = False) -> None:
    """Approve what another member of staff proposed for a third person, by the signature of this device."""
    _decide(person, identifier, "approve", as_json=as_json)


@staff.command("reject")
@acting
def reject(person: Person, identifier: ProposalId, as_json: Json = False) -> None:
    """Reject what another member of staff proposed."""
    _decide(person, identifier, "reject", as_json=as_json)


@staff.command("bootstrap")
def bootstrap(
    user: Annotated[UUID, typer.Argument(metavar="USER", help="The id of a user who has registered.")],
    bank_url: OwnBankUrl = None,
    as_json: Json = False,
) -> None:
    """As the operator: make a user one of the bank's first two admins. Further ones they make themselves.

    The operator's token is read from the bank's data folder (LATTICEBANK_DATA).

    For example:

        latticebank staff bootstrap 01a1f894-d57b-77b4-bb9e-2e9dc09a2a6b
    """
    data = load_settings().data
    address = _address_of_own_bank(data) if bank_url is None else checked_address(bank_url)
    roles = call(address, lambda bank: bank.bootstrap_admin(user), credential=operator_credential(data))
    if as_json:
        write_json(roles)
    else:
        out.print(f"User {roles.user} is {', '.join(roles.roles)}.", markup=False)


@dataclass(frozen=True, slots=True)
class _ProposedDevice:
    """A device for a customer who has none left."""

    name: str
    enrolment: SignedDocument


def _proposed_device(right: str, file: Path | None) -> _ProposedDevice | None:
    if (right == "device") != (file is not None):
        raise typer.BadParameter("the right `device` and --enrolment go together", param_hint="--enrolment")
    if file is None:
        return None
    request = read_request(file)
    return _ProposedDevice(request.device_name, request.enrolment)


def _decide(person: Person, identifier: UUID, decision: Literal["approve", "reject"], *, as_json: bool) -> None:
    signs = person.signs

    async def do(bank: BankClient) -> ProposalView:
        found = await _proposal(bank, identifier)
        said = _what_it_says(found)  # what is signed is what the text says, not what is said of it
        if not as_json:
            err.print(said, markup=False, soft_wrap=True)
        document_hash = identity(found.document.encode()).hex()
        return await bank.decide_proposal(identifier, signs.proposal_decision(identifier, document_hash, decision))

    view = person.ask(do)
    if as_json:
        write_json(view)
    else:
        out.print(f"Proposal {view.id} is {view.state}.", markup=False)


async def _proposal(bank: BankClient, identifier: UUID) -> ProposalView:
    """Return a proposal that waits.

    Raises:
        ProposalNotFound: none of this id does.

    """
    cursor = None
    for _ in range(_MAX_PAGES):
        page = await bank.proposals(only_open=True, cursor=cursor, limit=_PAGE)
        for each in page.items:
            if each.id == identifier:
                return each
        cursor = page.next_cursor
        if cursor is None:
            break
    raise ProposalNotFound(
        f"no proposal {identifier} waits for a decision", field="ID", hint="see `latticebank staff proposals --all`"
    )


def _address_of_own_bank(data: Path) -> str:
    presence = running_bank(data)
    if presence is None:
        raise InvalidValue(
            f"no bank runs on {data.absolute()}", field="--bank-url", hint="start it, or say where it is"
        )
    return presence.address


def _what_it_says(view: ProposalView) -> str:
    """Return what a proposal says by its signed text, and the fingerprint of a device that it is about.

    Raises:
        InvalidDocument, InvalidValue: the text is no proposal, or the enrolment is not the one that it names.

    """
    signed = read(RightsProposal, view.document.encode())
    said = _sentence(signed.action, signed.right, signed.subject)
    if not signed.right.startswith(DEVICE):
        return said
    enrolment = (view.enrolment or "").encode()
    if signed.right != f"{DEVICE}{identity(enrolment).hex()}":
        raise InvalidValue("the proposal is about another device than the bank shows", field="enrolment")
    public_key = from_base64url(read(DeviceEnrolment, enrolment).public_key, "public_key")
    return f"{said}\nfingerprint of the device: {fingerprint_of(public_key)}"


def _sentence(action: str, right: str, subject: object) -> str:
    return f"{action} {right} {'to' if action == 'grant' else 'from'} user {subject}"
