"""`latticebank register`, `login`, `logout`, `whoami`, `password` and `erase-profile`: coming, being here and leaving."""

import platform
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from latticebank.cli.console import err, out, this_command, write_json, write_table
from latticebank.cli.people.asking import NEW_PASSWORD, PASSWORD, answer, confirm, secret
from latticebank.cli.people.person import Json, Person, acting, call
from latticebank.client import BankClient, Customer, Device, NotInWallet, RemoteProblem, Session
from latticebank.crypto.registry import DEFAULT_SIGNATURE
from latticebank.documents.document import OtherBank
from latticebank.documents.enrolment import MAX_DEVICE_NAME
from latticebank.security.identity.wire import ProfileView, Registered, SecurityInfo
from latticebank.values.errors import BankError, Fault

PasswordFile = Annotated[
    Path | None,
    typer.Option(
        help="A file with your password; else LATTICEBANK_CLIENT_PASSWORD, else you are asked.", show_default=False
    ),
]
Email = Annotated[str | None, typer.Option(help="Your e-mail address; asked for if left out.", show_default=False)]
DeviceName = Annotated[str, typer.Option(help="What you call this device.", show_default="the name of this machine")]

USER_ID_TAKEN = "user-id-taken"


class CustomerAlready(BankError):
    """The wallet holds a customer of this bank with this address."""

    code = "customer-already"
    title = "You are a customer already"
    fault = Fault.CONFLICT


class OtherCustomer(BankError):
    """Whoever logged in is not the customer to whom the device in the wallet belongs."""

    code = "other-customer"
    title = "This device belongs to nobody at the bank"
    fault = Fault.CONFLICT


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("register")(become_customer)
    for command in (login, logout, whoami, password, erase_profile):
        app.command()(command)


@acting
def become_customer(
    person: Person,
    email: Email = None,
    name: Annotated[str | None, typer.Option(help="Your full name; asked for if left out.", show_default=False)] = None,
    phone: Annotated[
        str | None,
        typer.Option(help="Your phone number, like +4915112345678; asked for if left out.", show_default=False),
    ] = None,
    device_name: DeviceName = "",
    algorithm: Annotated[str, typer.Option(help="The algorithm of this device's key.")] = DEFAULT_SIGNATURE,
    password_file: PasswordFile = None,
    as_json: Json = False,
) -> None:
    r"""Become a customer of the bank: a key is made on this device, and an account opened.

    Run it again after a failure: it goes on with the same key.

    For example:

        latticebank register --email you@example.org --name 'Your Name' \
            --phone +4915112345678
        latticebank login
        latticebank my accounts
    """
    email = answer(email or person.email, "Your e-mail address", "--email")
    name = answer(name, "Your full name", "--name")
    phone = answer(phone, "Your phone number (like +4915112345678)", "--phone")
    info = call(person.address, BankClient.security_info)
    person.makes_wallet = True
    begun = _unconfirmed(person, email, info)
    customer = begun or Customer(
        info.bank, person.address, person.ids(), Device.new(person.ids, algorithm), email=email, confirmed=False
    )
    password = secret(PASSWORD, password_file, again=True)
    # The key is safe before the bank hears of it.
    person.wallet.keep(customer)

    async def register_with(bank: BankClient) -> Registered:
        return await bank.register(
            user=customer.user,
            email=email,
            password=password,
            full_name=name,
            phone=phone,
            device_name=device_name or name_of_this_device(),
            enrolment=person.signatory(customer).enrolment(customer.user),
        )

    registered = _registered(person, customer, register_with, again=begun is not None)
    if as_json:
        write_json({**_identity(customer), "user": registered.user, "device": registered.device})
    else:
        _tell_registered(person, customer)


def _registered(
    person: Person, customer: Customer, register_with: Callable[[BankClient], Awaitable[Registered]], *, again: bool
) -> Registered:
    """Return the answer to a registration, and let the wallet know what came of it."""
    try:
        registered = call(customer.address, register_with)
    except RemoteProblem as problem:
        if problem.code == USER_ID_TAKEN and again:
            person.wallet.confirm(customer)
            raise CustomerAlready("an earlier attempt succeeded", hint="log in with `latticebank login`") from problem
        if not again and problem.fault not in (Fault.UNAVAILABLE, Fault.TIMEOUT, Fault.INTERNAL):
            person.wallet.forget(customer)
        raise
    person.wallet.confirm(customer)
    return registered


@acting
def login(person: Person, email: Email = None, password_file: PasswordFile = None, as_json: Json = False) -> None:
    """Open a session, which ends after five minutes without use. This device proves itself as well."""
    person.email = email or person.email
    customer = person.customer
    password = secret(PASSWORD, password_file)

    async def open_session(bank: BankClient) -> Session:
        if (named := (await bank.security_info()).bank) != customer.bank:
            raise OtherBank(f"{customer.address} is {named}, not {customer.bank}", field="--bank-url")
        session = await bank.login(customer.email, password, person.signs.login_proof())
        if session.user != customer.user:
            await bank.logout()
            raise OtherCustomer(
                f"the device in {person.wallet_path} is not one of this customer's",
                hint="ask for its enrolment with `latticebank device request`",
            )
        return session

    session = call(customer.address, open_session)
    if not customer.confirmed or customer not in person.wallet.customers:
        person.wallet.keep(replace(customer, confirmed=True))
    person.wallet.keep_session(customer, session)
    if as_json:
        write_json({"user": session.user, "session": session.id, "expires_at": session.expires_at,
                    "idle_seconds": session.idle_seconds, "roles": session.roles})  # fmt: skip
    else:
        out.print(f"You are logged in at {customer.bank} as {', '.join(session.roles)}.", markup=False)


@acting
def logout(person: Person, as_json: Json = False) -> None:
    """End the session."""
    customer = person.customer
    session = person.wallet.session(customer)
    if session is not None:
        call(customer.address, BankClient.logout, session)
    person.wallet.drop_session(customer)
    if as_json:
        write_json({"user": customer.user, "session": None})
    else:
        out.print("You are logged out.")


@acting
def whoami(
    person: Person,
    everyone: Annotated[
        bool, typer.Option("--all", help="List the customers of the wallet; the bank is not asked.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show who you are to the bank, and which device you sign with."""
    if everyone:
        _tell_everyone(person.wallet.customers, as_json=as_json)
        return
    profile = person.ask(BankClient.profile)
    identity = _identity(person.customer)
    if as_json:
        write_json({**identity, "full_name": profile.full_name, "phone": profile.phone,
                    "verified": profile.verified, "roles": profile.roles})  # fmt: skip
    else:
        _tell_profile(profile, identity)


@acting
def password(
    person: Person,
    password_file: PasswordFile = None,
    new_password_file: Annotated[
        Path | None,
        typer.Option(
            help="A file with the new one; else LATTICEBANK_CLIENT_NEW_PASSWORD, else you are asked.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Change your password. Every other session of yours ends."""
    old = secret(PASSWORD, password_file)
    new = secret(NEW_PASSWORD, new_password_file, again=True)
    person.ask(lambda bank: bank.change_password(old, new))
    if as_json:
        write_json({"user": person.customer.user, "changed": True})
    else:
        out.print("Your password is changed.")


@acting
def erase_profile(
    person: Person,
    password_file: PasswordFile = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether you mean it.")] = False,
    as_json: Json = False,
) -> None:
    """Have the bank erase what you told it of yourself, for ever: you are no longer its customer then.

    Your accounts must be empty. What you signed stays at the bank, sealed, for as long as the law asks.
    """
    customer = person.customer
    known = secret(PASSWORD, password_file)
    confirm(f"Erase your profile at {customer.bank} and revoke all your devices, for ever?", yes=yes)
    erased = person.ask(lambda bank: bank.erase_profile(known))
    person.wallet.forget(customer)
    if as_json:
        write_json(erased)
    else:
        told = f"{erased.sessions_ended} sessions ended, {erased.devices_revoked} devices revoked"
        out.print(f"Your profile at {customer.bank} is erased: {told}.", markup=False)


def name_of_this_device() -> str:
    """Return the name by which the network knows this machine."""
    return (platform.node() or "this device")[:MAX_DEVICE_NAME]


def _unconfirmed(person: Person, email: str, info: SecurityInfo) -> Customer | None:
    """Return the customer of an earlier attempt that was never answered.

    Raises:
        CustomerAlready: the wallet has this customer, confirmed.

    """
    try:
        customer = person.wallet.customer(email, info.bank)
    except NotInWallet:
        return None
    if customer.confirmed:
        raise CustomerAlready(
            f"{person.wallet_path} has {email} at {info.bank} already", hint="log in with `latticebank login`"
        )
    return replace(customer, address=person.address)


def _identity(customer: Customer) -> dict[str, object]:
    return {
        "bank": customer.bank,
        "address": customer.address,
        "email": customer.email,
        "user": customer.user,
        "device": customer.device.id,
        "algorithm": customer.device.key.algorithm,
        "fingerprint": customer.device.fingerprint,
    }


def _tell_registered(person: Person, customer: Customer) -> None:
    out.print(f"You are registered at {customer.bank}.", markup=False)
    write_table([("", "left"), ("", "left")], [(name, str(value)) for name, value in _identity(customer).items()])
    err.print(
        f"Keep {person.wallet_path} and its passphrase: nobody can make this key again.", markup=False, soft_wrap=True
    )
    err.print(f"Next: {this_command()} login", markup=False, soft_wrap=True)


def _tell_everyone(customers: tuple[Customer, ...], *, as_json: bool) -> None:
    if as_json:
        write_json([{**_identity(each), "confirmed": each.confirmed} for each in customers])
        return
    columns = [("e-mail", "left"), ("bank", "left"), ("address", "left"), ("user", "left"), ("device", "left")]
    write_table(
        columns, ([each.email, each.bank, each.address, str(each.user), str(each.device.id)] for each in customers)
    )


def _tell_profile(profile: ProfileView, identity: dict[str, object]) -> None:
    rows = {
        "name": profile.full_name,
        "phone": profile.phone,
        "identity proved": "yes" if profile.verified else "no",
        "roles": ", ".join(profile.roles),
    }
    write_table([("", "left"), ("", "left")], [(name, str(value)) for name, value in (identity | rows).items()])
