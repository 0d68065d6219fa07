"""Who asks for erasures, and what is then stored."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from latticebank.kernel.credential_file import operator_credential
from latticebank.kernel.transports import Response, ServiceUnavailable
from latticebank.security.identity.service.erasures import Erasures
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


def let_happen_after(step: str, happens: Callable[[], Awaitable[object]], patch: pytest.MonkeyPatch) -> None:
    """Have something happen each time that a step of an erasure is done, before the next one."""
    done = getattr(Erasures, step)

    async def and_then(self: Erasures, *given: Any) -> Any:
        outcome = await done(self, *given)
        await happens()
        return outcome

    patch.setattr(Erasures, step, and_then)


async def lights_go_out() -> None:
    """The bank dies, as far as an erasure can tell."""
    raise ServiceUnavailable("the lights went out")
