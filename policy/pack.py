"""The rules as policies of pulumi-policy: what a rule finds becomes what the engine shows.

A violation is reported. What could not be judged is raised as pulumi-policy's own UnknownValueError, after all
violations were reported: it becomes an advisory "can't run policy", whatever the rule's level, so that what a first
preview cannot know stops nobody and is not taken for passed.

The engine asks about every resource by itself, with what it is asked to be, and in the end about the whole stack, with
what has become of each: there, in a preview, all is unknown that a program leaves to its provider. So a rule over
the stack is given what each resource was asked to be, as this process has seen it before.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyResource,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, UnknownValueError

import settings
from planning.cost.recorded import UNKNOWN
from planning.plan import Plan, plan
from planning.policies import EVERY, Level
from planning.policies import Policy as Name
from planning.schema import Model, Stack, read
from policy.rules import RULES
from policy.rules.rule import Facts, Finding, Rule, Seen, Violation

LEVELS: Final = {
    Level.MANDATORY: EnforcementLevel.MANDATORY,
    Level.ADVISORY: EnforcementLevel.ADVISORY,
    Level.DISABLED: EnforcementLevel.DISABLED,
}
NO_MAXIMUM: Final = "llmserve:maxUsdPerHour is 0: there is no maximum to judge by"


class CouldNotJudge(UnknownValueError):  # noqa: N818 - it is a state, not an error
    """What a rule would have had to know."""

    def __init__(self, what: Iterable[str]) -> None:
        """Take every place."""
        super().__init__(UNKNOWN_STRING_VALUE, [])
        self.message = f"not known: {'; '.join(dict.fromkeys(what))}"


def policies() -> list[Policy]:
    """Make the policies of the stack that the engine, or the offline preview, has told this process about."""
    declared = settings.load()
    facts, levels = facts_of(declared), levels_of(declared.stack)
    memory = Memory()
    return [_policy(rule, levels[rule.name], facts, memory) for rule in RULES]


class Memory:
    """What each resource was asked to be, as the engine has told this process."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._seen: dict[str, tuple[Seen, set[Name]]] = {}

    def of(self, args: ResourceValidationArgs, rule: Name) -> Seen:
        """Take the resource that a rule is asked about. A rule that is asked again about one sees it anew."""
        known = self._seen.get(args.urn)
        if known is None or rule in known[1]:
            # Taking properties apart is most of the work, and all rules are asked about the same one after the other.
            known = self._seen[args.urn] = (_seen(args), set())
        known[1].add(rule)
        return known[0]

    def recall(self, resource: PolicyResource) -> Seen:
        """Take a resource of the whole stack; what is only read was not seen before."""
        known = self._seen.get(resource.urn)
        return _seen(resource) if known is None else known[0]


def levels_of(stack: Stack) -> dict[Name, Level]:
    """Decide the level of every rule; mandatory where the stack says nothing, or nothing that can be read."""
    said = read(stack, "policies")
    chosen: Mapping[str, Level] = said if isinstance(said, Mapping) else {}
    return {name: chosen.get(name, chosen.get(EVERY, Level.MANDATORY)) for name in Name}


def facts_of(declared: settings.Settings) -> Facts:
    """Gather what a stack says of itself. What could not be read the program refuses; no rule relies on it."""
    stack = declared.stack
    said = read(stack, "models")
    models = [model for model in said if isinstance(model, Model)] if isinstance(said, tuple) else []
    tolerant = {str(read(model, "name")) for model in models if read(model, "batch_tolerant") is True}
    promised = any(read(m, "slo") is not None and str(read(m, "name")) not in tolerant for m in models)
    region, most = read(stack, "region"), read(stack, "max_usd_per_hour")

    def make_plan() -> Plan:
        # Not with what was wrong with the settings: of a secret the engine tells a pack the value, not that it is one.
        return plan(declared.given(), file=declared.file)

    return Facts(
        region=region if isinstance(region, str) else None,
        production=read(stack, "deletion_protection") is not False or promised,
        tolerant=frozenset(tolerant),
        max_usd_per_hour=most if isinstance(most, int) else 0,
        make_plan=make_plan,
    )


def _policy(rule: Rule, level: Level, facts: Facts, memory: Memory) -> Policy:
    name, description, enforcement_level = rule.name.value, rule.description, LEVELS[level]
    if (of_resource := rule.of_resource) is not None:

        def one(args: ResourceValidationArgs, report: ReportViolation) -> None:
            _report(of_resource(memory.of(args, rule.name), facts), report)

        return ResourceValidationPolicy(name, description, one, enforcement_level)
    of_stack = rule.of_stack
    if of_stack is None:
        raise AssertionError(f"{rule.name} judges nothing")

    def all_of_it(args: StackValidationArgs, report: ReportViolation) -> None:
        if rule.name is Name.MAX_USD_PER_HOUR and not facts.max_usd_per_hour:
            args.not_applicable(NO_MAXIMUM)
        _report(of_stack([memory.recall(resource) for resource in args.resources], facts), report)

    return StackValidationPolicy(name, description, all_of_it, enforcement_level)


def _seen(resource: ResourceValidationArgs | PolicyResource) -> Seen:
    return Seen(
        urn=resource.urn,
        type=resource.resource_type,
        name=resource.name,
        props=_plain(resource.props),
        protect=resource.opts.protect,
        provider={} if resource.provider is None else _plain(resource.provider.props),
    )


def _report(found: Iterable[Finding], report: ReportViolation) -> None:
    unknown = []
    for finding in found:
        if isinstance(finding, Violation):
            report(finding.message, finding.urn or None)
        else:
            unknown.append(finding.what)
    if unknown:
        raise CouldNotJudge(unknown)


def _plain(value: Any) -> Any:
    """Take what pulumi-policy shows apart into plain values, with the engine's sentinel for what it refuses to show."""
    if isinstance(value, Mapping):
        return {key: _item(value, key) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_item(value, index) for index in range(len(value))]
    return value


def _item(holder: Any, key: Any) -> Any:
    try:
        return _plain(holder[key])
    except UnknownValueError:
        return UNKNOWN
