"""From what a stack declares to what it needs: the whole plan, or a refusal with every problem."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from monitoring.scaling import replicas_for
from planning.advice import warnings
from planning.checks import problems
from planning.drain import LEAST_GATEWAY_SECONDS
from planning.given import Given
from planning.images import DOCKER_HUB, docker_hub, resolve
from planning.pools import ComputeClass, Pool, compute_class_for, falls_back, pools_for, pools_without_driver
from planning.refusal import Problem, Refusal
from planning.schema import EngineName, Migration, Model, Stack
from planning.serving import (
    ModelPlan,
    Version,
    merged,
    most_elastic_nodes,
    most_floor_nodes,
    replicas_of,
    resources_on,
)
from planning.weights import Fill, first_of_each, stored_weights


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """All that follows from a stack's settings. `upstreams` maps a remote repository's id to the registry behind it."""

    stack: Stack
    pools: tuple[Pool, ...]
    compute_classes: tuple[ComputeClass, ...]
    models: tuple[ModelPlan, ...]
    own_repository: str
    upstreams: dict[str, str]
    docker_hub: str
    """What stands for `docker.io` in an image's name: the stack's remote repository of it, which is always there."""
    fills: tuple[Fill, ...]
    """Each revision that is brought into the stack's bucket, once; none, and there is no bucket."""
    gateway_drain_seconds: int
    """How long a gateway that is told to stop may go on: as long as the most patient model, five minutes at least."""
    warnings: tuple[str, ...]


def plan(given: Given, *, file: str, found: Iterable[Problem] = ()) -> Plan:
    """Decide everything that can be decided without the cloud.

    `found` is what was wrong already when the settings were read. Raises Refusal with all of it at once.
    """
    if all_problems := [*found, *problems(given)]:
        raise Refusal(file, [_masked(problem, given.secret_keys) for problem in all_problems])
    stack = given.stack
    models = tuple(_model_plan(given, model) for model in stack.models)
    pools: list[Pool] = []
    classes: list[ComputeClass] = []
    machines = {model.machine.machine_type: model.machine for model in models}
    for _, machine in sorted(machines.items()):
        there = [model.declared for model in models if model.machine == machine]
        found_pools = pools_for(
            machine,
            zones=stack.zones or machine.zones,
            floor_nodes=sum(map(most_floor_nodes, there)),
            elastic_nodes=sum(map(most_elastic_nodes, there)),
            reservation=stack.reservations.get(machine.machine_type),
            flex_start=stack.flex_start,
        )
        fallback = falls_back(stack.capacity, (model.scaling.dynamic_on_demand_fallback for model in there))
        pools += found_pools
        classes.append(compute_class_for(found_pools, stack.capacity, fallback=fallback))
    if lost := pools_without_driver(pools):
        raise AssertionError(f"no node of {lost} would get a driver: pools and DRIVER_AFFINITY must agree")
    images = [version.image for model in models for version in model.versions]
    hub_repository, hub = docker_hub(name=stack.name, project=stack.project, region=stack.region)
    return Plan(
        stack=stack,
        pools=tuple(pools),
        compute_classes=tuple(classes),
        models=models,
        own_repository=resolve("any:any", name=stack.name, project=stack.project, region=stack.region).repository or "",
        upstreams={hub_repository: DOCKER_HUB}
        | {
            image.repository: image.upstream
            for image in images
            if image.repository is not None and image.upstream is not None
        },
        docker_hub=hub,
        fills=first_of_each(fill for model in models for fill in model.fills),
        gateway_drain_seconds=max(LEAST_GATEWAY_SECONDS, *(model.drain.grace_seconds for model in models)),
        warnings=tuple(warnings(given, models)),
    )


def _masked(problem: Problem, secret_keys: frozenset[str]) -> Problem:
    if problem.value is None or re.split(r"[.\[]", problem.key)[0] not in secret_keys:
        return problem
    return replace(problem, value="[secret]")


def _model_plan(given: Given, model: Model) -> ModelPlan:
    stack, scaling, machine, architecture = given.stack, model.scaling, given.machine(model), given.architecture(model)
    if machine is None:
        raise AssertionError(f"{model.name}: the checks let a machine through that is not there")
    versions = tuple(
        Version(
            name=version.name,
            weight=version.weight,
            image=resolve(
                given.image(model, version) or "", name=stack.name, project=stack.project, region=stack.region
            ),
            revision=version.revision or model.revision,
            batching=merged(model.batching, version.batching),
            environment=tuple(sorted((model.environment | version.environment).items())),
            replicas=replicas_of(model, version),
            fit=given.fit(model, version),
            weights=None
            if model.engine is EngineName.CUSTOM
            else stored_weights(stack, model.repository, version.revision or model.revision),
        )
        for version in model.rollout.versions
    )
    normal = None
    if scaling.requests_per_second_per_replica is not None and scaling.normal_requests_per_second is not None:
        normal = sum(
            replicas_for(
                scaling.normal_requests_per_second,
                scaling.requests_per_second_per_replica,
                share=version.weight / 100,
                minimum=version.replicas.minimum,
                maximum=version.replicas.maximum,
            )
            for version in versions
            if not version.replicas.paused
        )
    return ModelPlan(
        declared=model,
        host=f"{model.name}.{stack.domain}",
        machine=machine,
        resources=resources_on(machine),
        versions=versions,
        architecture=architecture,
        drain=given.drain(model),
        moves_with=stack.capacity if stack.migrate is Migration.ROLLING else None,
        normal_replicas=normal,
    )
