"""Who acts in a command: the person's wallet, the customer in it, the bank, and the session there."""

import inspect
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Concatenate, ParamSpec, TypeVar
from urllib.parse import urlsplit

import typer
import uvloop

from latticebank.cli.console import alone
from latticebank.cli.people.asking import PASSPHRASE, secret
from latticebank.client import BankClient, Customer, NoSession, NoWallet, RemoteProblem, Session, Signatory, Wallet
from latticebank.kernel.caller import Credential
from latticebank.kernel.production import is_loopback
from latticebank.kernel.settings import load_settings
from latticebank.kernel.telemetry import configure_logs
from latticebank.kernel.transports import HttpTransport
from latticebank.runtime.presence import running_bank
from latticebank.values.clock import SystemClock
from latticebank.values.errors import Fault, InvalidValue
from latticebank.values.ids import Uuid7Source

P = ParamSpec("P")
T = TypeVar("T")

DEFAULT_ADDRESS = "http://localhost:8000"
WHO_ACTS = "Who acts, and where"
_handed_over: dict[Path, Wallet] = {}
_ADDRESS = re.compile(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?/?")

WalletOption = Annotated[
    Path | None,
    typer.Option(
        "--wallet",
        envvar="LATTICEBANK_CLIENT_WALLET",
        help="The wallet file with your keys.",
        rich_help_panel=WHO_ACTS,
        show_default="wallet in your configuration folder",
    ),
]
BankUrl = Annotated[
    str | None,
    typer.Option(
        envvar="LATTICEBANK_CLIENT_ADDRESS",
        help="The address of the bank.",
        rich_help_panel=WHO_ACTS,
        show_default="that of the wallet, else of the bank that runs here, else http://localhost:8000",
    ),
]
ActsAs = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="E-MAIL",
        envvar="LATTICEBANK_CLIENT_AS",
        help="Which customer of the wallet acts.",
        rich_help_panel=WHO_ACTS,
        show_default="the only one",
    ),
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        help="A file with the passphrase of the wallet; else LATTICEBANK_CLIENT_PASSPHRASE, else you are asked.",
        rich_help_panel=WHO_ACTS,
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]


class Person:
    """The person at this terminal. The wallet is opened, and its passphrase asked for, when it is first needed."""

    def __init__(
        self, wallet: Path | None, bank_url: str | None, acts_as: str | None, passphrase_file: Path | None
    ) -> None:
        self.wallet_path = wallet or Path(typer.get_app_dir("latticebank")) / "wallet"
        self.email = acts_as
        self.makes_wallet = False
        self.clock = SystemClock()
        self.ids = Uuid7Source(self.clock)
        self._bank_url = bank_url
        self._passphrase_file = passphrase_file

    @cached_property
    def wallet(self) -> Wallet:
        """The wallet, opened; where there is none yet, an empty one for whoever `makes_wallet`.

        Raises:
            NoWallet: there is none.

        """
        if (handed_over := _handed_over.pop(self.wallet_path, None)) is not None:
            return handed_over
        new = not self.wallet_path.exists()
        if new and not self.makes_wallet:
            raise NoWallet(self.wallet_path)
        return Wallet.open_or_new(self.wallet_path, secret(PASSPHRASE, self._passphrase_file, again=new))

    @cached_property
    def customer(self) -> Customer:
        """The customer who acts, with the address at which the bank is called now.

        Raises:
            NoWallet, NotInWallet: there is none.

        """
        customer = self.wallet.customer(self.email)
        return customer if self._bank_url is None else replace(customer, address=checked_address(self._bank_url))

    @cached_property
    def address(self) -> str:
        """The address of the bank for someone who is not its customer yet."""
        if self._bank_url is not None:
            return checked_address(self._bank_url)
        presence = running_bank(load_settings().data)
        return DEFAULT_ADDRESS if presence is None else presence.address

    @property
    def signs(self) -> Signatory:
        """What signs with the device of the customer who acts."""
        return self.signatory(self.customer)

    def signatory(self, customer: Customer) -> Signatory:
        """Return what signs with the device of a customer."""
        return Signatory(customer.bank, customer.device, self.clock, self.ids)

    def ask(self, do: Callable[[BankClient], Awaitable[T]]) -> T:
        """Return what `do` returns, given the bank as the customer's open session sees it.

        Raises:
            NoSession: none is open.

        """
        customer = self.customer
        session = self.wallet.session(customer)
        if session is None or session.is_over(self.clock.now()):
            raise NoSession(f"no session is open at {customer.address}", hint="log in with `latticebank login`")
        try:
            return call(customer.address, do, session)
        except RemoteProblem as problem:
            if problem.fault is not Fault.UNAUTHENTICATED:
                raise
            self.wallet.drop_session(customer)
            raise NoSession("the session has ended", hint="log in with `latticebank login`") from problem


def hand_over(person: Person) -> None:
    """Leave the opened wallet to the command that acts next in this process: to open one is meant to be hard work."""
    _handed_over[person.wallet_path] = person.wallet


def call(
    address: str,
    do: Callable[[BankClient], Awaitable[T]],
    session: Session | None = None,
    credential: Credential | None = None,
) -> T:
    """Return what `do` returns, given the bank at an address."""
    configure_logs(level="warning")

    async def within() -> T:
        transport = HttpTransport(address)
        try:
            return await do(BankClient(transport, session, credential=credential))
        finally:
            await transport.aclose()

    with alone():
        return uvloop.run(within())


def checked_address(address: str) -> str:
    """Return the address of a bank, without a slash at its end.

    Raises:
        InvalidValue: it is none, or would carry passwords over a network in the clear.

    """
    if not _ADDRESS.fullmatch(address):
        raise InvalidValue("the address of a bank is written like https://bank.example", field="--bank-url")
    parts = urlsplit(address)
    if parts.scheme == "http" and not is_loopback(str(parts.hostname)):
        raise InvalidValue("a bank on another machine is called over https", field="--bank-url")
    return address.rstrip("/")


def acting(command: Callable[Concatenate[Person, P], None]) -> Callable[..., None]:
    """Give a command the options that say who acts, and in place of them a `Person` as its first parameter."""

    def run(
        *,
        wallet: WalletOption = None,
        bank_url: BankUrl = None,
        acts_as: ActsAs = None,
        passphrase_file: PassphraseFile = None,
        **given: object,
    ) -> None:
        person = Person(wallet, bank_url, acts_as, passphrase_file)
        command(person, **given)  # type: ignore[arg-type,call-arg]  # Typer calls by the signature below

    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    common = [each for each in inspect.signature(run, eval_str=True).parameters.values() if each.name != "given"]
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*own, *common)]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    return run
