"""From what a stack declares to what it needs: the whole plan, or a refusal with every problem."""

import ipaddress
from dataclasses import dataclass
from itertools import combinations

from catalog.gpu_machines import GpuMachine, machines_with, regions_of
from monitoring.scaling import replicas_for
from planning.images import Image, resolve
from planning.pools import ComputeClass, Pool, compute_class_for, pools_for, pools_without_driver
from planning.refusal import Problem, Refusal
from planning.schema import Capacity, EngineName, Model, Stack
from planning.serving import (
    PRE_STOP_SECONDS,
    SPOT_CRITICAL_SECONDS,
    ModelPlan,
    Version,
    merged,
    replicas_of,
    resources_on,
)

EXAMPLE_PROJECT = "example-project"
ADDRESSES_OF_A_NODE = 256
"""What GKE sets aside for the pods of a node that may run 110 of them."""
HUGGING_FACE = "hugging-face-token"
"""Of the Secret with the token in the models' namespace, and of the account that fills it."""
RESERVED_NAMES = ("default", HUGGING_FACE)
"""Accounts in the models' namespace that are there already: Kubernetes' own, and the one that reads the token."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """All that follows from a stack's settings. `upstreams` maps a remote repository's id to the registry behind it."""

    stack: Stack
    pools: tuple[Pool, ...]
    compute_classes: tuple[ComputeClass, ...]
    models: tuple[ModelPlan, ...]
    own_repository: str
    upstreams: dict[str, str]
    gateway_drain_seconds: int
    """How long a gateway that is told to stop may go on: as long as the most patient model, five minutes at least."""
    warnings: tuple[str, ...]


def plan(stack: Stack, *, file: str, tgi_image: str) -> Plan:
    """Decide everything that can be decided without the cloud.

    Raises Refusal with all problems of the stack at once.
    """
    problems = [*_stack_problems(stack), *_network_problems(stack)]
    machines: dict[str, GpuMachine] = {}
    images: dict[tuple[str, str], Image] = {}
    for index, model in enumerate(stack.models):
        key = f"llmserve:models[{index}]"
        machine = _machine(stack, model, key, problems)
        if machine is not None:
            machines[model.name] = machine
        for position, version in enumerate(model.rollout.versions):
            written = version.image or model.image or tgi_image
            try:
                images[model.name, version.name] = resolve(
                    written, name=stack.name, project=stack.project, region=stack.region
                )
            except ValueError as error:
                where = f"{key}.rollout.versions[{position}].image" if version.image else f"{key}.image"
                fix = "write registry/repository:tag, or name:tag for the stack's own repository"
                problems.append(Problem(key=where, reason=str(error), fix=fix, value=written))
    if problems:
        raise Refusal(file, problems)

    models = tuple(_model_plan(stack, model, machines[model.name], images) for model in stack.models)
    pools: list[Pool] = []
    classes: list[ComputeClass] = []
    for machine in sorted(
        {model.machine.machine_type: model.machine for model in models}.values(), key=lambda m: m.machine_type
    ):
        spot, on_demand = pools_for(machine, zones=_zones(stack, machine), max_nodes=_most_nodes(models, machine))
        pools += [spot, on_demand]
        classes.append(compute_class_for(spot, on_demand, stack.capacity))
    if lost := pools_without_driver(pools):
        reason = f"the driver DaemonSet matches no node of {', '.join(lost)}: their GPUs would never be offered"
        raise Refusal(
            file,
            [
                Problem(
                    key="llmserve:gpuDriverVersion",
                    reason=reason,
                    fix="this is a mistake in planning/pools.py and not in the stack: pools and affinity must agree",
                )
            ],
        )
    nodes = stack.system_max_nodes + sum(pool.max_nodes for pool in pools)
    if ipaddress.IPv4Network(stack.pod_range).num_addresses // ADDRESSES_OF_A_NODE < nodes:
        reason = f"has no room for {nodes} nodes, which take {ADDRESSES_OF_A_NODE} addresses each"
        problem = Problem(key="llmserve:podRange", reason=reason, fix="a larger range", value=stack.pod_range)
        raise Refusal(file, [problem])
    return Plan(
        stack=stack,
        pools=tuple(pools),
        compute_classes=tuple(classes),
        models=models,
        own_repository=resolve("any:any", name=stack.name, project=stack.project, region=stack.region).repository or "",
        upstreams={
            image.repository: image.upstream
            for _, image in sorted(images.items())
            if image.repository is not None and image.upstream is not None
        },
        gateway_drain_seconds=max(300, *(model.termination_grace_seconds for model in models)),
        warnings=tuple(_warnings(stack, models)),
    )


def _stack_problems(stack: Stack) -> list[Problem]:
    problems = []
    if not stack.models:
        problems.append(
            Problem(
                key="llmserve:models",
                reason="is empty: there is nothing to serve",
                fix="name at least one model",
                value="[]",
            )
        )
    if stack.gateway_exposure == "external":
        reason = "a public address needs TLS and authentication, and this version has neither"
        problems.append(
            Problem(
                key="llmserve:gatewayExposure",
                reason=reason,
                fix="internal, and reach it from the VPC",
                value="external",
            )
        )
    if stack.system_min_nodes > stack.system_max_nodes:
        problems.append(
            Problem(
                key="llmserve:systemMinNodes",
                reason=f"is above llmserve:systemMaxNodes, {stack.system_max_nodes}",
                fix=f"at most {stack.system_max_nodes}",
                value=str(stack.system_min_nodes),
            )
        )
    names = [model.name for model in stack.models]
    workloads = [f"{model.name}-{version.name}" for model in stack.models for version in model.rollout.versions]
    problems += [
        Problem(
            key="llmserve:models",
            reason=f"a model and its version make the name {name}, which another pair makes too",
            fix="rename one of them",
        )
        for name in sorted({name for name in workloads if workloads.count(name) > 1 and len(set(names)) == len(names)})
    ]
    problems += [
        Problem(key=f"llmserve:models[{index}].name", reason="is the platform's own", fix="another name", value=name)
        for index, name in enumerate(names)
        if name in RESERVED_NAMES
    ]
    problems += [
        Problem(
            key="llmserve:models",
            reason=f"the name {name} stands there {names.count(name)} times",
            fix="give each its own name",
        )
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    return problems


def _network_problems(stack: Stack) -> list[Problem]:
    ranges = {
        "llmserve:nodeRange": stack.node_range,
        "llmserve:podRange": stack.pod_range,
        "llmserve:serviceRange": stack.service_range,
        "llmserve:controlPlaneRange": stack.control_plane_range,
    }
    problems = [
        Problem(
            key=one,
            reason=f"overlaps with {other}, {ranges[other]}",
            fix="choose ranges apart from each other",
            value=ranges[one],
        )
        for one, other in combinations(ranges, 2)
        if ipaddress.IPv4Network(ranges[one]).overlaps(ipaddress.IPv4Network(ranges[other]))
    ]
    if ipaddress.IPv4Network(stack.control_plane_range).prefixlen != 28:
        key = "llmserve:controlPlaneRange"
        problems.append(
            Problem(key=key, reason="GKE takes a /28 here", fix="write a /28", value=stack.control_plane_range)
        )
    return problems


def _machine(stack: Stack, model: Model, key: str, problems: list[Problem]) -> GpuMachine | None:
    """Find the machine with exactly the GPUs of one replica, in the stack's region and zones."""
    gpu, gpus = model.gpu.type, model.gpu.tensor_parallel
    if not machines_with(gpu, gpus):
        sizes = sorted({machine.gpus for machine in machines_with(gpu)})
        problems.append(
            Problem(
                key=f"{key}.gpu.tensorParallel",
                reason=f"no machine has exactly {gpus} of {gpu}, and one replica lives on one machine",
                fix=f"one of {', '.join(map(str, sizes))}",
                value=str(gpus),
            )
        )
        return None
    here = machines_with(gpu, gpus, stack.region)
    if not here:
        problems.append(
            Problem(
                key="gcp:region",
                reason=f"no zone there has a machine with {gpus} of {gpu}, which {key} needs",
                fix=f"one of {', '.join(regions_of(machines_with(gpu, gpus)))}",
                value=stack.region,
            )
        )
        return None
    if without := [zone for zone in stack.zones if zone not in here[0].zones]:
        problems.append(
            Problem(
                key="llmserve:zones",
                reason=f"{here[0].machine_type}, which {key} needs, is not in {', '.join(without)}",
                fix=f"some of {', '.join(here[0].zones)}, or none of your own to take them all",
                value=", ".join(stack.zones),
            )
        )
    return here[0]


def _zones(stack: Stack, machine: GpuMachine) -> tuple[str, ...]:
    return stack.zones or machine.zones


def _model_plan(stack: Stack, model: Model, machine: GpuMachine, images: dict[tuple[str, str], Image]) -> ModelPlan:
    scaling = model.scaling
    versions = tuple(
        Version(
            name=version.name,
            weight=version.weight,
            image=images[model.name, version.name],
            revision=version.revision or model.revision,
            batching=merged(model.batching, version.batching),
            environment=tuple(sorted((model.environment | version.environment).items())),
            replicas=replicas_of(model, version),
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
        normal_replicas=normal,
    )


def _most_nodes(models: tuple[ModelPlan, ...], machine: GpuMachine) -> int:
    """Every replica at its maximum, and a node more a version for the pod that a rollout adds before it takes one."""
    return sum(
        version.replicas.maximum + 1
        for model in models
        if model.machine.machine_type == machine.machine_type
        for version in model.versions
    )


def _warnings(stack: Stack, models: tuple[ModelPlan, ...]) -> list[str]:
    warnings = []
    if stack.project == EXAMPLE_PROJECT:
        warnings.append(
            f"gcp:project is {EXAMPLE_PROJECT}, which is nobody's, and `make up` refuses it: "
            "pulumi config set gcp:project YOUR-PROJECT"
        )
    if stack.spot_shutdown_grace_seconds == 120 and stack.release_channel in {"STABLE", "EXTENDED"}:
        warnings.append(
            f"llmserve:spotShutdownGraceSeconds is 120, which GKE has from 1.35.0-gke.1171000 on, and the channel "
            f"{stack.release_channel} may be older: gcloud container get-server-config --region {stack.region}"
        )
    unpinned = {
        version.image.reference: version.image
        for model in models
        for version in model.versions
        if not version.image.pinned
    }
    warnings += [
        f"image {reference} is not pinned by digest (make pin): {image.pin_command}"
        for reference, image in unpinned.items()
    ]
    elsewhere = {
        version.image.reference
        for model in models
        for version in model.versions
        if version.image.repository is None and "-docker.pkg.dev/" in version.image.reference
    }
    warnings += [
        f"image {reference} is in a repository that the nodes may not read yet: gcloud artifacts repositories "
        "add-iam-policy-binding REPOSITORY --role roles/artifactregistry.reader "
        f"--member serviceAccount:{stack.name}-nodes@{stack.project}.iam.gserviceaccount.com"
        for reference in sorted(elsewhere)
    ]
    window = stack.spot_shutdown_grace_seconds - SPOT_CRITICAL_SECONDS - PRE_STOP_SECONDS
    warnings += [
        f"model {model.name}: a spot node leaves a generation {window} seconds, and drainSeconds is "
        f"{model.declared.drain_seconds}: what takes longer is cut when the node is called back"
        for model in models
        if stack.capacity is not Capacity.ON_DEMAND and model.declared.drain_seconds > window
    ]
    warnings += [
        f"model {model.name} runs whatever revision of {model.declared.repository} is newest: set revision to the "
        f"commit that this prints: git ls-remote https://huggingface.co/{model.declared.repository} HEAD"
        for model in models
        if model.declared.engine is EngineName.TGI and any(version.revision is None for version in model.versions)
    ]
    return warnings
