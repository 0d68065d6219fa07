"""What customers told of themselves, for them and for the staff who may read it."""

from uuid import UUID

from latticebank.kernel.caller import Caller
from latticebank.security.identity.events import PROFILE_READ, Happening
from latticebank.security.identity.model.people import Profile, UserUnknown
from latticebank.security.identity.model.rights import is_verified, roles_of
from latticebank.security.identity.service.foundation import Foundation
from latticebank.security.identity.service.profile_keys import ProfileErased
from latticebank.security.identity.store import users
from latticebank.security.identity.wire import ProfileView


class Profiles:
    """Opens sealed profiles."""

    def __init__(self, foundation: Foundation) -> None:
        self._base = foundation

    async def read(self, user: UUID, reader: Caller) -> ProfileView:
        """Return the profile of a user; an event tells of it where another than the user reads it.

        Raises:
            UserUnknown: there is no such user.
            ProfileErased: the profile was erased.

        """
        base = self._base
        async with base.database.read() as connection:
            known = await users.by_id(connection, base.book, user)
        if known is not None and known.is_erased:
            raise ProfileErased("the profile of this user was erased", field="user_id")
        if known is None or not known.is_active:
            raise UserUnknown("there is no such user", field="user_id")
        opened = await base.profile_keys.open(user, known.profile, "users", "profile", user)
        if reader.user != user:
            async with base.database.begin() as unit:
                happening = Happening(user, session=reader.session, by=reader.user)
                unit.publish(base.event(PROFILE_READ, reader.session or user, happening))
        told = Profile.from_bytes(opened)
        return ProfileView(
            user, told.email, told.full_name, told.phone, is_verified(known.rights), roles_of(known.rights)
        )
