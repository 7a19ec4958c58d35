"""Rules for the place: machines and zones that exist, ranges that hold what must fit into them."""

import ipaddress
from collections.abc import Iterator
from itertools import combinations

from catalog.gpu_machines import machines_with, regions_of
from planning.given import Given
from planning.refusal import Problem
from planning.schema import Model
from planning.serving import most_nodes

ADDRESSES_OF_A_NODE = 256
"""What GKE sets aside for the pods of a node that may run 110 of them."""
ADDRESSES_OF_GOOGLE = 4
"""The first two and the last two of a subnet. https://docs.cloud.google.com/vpc/docs/subnets#unusable-ip-addresses"""
GATEWAY_ADDRESSES = 1
"""The load balancer's, which is one of the nodes' range."""


def ranges(given: Given) -> Iterator[Problem]:
    """Refuse ranges that overlap."""
    stack = given.stack
    written = {
        "llmserve:nodeRange": stack.node_range,
        "llmserve:podRange": stack.pod_range,
        "llmserve:serviceRange": stack.service_range,
        "llmserve:controlPlaneRange": stack.control_plane_range,
    }
    for one, other in combinations(written, 2):
        if ipaddress.IPv4Network(written[one]).overlaps(ipaddress.IPv4Network(written[other])):
            yield Problem(
                key=one,
                reason=f"overlaps with {other}, {written[other]}",
                fix="choose ranges apart from each other",
                value=written[one],
            )


def control_plane(given: Given) -> Iterator[Problem]:
    """Refuse what GKE refuses for its own part."""
    written = given.stack.control_plane_range
    if ipaddress.IPv4Network(written).prefixlen != 28:
        yield Problem(key="llmserve:controlPlaneRange", reason="GKE takes a /28 here", fix="write a /28", value=written)


def addresses(given: Given) -> Iterator[Problem]:
    """Refuse ranges without an address for every node and every node's pods, all pools at their largest."""
    stack = given.stack
    # Of either kind, spot and on-demand: while stock moves the pods, both may have nodes.
    nodes = stack.system_max_nodes + sum(2 * most_nodes(model) for model in stack.models if given.machine(model))
    pods = ipaddress.IPv4Network(stack.pod_range)
    if pods.num_addresses // ADDRESSES_OF_A_NODE < nodes:
        yield Problem(
            key="llmserve:podRange",
            reason=f"has no room for {nodes} nodes, which take {ADDRESSES_OF_A_NODE} addresses each",
            fix=f"a /{_prefix(nodes * ADDRESSES_OF_A_NODE)} or larger",
            value=stack.pod_range,
        )
    wanted = nodes + GATEWAY_ADDRESSES + ADDRESSES_OF_GOOGLE
    if ipaddress.IPv4Network(stack.node_range).num_addresses < wanted:
        yield Problem(
            key="llmserve:nodeRange",
            reason=f"has no room for {nodes} nodes, the gateway and Google's own {ADDRESSES_OF_GOOGLE} addresses",
            fix=f"a /{_prefix(wanted)} or larger",
            value=stack.node_range,
        )


def _prefix(addresses: int) -> int:
    return 32 - (addresses - 1).bit_length()


def machine(given: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse GPUs that no machine has, or none in the region, or none in the zones."""
    gpu, gpus, stack = model.gpu.type, model.gpu.tensor_parallel, given.stack
    anywhere = machines_with(gpu, gpus)
    if not anywhere:
        sizes = sorted({machine.gpus for machine in machines_with(gpu)})
        yield Problem(
            key=f"{key}.gpu.tensorParallel",
            reason=f"no machine has exactly {gpus} of {gpu}, and one replica lives on one machine",
            fix=f"one of {', '.join(map(str, sizes))}",
            value=str(gpus),
        )
        return
    here = given.machine(model)
    if here is None:
        yield Problem(
            key="gcp:region",
            reason=f"no zone there has a machine with {gpus} of {gpu}, which {key} needs",
            fix=f"one of {', '.join(regions_of(anywhere))}",
            value=stack.region,
        )
        return
    if without := [zone for zone in stack.zones if zone not in here.zones]:
        yield Problem(
            key="llmserve:zones",
            reason=f"{here.machine_type}, which {key} needs, is not in {', '.join(without)}",
            fix=f"some of {', '.join(here.zones)}, or none of your own to take them all",
            value=", ".join(stack.zones),
        )
