"""Who asks for erasures, and what is then stored."""

from typing import Any

from latticebank.kernel.credential_file import operator_credential
from latticebank.kernel.transports import Response
from latticebank.security.keys.client import KeysClient
from tests.security.identity.people import Branch, Person


async def erase(branch: Branch, whom: Person, who: Person | str | None = None, **order: Any) -> Response:
    """Ask for an erasure: by the customer with the password, unless it is said otherwise."""
    body = order or ({"password": whom.password} if who is None else None)
    return await branch.ask("POST", f"/api/users/{whom.user}/erasure", body, who=who or whom)


def keys_of(branch: Branch) -> KeysClient:
    """Keys, as the operator calls it."""
    context = branch.bank.context
    return KeysClient(context.transport("keys"), operator_credential(context.settings.data))


async def key_states(branch: Branch, person: Person) -> dict[str, str]:
    """The states of a person's keys."""
    return {key.kind: key.state for key in (await keys_of(branch).info(person.user)).keys}


def stored(branch: Branch, person: Person) -> tuple[Any, ...]:
    """What is stored of a user."""
    [row] = branch.rows("SELECT state, email_index, request_mac, password FROM users WHERE id = %s", person.user)
    return row
