"""What people do at the bank from outside: come in, add and revoke devices, and give each other rights."""

from datetime import timedelta

import pytest

from latticebank.client import Device, RemoteProblem
from tests.client.customers import NAME, PASSWORD, Town, decide


async def test_a_stranger_becomes_a_customer_with_an_account(town: Town) -> None:
    info = await town.stranger("nobody").bank.security_info()
    assert info.bank == NAME
    ada = town.stranger("ada")
    enrolment = await ada.register()
    await ada.register(enrolment)  # as after an answer that was lost
    await ada.log_in()
    assert ada.bank.session is not None
    assert (ada.bank.session.user, ada.bank.session.roles) == (ada.user, ("customer",))
    profile = await ada.bank.profile()
    assert (profile.user, profile.email, profile.full_name) == (ada.user, "ada@example.org", "Ada Lovelace")
    (account,) = await ada.bank.accounts()
    assert (account.kind, account.balance, account.currency) == ("checking", "0.00", "EUR")
    assert (await ada.bank.entries(account.account)).items == []


async def test_a_wrong_password_opens_nothing_and_a_known_device_passes_the_lock(town: Town) -> None:
    ada = town.stranger("ada")
    await ada.register()
    for _ in range(5):
        with pytest.raises(RemoteProblem):
            await ada.bank.login(ada.email, "something else entirely")
    with pytest.raises(RemoteProblem) as locked:
        await ada.bank.login(ada.email, PASSWORD)
    assert locked.value.code == "too-many-attempts"
    assert locked.value.retry_after
    assert ada.bank.session is None
    await ada.log_in()
    assert ada.bank.session is not None


async def test_after_logging_out_the_session_is_over(town: Town) -> None:
    ada = await town.customer("ada")
    session = ada.bank.session
    await ada.bank.logout()
    assert ada.bank.session is None
    ada.bank.session = session
    town.clock.advance(seconds=10)
    with pytest.raises(RemoteProblem) as ended:
        await ada.bank.change_password(PASSWORD, "another kettle by the river")
    assert ended.value.code == "session-ended"
    await ada.bank.logout()  # what has ended already is no failure


async def test_a_new_password_takes_the_place_of_the_old(town: Town) -> None:
    ada = await town.customer("ada")
    await ada.bank.change_password(PASSWORD, "another kettle by the river")
    with pytest.raises(RemoteProblem):
        await ada.log_in()
    await ada.bank.login(ada.email, "another kettle by the river")


async def test_a_second_device_joins_cools_off_and_goes(town: Town) -> None:
    ada = await town.customer("ada")
    phone = Device.new(town.ids)
    request = town.signatory(phone).enrolment(ada.user, ada.signs.device.id)
    sponsored = ada.signs.sponsor(request, ada.user)
    joined = await ada.bank.enrol_device("phone", request, sponsored)
    assert await ada.bank.enrol_device("phone", request, sponsored) == joined
    assert (joined.device, joined.state) == (phone.id, "cooling")
    town.clock.advance(timedelta(hours=24))
    await ada.log_in()
    laptop, other = await ada.bank.devices()
    assert (laptop.state, other.state, other.name) == ("active", "active", "phone")
    revoked = await ada.bank.revoke_device(phone.id, "lost")
    assert revoked.state == "revoked"
    assert revoked.revoked_at is not None


async def test_rights_take_a_proposer_an_approver_and_a_third_person(town: Town) -> None:
    anna, axel = await town.admins()
    mary = await town.customer("mary")
    proposed = await anna.bank.propose(anna.signs.rights("grant", "manager", mary.user))
    with pytest.raises(RemoteProblem) as own:
        await decide(anna, proposed.id, "approve")
    assert own.value.code == "four-eyes"
    assert [each.id for each in (await axel.bank.proposals(only_open=True)).items] == [proposed.id]
    assert await decide(axel, proposed.id, "approve") == "approved"
    assert (await axel.bank.proposals(only_open=True)).items == []
    await mary.log_in()
    assert mary.bank.session is not None
    assert "manager" in mary.bank.session.roles
