"""The routes by which people come in, stay and go."""

from typing import Annotated

from fastapi import Path, Request, Response

from latticebank.kernel.caller import Caller, CallerKind
from latticebank.kernel.http import Router, permit
from latticebank.security.identity.api.rooms import decide, rooms
from latticebank.security.identity.service.security import security_info
from latticebank.security.identity.wire import (
    ErasureOrder,
    ErasureView,
    LoggedIn,
    LoginOrder,
    PasswordChange,
    ProfileView,
    Registered,
    RegistrationOrder,
    SecurityInfo,
)
from latticebank.values.errors import InvalidValue
from latticebank.values.ids import parse_uuid

READ_PROFILES_OF_OTHERS = "identity:ReadProfilesOfOthers"
"""The action of whoever reads the profile of another; no route stands for it, since it depends on whose it is."""
ERASE_PROFILES_OF_OTHERS = "identity:EraseProfilesOfOthers"
"""The action of whoever has the profile of another erased, as above."""

router = Router(prefix="/api/users", tags=["users"])
security = Router(prefix="/api/security", tags=["security"])


@router.post("/register", status_code=201)
async def register(
    request: Request, order: RegistrationOrder, _: Annotated[Caller, permit("identity:Register")]
) -> Registered:
    """Become a customer, with a first device and a first account. An address that is taken gets the same answer."""
    return await rooms(request).registration.register(order)


@router.post("/login")
async def log_in(request: Request, order: LoginOrder, _: Annotated[Caller, permit("identity:LogIn")]) -> LoggedIn:
    """Open a session. After five failures an address is locked for half an hour, but for its own known devices.

    A proof that is not of an active device of the same customer counts as none.
    """
    return await rooms(request).sessions.log_in(order)


@router.post("/logout", status_code=204, response_model=None)
async def log_out(request: Request, caller: Annotated[Caller, permit("identity:LogOut")]) -> Response:
    """End the session."""
    await rooms(request).sessions.log_out(caller)
    return Response(status_code=204)


@router.post("/password", status_code=204, response_model=None)
async def change_password(
    request: Request, change: PasswordChange, caller: Annotated[Caller, permit("identity:ChangePassword")]
) -> Response:
    """Take another password; all other sessions end."""
    await rooms(request).sessions.change_password(caller, change.old, change.new)
    return Response(status_code=204)


@router.get("/{user_id}/profile")
async def read_profile(
    request: Request,
    user_id: Annotated[str, Path(description="The id of the user.")],
    caller: Annotated[Caller, permit("identity:ReadProfile")],
) -> ProfileView:
    """Show what a customer told the bank: to the customer, and to staff who may read it, of which an event tells."""
    user = parse_uuid(user_id, "user_id")
    if caller.user != user:
        decide(request, caller, READ_PROFILES_OF_OTHERS)
    return await rooms(request).profiles.read(user, caller)


@router.post("/{user_id}/erasure")
async def erase_profile(
    request: Request,
    user_id: Annotated[str, Path(description="The id of the user.")],
    caller: Annotated[Caller, permit("identity:EraseProfile")],
    order: ErasureOrder | None = None,
) -> ErasureView:
    """Erase a profile for ever: by the customer, who says the password again, or by the operator.

    Refused while a legal hold stands, while an account is not settled, and for staff. All sessions end and all devices
    are revoked; what was signed stays until the end of its retention. Repeated, it gets the same answer.
    """
    user, found = parse_uuid(user_id, "user_id"), rooms(request)
    if caller.kind is not CallerKind.USER or caller.user != user:
        decide(request, caller, ERASE_PROFILES_OF_OTHERS)
        return await found.erasures.erase(user, by=None)
    if order is None or order.password is None:
        raise InvalidValue("say your password again", field="/password")
    await found.sessions.require_password(caller, order.password)
    return await found.erasures.erase(user, by=user)


@security.get("/info")
async def read_security_info(
    request: Request, _: Annotated[Caller, permit("identity:ReadSecurityInfo")]
) -> SecurityInfo:
    """Show the algorithms of the bank and the ids of the keys that its internal tokens are signed with."""
    return security_info(rooms(request).foundation)
