"""What a batch names, and so what has to be known before it can be decided."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from latticebank.banking.ledger.model.accounts import OpenAccount
from latticebank.banking.ledger.model.decide import Chain
from latticebank.banking.ledger.model.transfers import Expire, Post, PostReserved, Reserve, Reverse, Void


@dataclass(slots=True)
class Needs:
    """Identifiers, accounts, reservations, transfers and names in other systems that a batch refers to."""

    ids: list[bytes] = field(default_factory=list)
    accounts: set[int] = field(default_factory=set)
    reservations: list[bytes] = field(default_factory=list)
    transfers: list[bytes] = field(default_factory=list)
    references: list[str] = field(default_factory=list)
    acts: bool = False


def needs_of(chains: Sequence[Chain]) -> Needs:
    """Return what these chains refer to."""
    needs = Needs()
    name, account = needs.ids.append, needs.accounts.add
    for chain in chains:
        for command in chain:
            name(command.id)
            if isinstance(command, Post | Reserve):
                account(command.debit)
                account(command.credit)
            elif isinstance(command, PostReserved | Void | Expire):
                needs.reservations.append(command.reservation)
            elif isinstance(command, Reverse):
                needs.transfers.append(command.transfer)
            else:
                needs.acts = True
                if isinstance(command, OpenAccount):
                    if command.reference is not None:
                        needs.references.append(command.reference)
                else:
                    account(command.account)
    return needs
