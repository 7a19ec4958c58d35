"""What a rule is, what it is given and what it finds."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from planning.plan import Plan
from planning.policies import Policy
from planning.refusal import Refusal
from planning.schema import NotRead
from policy.rules.place import NotKnown, Place


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """One resource as a rule sees it: plain properties, with the engine's sentinel where a value is not known yet.

    Secrets are in clear in them, so no rule ever puts a value into what it says.
    """

    urn: str
    type: str
    name: str
    props: Mapping[str, Any]
    protect: bool = False
    provider: Mapping[str, Any] = field(default_factory=dict)
    """The provider's own properties."""

    @property
    def place(self) -> Place:
        """Its properties, to walk in."""
        return Place(self.props)


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What a stack says of itself that a rule needs beside the resources."""

    region: str | None
    """None where it could not be read."""
    production: bool
    """Whether the stack says that it must not fail: it is protected against deletion, or one of its models has an
    objective and callers who cannot wait."""
    tolerant: frozenset[str]
    """The models whose callers can wait or ask again."""
    max_usd_per_hour: int
    """0 sets no maximum."""
    make_plan: Callable[[], Plan]

    def plan(self) -> Plan:
        """Plan the stack, for how much it is used. Raises NotKnown where the settings are refused."""
        try:
            return self.make_plan()
        except (Refusal, NotRead) as error:
            raise NotKnown("the settings, which the program refuses") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Violation:
    """What is wrong, where, and nothing that could be a secret. `urn` is for rules over the whole stack."""

    message: str
    urn: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class NotJudged:
    """What the rule would have had to know, by its place."""

    what: str


Finding = Violation | NotJudged
OfResource = Callable[[Seen, Facts], Iterable[Finding]]
OfStack = Callable[[Sequence[Seen], Facts], Iterable[Finding]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One rule, over each resource by itself or over the whole stack at its end."""

    name: Policy
    what: str
    """One sentence: what has to hold."""
    why: str
    fix: str
    of_resource: OfResource | None = None
    of_stack: OfStack | None = None

    @property
    def description(self) -> str:
        """All three, as the engine shows them."""
        return f"{self.what} Why: {self.why} Fix: {self.fix}"


def judged(check: Iterator[Finding]) -> Iterator[Finding]:
    """Go through a check as far as everything is known, and then say what was not."""
    try:
        yield from check
    except NotKnown as unknown:
        yield NotJudged(what=unknown.what)


def of_each(resources: Sequence[Seen], check: Callable[[Seen], Iterator[str]]) -> Iterator[Finding]:
    """Check each resource of a stack, and say of each finding whose it is."""
    for seen in resources:
        try:
            for message in check(seen):
                yield Violation(message=f"{seen.name}: {message}", urn=seen.urn)
        except NotKnown as unknown:
            yield NotJudged(what=f"{seen.name}: {unknown.what}")
