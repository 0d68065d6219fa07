"""What no policy permits is refused, and a policy that makes no sense stops the bank before it opens."""

import pytest

from latticebank.kernel.caller import ANONYMOUS, OPERATOR, Caller, CallerKind
from latticebank.kernel.policy import Forbidden, InvalidPolicy, Policy, Resource
from latticebank.kernel.service import policy_of
from tests.kernel.serving import service_of

LEDGER = Resource("Service", "ledger")
READ = 'permit (principal, action == Action::"ledger:Read", resource);'


def permitted(
    policy: Policy, caller: Caller, action: str, resource: Resource = LEDGER, *, loopback: bool = False
) -> bool:
    try:
        policy.decide(caller, action, resource, {"loopback": loopback})
    except Forbidden:
        return False
    return True


def test_what_no_policy_permits_is_denied() -> None:
    policy = Policy.load({"ledger": READ})
    assert permitted(policy, ANONYMOUS, "ledger:Read")
    assert not permitted(policy, ANONYMOUS, "ledger:Post")
    assert not permitted(policy, ANONYMOUS, "payments:Read")


def test_the_operator_breaks_glass_and_another_operator_does_not() -> None:
    policy = Policy.load({})
    assert permitted(policy, OPERATOR, "ledger:Post")
    assert not permitted(policy, Caller(CallerKind.OPERATOR, "someone"), "ledger:Post")


def test_what_is_forbidden_stays_forbidden_to_the_operator() -> None:
    policy = Policy.load({"ledger": 'forbid (principal, action == Action::"ledger:Rewrite", resource);'})
    assert not permitted(policy, OPERATOR, "ledger:Rewrite")


def test_health_is_for_anyone_and_metrics_for_this_machine() -> None:
    policy, bank = Policy.load({}), Resource("Service", "bank")
    assert permitted(policy, ANONYMOUS, "bank:ReadHealth", bank)
    assert not permitted(policy, ANONYMOUS, "bank:ReadMetrics", bank)
    assert permitted(policy, ANONYMOUS, "bank:ReadMetrics", bank, loopback=True)
    assert permitted(policy, OPERATOR, "bank:ReadMetrics", bank)


def test_an_error_in_any_policy_denies() -> None:
    broken = 'forbid (principal, action == Action::"ledger:Read", resource) when { context.no_such_thing };'
    policy = Policy.load({"ledger": READ + broken})
    assert not permitted(policy, OPERATOR, "ledger:Read")


def test_one_decision_is_not_remembered_for_another() -> None:
    policy, bank = Policy.load({}), Resource("Service", "bank")
    for _ in range(3):
        assert permitted(policy, ANONYMOUS, "bank:ReadMetrics", bank, loopback=True)
        assert not permitted(policy, ANONYMOUS, "bank:ReadMetrics", bank, loopback=False)
        assert not permitted(policy, ANONYMOUS, "bank:ReadMetrics", LEDGER, loopback=True)


def test_an_id_is_data_and_never_policy_text() -> None:
    policy = Policy.load({"ledger": READ})
    odd = Caller(CallerKind.OPERATOR, 'break-glass" || true //\n\0é')
    assert not permitted(policy, odd, "ledger:Post")
    assert not permitted(policy, ANONYMOUS, 'ledger:Read"')


@pytest.mark.parametrize(
    "text", ["permit (prin", "permit (principal, action, resource)", "allow everything", '@id("x"']
)
def test_a_policy_that_does_not_parse_stops_the_bank(text: str) -> None:
    with pytest.raises(InvalidPolicy, match="ledger"):
        policy_of([service_of(policies=text)])


@pytest.mark.parametrize(
    "text",
    [
        "permit (principal, action, resource);",
        'permit (principal, action == Action::"payments:Read", resource);',
        'permit (principal, action in [Action::"ledger:Read", Action::"bank:ReadMetrics"], resource);',
        READ + '@id("loose") forbid (principal, action, resource);',
    ],
)
def test_a_service_speaks_of_no_actions_but_its_own(text: str) -> None:
    with pytest.raises(InvalidPolicy, match="actions of its own"):
        policy_of([service_of(policies=text)])


def test_a_policy_must_fit_the_routes() -> None:
    actions = ["ledger:Read", "bank:ReadHealth", "bank:ReadFrontPage", "bank:ReadInterface", "bank:ReadMetrics"]
    Policy.load({"ledger": READ}).validate(actions, ["ledger"])
    slips = (
        READ.replace("ledger:Read", "ledger:Raed"),
        READ.replace("principal,", "principal is Custommer,"),
        READ.replace(";", " when { context.loop };"),
        READ.replace(";", ' when { context.loopback == "yes" };'),
    )
    for slip in slips:
        with pytest.raises(InvalidPolicy, match="do not fit"):
            Policy.load({"ledger": slip}).validate(actions, ["ledger"])
