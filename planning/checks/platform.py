"""Rules for the platform as a whole: names, the system pool, the gateway."""

from collections.abc import Iterator

from planning.given import Given
from planning.nodes import (
    FOR_OURS,
    HYPERDISK_ONLY,
    LARGEST_POD_GIB,
    PLATFORM_CPUS,
    PLATFORM_GIB,
    WITH_GPUS,
    system_room,
)
from planning.refusal import Problem
from planning.schema import Model, Rollout, read
from planning.serving import floor_name
from planning.weights import WRITER

HUGGING_FACE = "hugging-face-token"
"""Of the Secret with the token in the models' namespace, and of the account that fills it."""
RESERVED_NAMES = ("default", HUGGING_FACE, WRITER)
"""Accounts in the models' namespace that are there already: Kubernetes' own, the one that reads the token, and the one
that fills the bucket."""


def something_to_serve(given: Given) -> Iterator[Problem]:
    """Refuse a platform for nothing."""
    if not given.stack.models:
        reason = "is empty: there is nothing to serve"
        yield Problem(key="llmserve:models", reason=reason, fix="name at least one model", value="[]")


def gateway(given: Given) -> Iterator[Problem]:
    """Refuse a public address without TLS and authentication."""
    if given.stack.gateway_exposure == "external":
        yield Problem(
            key="llmserve:gatewayExposure",
            reason="a public address needs TLS and authentication, and this version has neither",
            fix="internal, and reach it from the VPC",
            value="external",
        )


def system_machine(given: Given) -> Iterator[Problem]:
    """Refuse machines that take no disk of the kind that they would get, and those with GPUs."""
    written = given.stack.system_machine_type
    family = written.partition("-")[0]
    fix = "an e2 or n2 machine, such as e2-standard-4"
    if family in HYPERDISK_ONLY:
        reason = f"{family} machines take Hyperdisks only, and the system nodes have pd-balanced disks"
        yield Problem(key="llmserve:systemMachineType", reason=reason, fix=fix, value=written)
    if family in WITH_GPUS:
        reason = f"{family} machines have GPUs, and the system nodes are for everything that needs none"
        yield Problem(key="llmserve:systemMachineType", reason=reason, fix=fix, value=written)


def system_bounds(given: Given) -> Iterator[Problem]:
    """Refuse bounds that cross."""
    stack = given.stack
    if stack.system_min_nodes > stack.system_max_nodes:
        yield Problem(
            key="llmserve:systemMinNodes",
            reason=f"is above llmserve:systemMaxNodes, {stack.system_max_nodes}",
            fix=f"at most {stack.system_max_nodes}",
            value=str(stack.system_min_nodes),
        )


def system_room_for_the_platform(given: Given) -> Iterator[Problem]:
    """Refuse system nodes that do not hold the platform even when all of them run."""
    stack = given.stack
    if (room := system_room(stack.system_machine_type)) is None:
        return
    cpus, gib = (stack.system_max_nodes * each for each in room)
    if cpus < PLATFORM_CPUS or gib < PLATFORM_GIB:
        yield Problem(
            key="llmserve:systemMachineType",
            reason=f"{stack.system_max_nodes} of them have {cpus:.1f} cores and {gib:.1f} GiB beside GKE's own pods, "
            f"and Istio, KEDA and Prometheus ask for {PLATFORM_CPUS:g} and {PLATFORM_GIB:g}",
            fix="e2-standard-4, or a higher systemMaxNodes",
            value=stack.system_machine_type,
        )
    elif (one := room[1] / FOR_OURS) < LARGEST_POD_GIB:
        yield Problem(
            key="llmserve:systemMachineType",
            reason=f"one of them leaves {one:.1f} GiB to pods, and Prometheus asks for {LARGEST_POD_GIB:g} in one",
            fix="e2-standard-4",
            value=stack.system_machine_type,
        )


def names_apart(given: Given) -> Iterator[Problem]:
    """Refuse two objects of one name."""
    models = given.stack.models
    own = [name for model in models if isinstance(name := read(model, "name"), str)]
    for name in sorted({name for name in own if own.count(name) > 1}):
        yield Problem(
            key="llmserve:models",
            reason=f"the name {name} stands there {own.count(name)} times",
            fix="give each its own name",
        )
    made: dict[str, set[tuple[object, object]]] = {}
    for model in models:
        name, rollout = read(model, "name"), read(model, "rollout")
        versions = read(rollout, "versions") if isinstance(rollout, Rollout) else None
        for version in versions if isinstance(versions, tuple) else ():
            own_name = read(version, "name")
            for workload in (f"{name}-{own_name}", floor_name(f"{name}-{own_name}")):
                made.setdefault(workload, set()).add((name, own_name))
    for workload in sorted(workload for workload, pairs in made.items() if len(pairs) > 1):
        yield Problem(
            key="llmserve:models",
            reason=f"a model and its version make the name {workload}, which another pair makes too",
            fix="rename one of them",
        )


def reserved_name(_: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse a name that something in the models' namespace has already."""
    if model.name in RESERVED_NAMES:
        yield Problem(key=f"{key}.name", reason="is the platform's own", fix="another name", value=model.name)
