"""Rules for the place: machines and zones that exist, ranges that hold what must fit into them."""

import ipaddress
from collections.abc import Iterator
from itertools import combinations

from catalog.gpu_machines import machines_with, regions_of, sizes_of
from planning.given import Given
from planning.nodes import most_system_nodes
from planning.refusal import Problem
from planning.schema import Gpu, Model, NotRead, read
from planning.serving import most_elastic_nodes, most_floor_nodes

ADDRESSES_OF_A_NODE = 256
"""What GKE sets aside for the pods of a node that may run 110 of them."""
ADDRESSES_OF_GOOGLE = 4
"""The first two and the last two of a subnet. https://docs.cloud.google.com/vpc/docs/subnets#unusable-ip-addresses"""
LARGEST_RANGE = 2**24
"""Of the private ranges, 10.0.0.0/8."""
LEAST_SERVICES = 64
"""Istio, KEDA and the Prometheus stack make about twenty; the rest is for models."""
GATEWAY_ADDRESSES = 1
"""The load balancer's, which is one of the nodes' range."""


def ranges(given: Given) -> Iterator[Problem]:
    """Refuse ranges that overlap, and one for Services that holds too few."""
    written = {
        name: text
        for name, field in (
            ("llmserve:nodeRange", "node_range"),
            ("llmserve:podRange", "pod_range"),
            ("llmserve:serviceRange", "service_range"),
            ("llmserve:controlPlaneRange", "control_plane_range"),
        )
        if isinstance(text := read(given.stack, field), str)
    }
    for one, other in combinations(written, 2):
        if ipaddress.IPv4Network(written[one]).overlaps(ipaddress.IPv4Network(written[other])):
            yield Problem(
                key=one,
                reason=f"overlaps with {other}, {written[other]}",
                fix="choose ranges apart from each other",
                value=written[one],
            )
    services = written.get("llmserve:serviceRange")
    if services is not None and ipaddress.IPv4Network(services).num_addresses < LEAST_SERVICES:
        yield Problem(
            key="llmserve:serviceRange",
            reason="has too few addresses for the Services of the platform and the models",
            fix="a /24 or larger",
            value=services,
        )


def control_plane(given: Given) -> Iterator[Problem]:
    """Refuse what GKE refuses for its own part."""
    written = given.stack.control_plane_range
    if ipaddress.IPv4Network(written).prefixlen != 28:
        yield Problem(key="llmserve:controlPlaneRange", reason="GKE takes a /28 here", fix="write a /28", value=written)


def addresses(given: Given) -> Iterator[Problem]:
    """Refuse ranges without an address for every node and every node's pods, all pools at their largest."""
    stack = given.stack
    # Of either kind, spot and on-demand: while stock moves the pods, both may have nodes; the floor stays where it is.
    gpu_nodes = (_nodes(given, model) for model in stack.models)
    nodes = most_system_nodes(stack.system_max_nodes) + sum(gpu_nodes)
    kept = GATEWAY_ADDRESSES + ADDRESSES_OF_GOOGLE
    for key, field, wanted, what in (
        (
            "llmserve:podRange",
            "pod_range",
            nodes * ADDRESSES_OF_A_NODE,
            f", which take {ADDRESSES_OF_A_NODE} addresses each",
        ),
        (
            "llmserve:nodeRange",
            "node_range",
            nodes + kept,
            f", the gateway and Google's own {ADDRESSES_OF_GOOGLE} addresses",
        ),
    ):
        written = read(stack, field)
        if isinstance(written, str) and ipaddress.IPv4Network(written).num_addresses < wanted:
            larger = f"a /{_prefix(wanted)} or larger" if wanted <= LARGEST_RANGE else "fewer replicas"
            yield Problem(key=key, reason=f"has no room for {nodes} nodes{what}", fix=larger, value=written)


def reservations(given: Given) -> Iterator[Problem]:
    """Refuse a reservation of machines that no model runs on."""
    used = {found.machine_type for model in _models(given) if (found := given.machine(model)) is not None}
    for machine_type, name in sorted(given.stack.reservations.items()):
        if machine_type not in used:
            yield Problem(
                key=f"llmserve:reservations.{machine_type}",
                reason="is a machine type that no model runs on",
                fix=f"one of {', '.join(sorted(used))}" if used else "leave it out",
                value=name,
            )


def _models(given: Given) -> Iterator[Model]:
    """Find the models of which it can be said what they run on."""
    for model in given.stack.models:
        try:
            given.machine(model)
        except NotRead:
            continue
        yield model


def _nodes(given: Given, model: Model) -> int:
    """Addresses for the nodes of a model at its largest; 0 where that cannot be read or there is no such machine."""
    try:
        return 2 * most_elastic_nodes(model) + most_floor_nodes(model) if given.machine(model) else 0
    except NotRead:
        return 0


def _prefix(addresses: int) -> int:
    return 32 - (addresses - 1).bit_length()


def region(given: Given) -> Iterator[Problem]:
    """Refuse a region that lacks a machine of any model, with those that have all of them."""
    stack = given.stack
    regions: set[str] | None = None
    lacking = []
    for index, model in enumerate(stack.models):
        gpu = read(model, "gpu")
        if not isinstance(gpu, Gpu) or read(gpu, "type") is None or read(gpu, "tensor_parallel") is None:
            continue
        if having := set(regions_of(machines_with(gpu.type, gpu.tensor_parallel))):
            regions = having if regions is None else regions & having
            if stack.region not in having:
                lacking.append(f"{gpu.tensor_parallel} of {gpu.type}, which llmserve:models[{index}] needs")
    if lacking:
        fix = f"one of {', '.join(sorted(regions))}" if regions else "none has the machines of all models: another gpu"
        reason = f"no zone there has a machine with {', or with '.join(lacking)}"
        yield Problem(key="gcp:region", reason=reason, fix=fix, value=stack.region)


def machine(given: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse GPUs that no machine has, or none in the region, or none in the zones."""
    gpu, gpus, stack = model.gpu.type, model.gpu.tensor_parallel, given.stack
    anywhere = machines_with(gpu, gpus)
    if not anywhere:
        sizes = sizes_of(gpu)
        yield Problem(
            key=f"{key}.gpu.tensorParallel",
            reason=f"no machine has exactly {gpus} of {gpu}, and one replica lives on one machine",
            fix=f"one of {', '.join(map(str, sizes))}",
            value=str(gpus),
        )
        return
    here = given.machine(model)
    if here is None:
        return
    if without := [zone for zone in stack.zones if zone not in here.zones]:
        yield Problem(
            key="llmserve:zones",
            reason=f"{here.machine_type}, which {key} needs, is not in {', '.join(without)}",
            fix=f"some of {', '.join(here.zones)}, or none of your own to take them all",
            value=", ".join(stack.zones),
        )
