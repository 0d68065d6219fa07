"""Who may do what: one Cedar decision for every request, denied by default and whenever the decision itself errs."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import ClassVar

import cedarpy

from latticebank.kernel.caller import Caller, CallerKind
from latticebank.values.errors import BankError, Fault

KERNEL = "bank"
"""The name before the colon in the actions of the kernel itself, and of the service that serves them."""

ACTION_FORM = re.compile(r"[a-z][a-z-]*:[A-Z][A-Za-z]+")
_REMEMBERED = 4096


class Forbidden(BankError):
    """The policy does not permit this caller to do this."""

    code = "forbidden"
    title = "You may not do this"
    fault = Fault.FORBIDDEN


class InvalidPolicy(BankError):
    """A policy text does not parse, speaks of what does not exist, or of what is not its own."""

    code = "invalid-policy"
    title = "The policies of the bank are not valid"
    fault = Fault.INTERNAL


@dataclass(frozen=True, slots=True)
class Resource:
    """What an action is done to: an entity of Cedar."""

    kind: str
    id: str


class Policy:
    """A set of Cedar policies, parsed once.

    Of users the policies know the roles, as groups such as `Role::"teller"`, and never the person: what concerns one
    person's own things is asked where the things are. The context of a decision has one field for all actions:
    `loopback`, whether the caller is a process of this machine.
    """

    NO_CONTEXT: ClassVar[Mapping[str, bool]] = {"loopback": False}

    def __init__(self, texts: Mapping[str, str]) -> None:
        """Parse the policies, given as texts by the name of the room they come from.

        Raises:
            InvalidPolicy: one does not parse.

        """
        for name, text in texts.items():
            try:
                cedarpy.PolicySet.from_str(text)
            except ValueError as error:
                raise InvalidPolicy(f"the policies of {name} do not parse: {error}") from error
        self._text = "\n".join(texts.values())
        self._policies = cedarpy.PolicySet.from_str(self._text)
        self._decisions: dict[tuple[object, ...], tuple[bool, str]] = {}

    @classmethod
    def load(cls, services: Mapping[str, str]) -> "Policy":
        """Return the kernel's and the operator's policies with those of these services, by the name of the service.

        Raises:
            InvalidPolicy: one does not parse, or a service speaks of actions that are not its own.

        """
        folder = files("latticebank.kernel.policies")
        texts = {name: (folder / f"{name}.cedar").read_text("utf-8") for name in ("kernel", "operator")}
        policy = cls({**texts, **{f"service {name}": text for name, text in services.items()}})
        for name, text in services.items():
            _speaks_of_its_own(name, text)
        return policy

    def validate(self, actions: Iterable[str], services: Iterable[str]) -> None:
        """Check every policy against the Cedar schema of these actions and services.

        Raises:
            InvalidPolicy: a policy names an action, a kind of entity or a context field that does not exist.

        """
        names = sorted({action for action in actions if ACTION_FORM.fullmatch(action)})
        kinds = ", ".join(kind.value for kind in CallerKind)
        quoted = ", ".join(f'"{name}"' for name in names)
        schema = (
            "entity Role;\n"
            f"entity {kinds} in [Role];\n"
            f"action {quoted} appliesTo {{ principal: [{kinds}], resource: [Service], context: {{ loopback: Bool }} }};"
        )
        result = cedarpy.validate_policies(self._text, schema)
        if not result.validation_passed:
            faults = "; ".join(error.error for error in result.errors)
            raise InvalidPolicy(f"the policies do not fit the routes of {', '.join(sorted(services))}: {faults}")

    def decide(self, caller: Caller, action: str, resource: Resource, context: Mapping[str, bool] = NO_CONTEXT) -> None:
        """Return if the policies permit this, and refuse otherwise.

        Decisions depend on nothing but their arguments and are remembered.

        Raises:
            Forbidden: no policy permits it, one forbids it, or one cannot be evaluated.

        """
        key = (caller.kind, _principal_id(caller), action, resource, *context.items())
        decision = self._decisions.get(key)
        if decision is None:
            decision = self._evaluate(caller, action, resource, context)
            if len(self._decisions) >= _REMEMBERED:
                self._decisions.clear()
            self._decisions[key] = decision
        permitted, reason = decision
        if not permitted:
            raise Forbidden(f"{reason}: {action}", hint="ask for a role that has this right")

    def _evaluate(
        self, caller: Caller, action: str, resource: Resource, context: Mapping[str, bool]
    ) -> tuple[bool, str]:
        principal = {"type": caller.kind.value, "id": _principal_id(caller)}
        parents = [{"type": "Role", "id": role} for role in caller.roles]
        entities = cedarpy.Entities.from_json_str(json.dumps([{"uid": principal, "attrs": {}, "parents": parents}]))
        request = {
            "principal": principal,
            "action": {"type": "Action", "id": action},
            "resource": {"type": resource.kind, "id": resource.id},
            "context": dict(context),
        }
        answer = cedarpy.is_authorized(request, self._policies, entities)
        # Cedar leaves out a policy that errs. It may be the one that forbids, so an error denies.
        if answer.diagnostics.errors:
            return False, "the policies could not be evaluated for this action"
        if not answer.allowed:
            return False, "no policy permits you this action"
        return True, ""


def _principal_id(caller: Caller) -> str:
    """Return the name of a caller in Cedar: all users with the same roles are one."""
    return " ".join(caller.roles) if caller.kind is CallerKind.USER else caller.id


def _speaks_of_its_own(service: str, text: str) -> None:
    """Refuse a policy of a service that could permit or forbid what belongs to another."""
    for policy in json.loads(cedarpy.policies_to_json_str(text))["staticPolicies"].values():
        scope = policy["action"]
        entities = [*scope.get("entities", []), *([scope["entity"]] if "entity" in scope else [])]
        named = [(entity.get("__entity") or entity)["id"] for entity in entities]
        if not named or not all(name.startswith(f"{service}:") for name in named):
            which = policy.get("annotations", {}).get("id", "without an @id")
            raise InvalidPolicy(
                f"policy {which} of {service} must name actions of its own", hint=f'such as Action::"{service}:Read"'
            )
