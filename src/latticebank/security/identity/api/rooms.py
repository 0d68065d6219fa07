"""What the routes of identity find in the state of its application."""

from dataclasses import dataclass

from fastapi import Request

from latticebank.kernel.caller import Caller
from latticebank.security.identity.service.devices import Devices
from latticebank.security.identity.service.erasures import Erasures
from latticebank.security.identity.service.evidence import Evidence
from latticebank.security.identity.service.foundation import Foundation
from latticebank.security.identity.service.profiles import Profiles
from latticebank.security.identity.service.registration import Registration
from latticebank.security.identity.service.sessions import Sessions
from latticebank.security.identity.service.staff import Staff
from latticebank.security.identity.service.tokens import Tokens


@dataclass(frozen=True)
class Rooms:
    """The use cases of identity, by concept."""

    foundation: Foundation
    registration: Registration
    erasures: Erasures
    sessions: Sessions
    profiles: Profiles
    devices: Devices
    staff: Staff
    tokens: Tokens
    evidence: Evidence


def rooms(request: Request) -> Rooms:
    """Return the use cases of the application that a request came to."""
    found: Rooms = request.app.state.rooms
    return found


def decide(request: Request, caller: Caller, action: str) -> None:
    """Ask the policy about an action that depends on what the request says.

    Raises:
        Forbidden: it is not permitted.

    """
    state = request.app.state
    state.context.policy.decide(caller, action, state.resource)
