"""Pods, wherever a recorded object holds a template of some; those that charts make are not among the resources."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from planning.pools import GPU
from policy.rules.place import Place
from policy.rules.rule import Seen

_TEMPLATE: Final = ("spec", "template")
TEMPLATES: Final[dict[str, tuple[str, ...]]] = {
    "kubernetes:apps/v1:DaemonSet": _TEMPLATE,
    "kubernetes:apps/v1:Deployment": _TEMPLATE,
    "kubernetes:apps/v1:ReplicaSet": _TEMPLATE,
    "kubernetes:apps/v1:StatefulSet": _TEMPLATE,
    "kubernetes:batch/v1:CronJob": ("spec", "jobTemplate", "spec", "template"),
    "kubernetes:batch/v1:Job": _TEMPLATE,
    "kubernetes:core/v1:Pod": (),
    "kubernetes:core/v1:ReplicationController": _TEMPLATE,
}
"""Where each type keeps its pods' template."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pods:
    """The pods of one object."""

    namespace: Place
    name: Place
    """The object's own."""
    metadata: Place
    spec: Place

    def containers(self) -> Iterator[Place]:
        """Every container, those that run first included. Raises NotKnown."""
        for kind in ("initContainers", "containers", "ephemeralContainers"):
            yield from self.spec[kind].each()

    def is_one_of(self, names: Mapping[tuple[str, str], str]) -> bool:
        """Whether the object is one of these, by namespace and name. Raises NotKnown."""
        return (self.namespace.text, self.name.text) in names


def pods_of(resource: Seen) -> Pods | None:
    """Find an object's pods; None for what makes none."""
    path = TEMPLATES.get(resource.type)
    if path is None:
        return None
    whole = resource.place
    template = whole.at(*path)
    return Pods(
        namespace=whole.at("metadata", "namespace"),
        name=whole.at("metadata", "name"),
        metadata=template["metadata"],
        spec=template["spec"],
    )


def gpus_of(container: Place) -> int:
    """Count the GPUs that a container takes. Raises NotKnown."""
    asked = container.at("resources", "limits", GPU).text
    return int(float(asked)) if asked else 0


def variable(container: Place, name: str) -> Place:
    """Find a variable of a container's environment. Raises NotKnown where the list or a name in it is not known."""
    for entry in container["env"].each():
        if entry["name"].text == name:
            return entry
    return Place(None, f"{container.path}.env")


def words(container: Place) -> Iterator[Place]:
    """Yield the words of a container's command line. Raises NotKnown for the lists, not for a word."""
    for key in ("command", "args"):
        yield from container[key].each()
