"""Node objects as GKE would register them for the recorded node pools: labels, taints and what pods may ask for.

What GKE adds to a pool's own labels and taints: https://docs.cloud.google.com/kubernetes-engine/docs/how-to/gpus.
What it leaves of a machine to pods: planning/nodes.py.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from catalog.gpu_machines import gpu_machines
from planning.nodes import LOCAL_SSD_GIB, allocatable_cpu, allocatable_disk_gib, allocatable_memory_gib
from planning.pools import ACCELERATOR, DRIVER_VERSION, GPU, SPOT
from preview import Resource, Snapshot
from tests.real.api_server import ApiServer, wait_until

NODE_POOL: Final = "gcp:container/nodePool:NodePool"
ZONE: Final = "topology.kubernetes.io/zone"
MACHINE: Final = "node.kubernetes.io/instance-type"
POOL: Final = "cloud.google.com/gke-nodepool"
"""GKE's label with the name of a node's pool; here the name that the program gives it."""

_EFFECTS: Final = {"NO_SCHEDULE": "NoSchedule", "PREFER_NO_SCHEDULE": "PreferNoSchedule", "NO_EXECUTE": "NoExecute"}


def is_gpu_pool(pool: Resource) -> bool:
    """Whether the nodes of a recorded pool have GPUs."""
    return bool(pool.inputs["nodeConfig"].get("guestAccelerators"))


def gpu_pools(snapshot: Snapshot) -> list[Resource]:
    """The recorded pools whose nodes have GPUs."""
    return [pool for pool in snapshot.of_type(NODE_POOL) if is_gpu_pool(pool)]


def node_labels(pool: Resource) -> dict[str, str]:
    """The labels of a recorded pool's nodes: its own, and those that GKE adds and something here selects by."""
    config = pool.inputs["nodeConfig"]
    labels = dict(config.get("labels", {}))
    for accelerator in config.get("guestAccelerators", []):
        labels[ACCELERATOR] = accelerator["type"]
        driver = accelerator.get("gpuDriverInstallationConfig", {}).get("gpuDriverVersion", "DEFAULT")
        if driver != "INSTALLATION_DISABLED":
            labels[DRIVER_VERSION] = driver.lower()
    if config.get("spot"):
        labels[SPOT] = "true"
    return labels


def taints(pool: Resource) -> list[dict[str, str]]:
    """The taints of a recorded pool's nodes: its own, and the one that GKE adds to nodes with GPUs."""
    own = pool.inputs["nodeConfig"].get("taints", [])
    made = [{"key": item["key"], "value": item["value"], "effect": _EFFECTS[item["effect"]]} for item in own]
    if is_gpu_pool(pool):
        made.append({"key": GPU, "value": "present", "effect": "NoSchedule"})
    return made


def gpu_nodes(snapshot: Snapshot, count: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """Yield so many nodes of each pool, in turn from each of its zones; pools are named as the program names them."""
    pools = {pool.name: pool for pool in gpu_pools(snapshot)}
    for name, wanted in count.items():
        for number in range(wanted):
            yield gpu_node(pools[name], number)


def gpu_node(pool: Resource, number: int) -> dict[str, Any]:
    """Make the node with this number of a recorded pool; its zones are taken in turn."""
    zones = list(pool.inputs["nodeLocations"])
    return _node(pool, f"{pool.name}-{number}", zones[number % len(zones)], _gpu_machine(pool))


def pool_of(node: Mapping[str, Any]) -> str:
    """The pool of a node, as the program names it."""
    return str(node["metadata"]["labels"][POOL])


def system_nodes(snapshot: Snapshot) -> Iterator[dict[str, Any]]:
    """Yield the nodes of the system pool at its smallest."""
    (pool,) = (pool for pool in snapshot.of_type(NODE_POOL) if not is_gpu_pool(pool))
    machine = pool.inputs["nodeConfig"]["machineType"]
    for number in range(pool.inputs["autoscaling"]["totalMinNodeCount"]):
        yield _node(
            pool, f"{pool.name}-{number}", f"{pool.inputs['location']}-{'abc'[number % 3]}", system_size(machine)
        )


def system_size(machine: str) -> tuple[int, int]:
    """VCPUs and GiB of a predefined E2 or N2 machine type of the standard kind: 4 GiB a vCPU."""
    family, kind, vcpus = machine.split("-")
    assert (family, kind) in {("e2", "standard"), ("n2", "standard")}, f"{machine}: say here what it has"
    return int(vcpus), int(vcpus) * 4


def _gpu_machine(pool: Resource) -> tuple[int, int]:
    wanted = (pool.inputs["nodeConfig"]["machineType"], pool.inputs["location"])
    (found,) = (machine for machine in gpu_machines() if (machine.machine_type, machine.region) == wanted)
    return found.vcpus, found.memory_gib


def _node(pool: Resource, name: str, zone: str, size: tuple[int, int]) -> dict[str, Any]:
    config, (vcpus, memory) = pool.inputs["nodeConfig"], size
    ssds = config.get("ephemeralStorageLocalSsdConfig", {}).get("localSsdCount", 0)
    accelerators = config.get("guestAccelerators", [])
    gpus = {GPU: str(sum(item["count"] for item in accelerators))} if accelerators else {}
    allocatable = {
        "cpu": f"{allocatable_cpu(vcpus) * 1000:.0f}m",
        "memory": f"{allocatable_memory_gib(memory) * 1024:.0f}Mi",
        "ephemeral-storage": f"{allocatable_disk_gib(config['diskSizeGb'], ssds) * 1024:.0f}Mi",
        "pods": "110",
        **gpus,
    }
    capacity = {
        "cpu": str(vcpus),
        "memory": f"{memory}Gi",
        "ephemeral-storage": f"{ssds * LOCAL_SSD_GIB or config['diskSizeGb']}Gi",
        "pods": "110",
        **gpus,
    }
    labels = node_labels(pool) | {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        ZONE: zone,
        "topology.kubernetes.io/region": pool.inputs["location"],
        MACHINE: config["machineType"],
        POOL: pool.name,
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": taints(pool)},
        "status": {"capacity": capacity, "allocatable": allocatable},
    }


def register(server: ApiServer, nodes: list[dict[str, Any]]) -> None:
    """Make the Node objects and wait until each is ready for pods."""
    for node in nodes:
        made = server.request("POST", "/api/v1/nodes", node)
        assert made.accepted, made.message

    def ready() -> bool:
        kept = [taint["key"] for node in server.items("/api/v1/nodes") for taint in node["spec"].get("taints", [])]
        return not any(key.startswith("node.kubernetes.io/") for key in kept)

    wait_until(ready, "the nodes are ready", seconds=60)
