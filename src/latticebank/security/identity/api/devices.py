"""The routes by which customers look after their devices."""

from typing import Annotated

from fastapi import Path, Request

from latticebank.kernel.caller import Caller
from latticebank.kernel.http import Router, permit
from latticebank.security.identity.api.rooms import rooms
from latticebank.security.identity.wire import DeviceList, DeviceView, EnrolmentOrder, RevocationOrder
from latticebank.values.ids import parse_uuid

router = Router(prefix="/api/devices", tags=["devices"])


@router.get("/")
async def list_devices(request: Request, caller: Annotated[Caller, permit("identity:ReadOwnDevices")]) -> DeviceList:
    """List the caller's devices in the order of their enrolment."""
    return DeviceList(await rooms(request).devices.of_user(caller.user))


@router.post("/enrol", status_code=201)
async def enrol_device(
    request: Request, order: EnrolmentOrder, caller: Annotated[Caller, permit("identity:EnrolDevice")]
) -> DeviceView:
    """Let a device join an active one, which signs for it; it counts after a time of cooling off."""
    return await rooms(request).devices.enrol(caller.user, order)


@router.post("/{device}/revoke")
async def revoke_device(
    request: Request,
    device: Annotated[str, Path(description="The id of the device.")],
    caller: Annotated[Caller, permit("identity:RevokeDevice")],
    order: RevocationOrder | None = None,
) -> DeviceView:
    """Revoke a device of the caller, at once and for ever."""
    reason = (order or RevocationOrder()).reason
    return await rooms(request).devices.revoke(caller.user, parse_uuid(device, "device"), reason)
