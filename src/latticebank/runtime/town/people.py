"""Who lives in the demo town, what they bring to the bank, and what they pay at first."""

from dataclasses import dataclass
from typing import Literal

from latticebank.values.money import currency_digits, format_amount

DOMAIN = "town.example"
"""A domain that exists nowhere (RFC 2606, 3)."""
MAX_TOWNSPEOPLE = 200

RoleWord = Literal["customer", "merchant", "teller", "manager", "auditor", "admin"]


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Someone who moves into the town.

    `name` is what the town says for short, and the first part of the e-mail address; `cash` are the deposits at the
    teller's, in whole units of the bank's currency; `party` is the reference of an owner in books that were taken over.
    """

    name: str
    full_name: str
    role: RoleWord
    cash: tuple[int, ...] = ()
    party: str = ""


@dataclass(frozen=True, slots=True)
class FirstPayment:
    """A payment with which the town begins; `hundredths` of a unit of the bank's currency."""

    payer: str
    payee: str
    hundredths: int
    reference: str


FIRST_ADMIN, SECOND_ADMIN, TELLER, MANAGER = "iris", "oskar", "tilda", "marek"

STAFF = (
    Newcomer(FIRST_ADMIN, "Iris Holm", "admin"),
    Newcomer(SECOND_ADMIN, "Oskar Lind", "admin"),
    Newcomer(TELLER, "Tilda Kass", "teller"),
    Newcomer(MANAGER, "Marek Bergen", "manager"),
    Newcomer("aude", "Aude Quist", "auditor"),
)
CUSTOMERS = (
    Newcomer("ada", "Ada Thorn", "customer", (2_500,)),
    Newcomer("bruno", "Bruno Vidal", "customer", (1_200,)),
    Newcomer("clara", "Clara Nowak", "customer", (9_000, 9_000)),
    Newcomer("david", "David Okoye", "customer", (800,)),
    Newcomer("elif", "Elif Aydin", "customer", (1_750,)),
    Newcomer("farid", "Farid Haddad", "customer", (640,)),
    Newcomer("grocer", "Corner Grocery", "merchant", (3_000,)),
    Newcomer("books", "Blue Door Books", "merchant", (1_500,)),
)
EVERYONE = (*STAFF, *CUSTOMERS)

FIRST_PAYMENTS = (
    FirstPayment("ada", "grocer", 86_40, "Groceries"),
    FirstPayment("bruno", "grocer", 23_15, "Bread and cheese"),
    FirstPayment("bruno", "ada", 150_00, "Half of the rent of the van"),
    FirstPayment("ada", "books", 31_90, "Two novels"),
    FirstPayment("clara", "books", 12_500_00, "The library of an uncle"),
)
"""The last one is over the threshold: it waits until a manager has looked at it."""

_FIRST_NAMES = (
    "Anna", "Boris", "Carla", "Dario", "Edda", "Filip", "Greta", "Hugo", "Ines", "Jonas", "Katja", "Luca", "Mira", "Nils",
    "Olivia", "Paul", "Ronja", "Samir", "Tessa", "Yusuf",
)  # fmt: skip
_LAST_NAMES = (
    "Abel", "Brandt", "Costa", "Dahl", "Engel", "Faber", "Grau", "Hansen", "Ivanov", "Jansen", "Keller", "Lopez", "Meyer",
    "Novak", "Olsen", "Petit", "Rossi", "Silva", "Toth",
)  # fmt: skip


def townsperson(number: int) -> Newcomer:
    """Return the customer of this number, from 0, who moves in when a livelier town is asked for."""
    first = _FIRST_NAMES[number % len(_FIRST_NAMES)]
    last = _LAST_NAMES[number % len(_LAST_NAMES)]  # 19 and 20 have no divisor in common: 380 different names
    return Newcomer(f"{first}-{last}".lower(), f"{first} {last}", "customer", (1_000 + 250 * (number % 9),))


def amount_text(hundredths: int, currency: str) -> str:
    """Return hundredths of a unit of a currency as an amount with exactly its digits."""
    digits = currency_digits(currency)
    return format_amount(hundredths * 10**digits // 100, digits)
