"""What one run of a program asked the engine for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from preview.values import decode

STACK_TYPE = "pulumi:pulumi:Stack"
PROVIDER_PREFIX = "pulumi:providers:"


@dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """One resource of a run.

    Property names are those of the provider (camelCase). Values may hold `UNKNOWN`, `Secret`,
    `ResourceReference` and `Asset` of `preview.values`.
    """

    urn: str
    type: str
    name: str
    custom: bool
    parent: str = ""
    """URN, empty for the stack itself."""
    id: Any = None
    """What the program sees as id: UNKNOWN in a preview, a placeholder otherwise; None for components."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    """What the engine gave back to the program, or for components what `register_outputs` was given."""
    dependencies: tuple[str, ...] = ()
    property_dependencies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    awaits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By the path of each input that is not known yet, the URNs of the resources that it comes from."""
    provider: str = ""
    """`<provider urn>::<id or unknown sentinel>`, empty for components."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options that were given, by their names in the engine: protect, ignoreChanges, aliases, customTimeouts,
    ...
    """
    source: str = ""
    """`path/in/project.py:line` of the call that made it, empty where no line of the project did."""
    operation: str = "create"
    """`create`, `read` or `import`."""
    registered: bool = False
    """Whether `register_outputs` was called."""

    @property
    def is_provider(self) -> bool:
        """Whether this is a provider rather than something that a provider makes."""
        return self.type.startswith(PROVIDER_PREFIX)

    @property
    def package(self) -> str:
        """Package of the type token: `gcp`, `kubernetes`, `pulumi`."""
        return self.type.partition(":")[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnostic:
    """A message of the program or of the engine. `severity`: debug, info, info#err, warning or error."""

    severity: str
    message: str
    urn: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Invoke:
    """One provider function that the program called, and whether a fixture answered it."""

    token: str
    arguments: Mapping[str, Any]
    answered: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """One stack as its program describes it, resources in the order of their registration."""

    project: str
    stack: str
    preview: bool
    config: Mapping[str, str]
    """Every configuration value that the program could read, as text; secrets in clear where they were known."""
    secret_keys: frozenset[str]
    resources: tuple[Resource, ...]
    outputs: Mapping[str, Any]
    """The stack's outputs."""
    diagnostics: tuple[Diagnostic, ...] = ()
    invokes: tuple[Invoke, ...] = ()
    modules: tuple[str, ...] = ()
    """Names of the modules that were loaded at the end of the run, in the order of loading; empty unless asked
    for.
    """
    explanation: str = ""
    """What the program says of itself; empty unless asked for."""
    cost: Any = None
    """What the program says that all this costs, as plain JSON; None unless asked for."""
    judged: Any = None
    """What the policy pack says, as `preview.pack` answers; None unless asked for. `preview.policies.of` reads it."""
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    """Every text that must not be shown anywhere."""

    def of_type(self, type_token: str) -> tuple[Resource, ...]:
        """Every resource of this exact type token, in order."""
        return tuple(resource for resource in self.resources if resource.type == type_token)

    def named(self, name: str, type_token: str | None = None) -> Resource:
        """The one resource of this logical name (and type); KeyError where there is none or more than one."""
        found = [r for r in self.resources if r.name == name and type_token in {None, r.type}]
        if len(found) != 1:
            raise KeyError(f"{name}: {[r.urn for r in found] or 'no such resource'}")
        return found[0]

    def children(self, urn: str) -> Iterator[Resource]:
        """The resources whose parent this is, in order."""
        return (resource for resource in self.resources if resource.parent == urn)


def from_wire(wire: Mapping[str, Any]) -> Snapshot:
    """Build a snapshot from the JSON that a child sends; the inverse is `Recording.to_wire` of
    `preview.monitor`.
    """
    return Snapshot(
        project=wire["project"],
        stack=wire["stack"],
        preview=wire["preview"],
        config=wire["config"],
        secret_keys=frozenset(wire["secretKeys"]),
        resources=tuple(_resource(item) for item in wire["resources"]),
        outputs=decode(wire["outputs"]),
        diagnostics=tuple(Diagnostic(**item) for item in wire["diagnostics"]),
        invokes=tuple(
            Invoke(token=item["token"], arguments=decode(item["arguments"]), answered=item["answered"])
            for item in wire["invokes"]
        ),
        modules=tuple(wire.get("modules", ())),
        explanation=wire["explanation"],
        cost=wire.get("cost"),
        judged=wire.get("judged"),
        secrets=frozenset(wire["secrets"]),
    )


def _resource(wire: Mapping[str, Any]) -> Resource:
    return Resource(
        urn=wire["urn"],
        type=wire["type"],
        name=wire["name"],
        custom=wire["custom"],
        parent=wire["parent"],
        id=decode(wire["id"]),
        inputs=decode(wire["inputs"]),
        outputs=decode(wire["outputs"]),
        dependencies=tuple(wire["dependencies"]),
        property_dependencies={key: tuple(urns) for key, urns in wire["propertyDependencies"].items()},
        awaits={path: tuple(urns) for path, urns in wire["awaits"].items()},
        provider=wire["provider"],
        options=wire["options"],
        source=wire["source"],
        operation=wire["operation"],
        registered=wire["registered"],
    )
