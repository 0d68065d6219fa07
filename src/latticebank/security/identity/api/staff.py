"""The routes by which staff give and take rights, under four eyes."""

from typing import Annotated

from fastapi import Path, Query, Request

from latticebank.kernel.caller import Caller
from latticebank.kernel.http import PageCursor, PageLimit, Router, decode_cursor, encode_cursor, permit
from latticebank.kernel.http.paging import DEFAULT_PAGE
from latticebank.security.identity.api.rooms import rooms
from latticebank.security.identity.wire import (
    BootstrapOrder,
    DecisionOrder,
    ProposalOrder,
    ProposalPage,
    ProposalView,
    RolesView,
)
from latticebank.values.ids import parse_uuid

router = Router(prefix="/api/staff", tags=["staff"])


@router.post("/proposals", status_code=201)
async def propose(
    request: Request, order: ProposalOrder, caller: Annotated[Caller, permit("identity:ProposeRights")]
) -> ProposalView:
    """Propose to give somebody a right, or to take it; a third person decides within a day."""
    return await rooms(request).staff.propose(caller.user, order)


@router.get("/proposals")
async def list_proposals(
    request: Request,
    _: Annotated[Caller, permit("identity:ReadProposals")],
    limit: PageLimit = DEFAULT_PAGE,
    cursor: PageCursor = None,
    only_open: Annotated[bool, Query(alias="open", description="Only those that wait for a decision.")] = False,
) -> ProposalPage:
    """List proposals, the newest first."""
    before = parse_uuid(decode_cursor(cursor, tuple[str])[0], "cursor") if cursor else None
    found = await rooms(request).staff.page(before=before, limit=limit + 1, only_open=only_open)
    more = encode_cursor((str(found[limit - 1].id),)) if len(found) > limit else None
    return ProposalPage(found[:limit], more)


@router.post("/proposals/{id}/decision")
async def decide_proposal(
    request: Request,
    identifier: Annotated[str, Path(alias="id", description="The id of the proposal.")],
    order: DecisionOrder,
    caller: Annotated[Caller, permit("identity:DecideRights")],
) -> ProposalView:
    """Approve or reject a proposal of somebody else, about somebody else; what it says is done at once."""
    return await rooms(request).staff.decide(caller.user, parse_uuid(identifier, "id"), order)


@router.post("/bootstrap")
async def name_first_admin(
    request: Request, order: BootstrapOrder, _: Annotated[Caller, permit("identity:NameFirstAdmins")]
) -> RolesView:
    """Make a user one of the first two admins: by the operator, and only until there are two."""
    return RolesView(order.user, await rooms(request).staff.bootstrap(order.user))
