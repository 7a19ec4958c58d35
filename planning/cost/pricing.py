"""Every recorded resource as lines of a bill, or as free, or as something that cannot be priced: never as nothing.

What a resource costs by itself is known from its type. A type that this module has not heard of is listed as unpriced,
by name, so that a new kind of resource shows up in the next report.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from catalog.prices import GLOBAL, MONTH_HOURS, Kind, Price, UnknownPriceError, price_of, usd
from planning.cost.cases import NONE, Cases, always, total
from planning.cost.hours import NodeHours, Use, all_hours, node_hours, simulated_hours, starts
from planning.cost.recorded import Recorded, at, each, number
from planning.cost.usage import Usage
from planning.cost.workloads import POOL, NodePool, Workload, bought, node_pools_of, workloads_of
from planning.nodes import LOCAL_SSD_GIB
from planning.pools import PoolKind
from planning.schema import Capacity

BUNDLED_SSD: Final = ("a2-ultragpu-", "a3-")
"""Machine types whose price holds their local SSDs."""
NAT_MACHINES: Final = 32
"""A gateway's hourly price is counted by machine up to so many, and stays there: https://cloud.google.com/nat/pricing"""
CLAIM_DISK: Final = "pd-balanced"
"""The disk of GKE's default storage class, standard-rwo:
https://docs.cloud.google.com/kubernetes-engine/docs/concepts/persistent-volumes"""
NODE_HOURS: Final = "node hours"
GIB_MONTHS: Final = "GiB months"
ZONES: Final = 3
"""Zones of a region, where a pool does not say in which it is."""


class Part(StrEnum):
    """What a line is a part of."""

    GPU_NODES = "GPU nodes"
    SYSTEM_NODES = "system nodes"
    DISKS = "disks"
    CLUSTER = "cluster"
    NETWORK = "network"
    WEIGHTS = "weights"


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line: quantity x rate, in three cases. `always_on`: paid for though nobody asks a model anything."""

    part: Part
    what: str
    resource: str
    """Its logical name, or that of the workload that the nodes are for."""
    quantity: Cases
    unit: str
    """What the quantity counts."""
    price: Price
    rate: float
    """US dollars for one of `unit`."""
    always_on: bool
    model: str = ""
    kind: PoolKind | None = None

    @property
    def usd(self) -> Cases:
        """US dollars a month."""
        return self.quantity.times(self.rate)


@dataclass(frozen=True, kw_only=True, slots=True)
class Unpriced:
    """Something that is paid for and not in the sum, and why."""

    what: str
    why: str
    is_machine: bool = False
    """Whether machines are missing from the sum, so that it is a part of the truth only."""


@dataclass(kw_only=True, slots=True)
class Bill:
    """A month of everything that was recorded."""

    region: str
    capacity: Capacity | None
    """What was asked for in place of what the resources say; None: as recorded."""
    workloads: tuple[Workload, ...] = ()
    lines: list[Line] = field(default_factory=list)
    unpriced: list[Unpriced] = field(default_factory=list)

    @property
    def usd(self) -> Cases:
        """The sum of the lines."""
        return total([line.usd for line in self.lines])

    @property
    def always_on_usd(self) -> float:
        """What is expected of it though nobody asks."""
        return sum(line.usd.expected for line in self.lines if line.always_on)

    @property
    def fixed_usd(self) -> float:
        """What is expected without GPU nodes and all that comes with them: the platform that every model shares."""
        return sum(line.usd.expected for line in self.lines if not line.model)

    @property
    def is_whole(self) -> bool:
        """Whether every machine has a price."""
        return not any(found.is_machine for found in self.unpriced)


FREE: Final[Mapping[str, str]] = {
    "gcp:compute/network:Network": "networks",
    "gcp:compute/subnetwork:Subnetwork": "networks",
    "gcp:compute/router:Router": "a router alone",
    "gcp:compute/firewall:Firewall": "firewall rules",
    "gcp:serviceaccount/account:Account": "service accounts",
    "gcp:serviceaccount/iAMMember:IAMMember": "grants",
    "gcp:projects/iAMMember:IAMMember": "grants",
    "gcp:storage/bucketIAMMember:BucketIAMMember": "grants",
    "gcp:artifactregistry/repositoryIamMember:RepositoryIamMember": "grants",
    "gcp:dns/recordSet:RecordSet": "records; the zone is what costs",
    "gcp:billing/budget:Budget": "budgets",
    "random:index/randomPassword:RandomPassword": "no cloud resource",
}
"""Google charges nothing for these."""
NAT: Final = "gcp:compute/routerNat:RouterNat"
BUCKET: Final = "gcp:storage/bucket:Bucket"
_IN_THE_CLUSTER: Final = "kubernetes:"
"""Everything else in a cluster lives on nodes that are paid for already."""
RELEASE: Final = "kubernetes:helm.sh/v3:Release"
_WITH_CLAIMS: Final = ("kubernetes:apps/v1:StatefulSet", "kubernetes:core/v1:PersistentVolumeClaim")


def bill_of(
    resources: Sequence[Recorded],
    usage: Usage,
    *,
    region: str,
    capacity: Capacity | None = None,
    always_on: bool = False,
) -> Bill:
    """Price recorded resources as they would be in a region, with their own `capacity` or another one.

    `always_on` keeps the replicas of the hours of use all month, as if nothing scaled; no simulation counts then.
    """
    pools = node_pools_of(resources, zones=ZONES)
    workloads = workloads_of(resources, pools)
    if always_on:
        usage = replace(usage, simulated={})
        workloads = tuple(_kept(workload, usage) for workload in workloads)
    bill = Bill(region=region, capacity=capacity, workloads=workloads)
    on_average = _gpu_nodes(bill, pools, usage)
    on_average = on_average.plus(_other_nodes(bill, pools))
    for resource in resources:
        _resource(bill, resource, on_average, usage)
    _weights(bill, usage)
    return bill


def _kept(workload: Workload, usage: Usage) -> Workload:
    busy = usage.of(workload.name, minimum=workload.minimum, maximum=workload.maximum).busy
    return replace(workload, minimum=busy)


def _order(workload: Workload, bill: Bill, usage: Usage) -> tuple[PoolKind, ...]:
    if bill.capacity is None:
        return workload.order
    return bought(workload, bill.capacity, fallback=usage.fallback.get(workload.machine_type))


def _way(kind: PoolKind) -> Kind:
    return Kind.SPOT if kind is PoolKind.SPOT else Kind.ON_DEMAND


def _gpu_nodes(bill: Bill, pools: Sequence[NodePool], usage: Usage) -> Cases:
    """Price the nodes of every workload, and return how many there are on average."""
    found: list[NodeHours] = []
    seen: set[str] = set()
    for workload in bill.workloads:
        if not workload.machine_type:
            bill.unpriced.append(
                Unpriced(what=f"nodes of {workload.name}", why="no node pool fits its pods' selector", is_machine=True)
            )
            continue
        order = _order(workload, bill, usage)
        prices = {kind: _known(workload.machine_type, _way(kind), bill.region) for kind in order}
        hours = list(node_hours(workload, usage, order, prices))
        simulated = usage.simulated.get(workload.model)
        if simulated is not None and workload.model not in seen:
            hours += simulated_hours(workload, simulated)
        seen.add(workload.model)
        for one in hours:
            _node_line(bill, one)
        _disk_lines(bill, workload, hours, pools)
        for kind in order:
            if kind is PoolKind.RESERVED:
                bill.unpriced.append(
                    Unpriced(
                        what=f"{workload.name} on its reservation",
                        why="it is paid for whether it is used or not, and how far it reaches nobody said: "
                        "all hours are counted on the nodes that come after it",
                    )
                )
        found += hours
    for pool in pools:
        if pool.gpus and pool.least:
            kept = always(pool.least * MONTH_HOURS)
            _machine_line(bill, pool, kept, f"{pool.machine_type}, kept by the pool", Part.GPU_NODES)
    return all_hours(found).times(1 / MONTH_HOURS)


def _known(item: str, kind: Kind, region: str) -> float | None:
    try:
        return usd(item, kind, region)
    except UnknownPriceError:
        return None


def _node_line(bill: Bill, hours: NodeHours) -> None:
    workload = hours.workload
    name = "on spot" if hours.kind is PoolKind.SPOT else "on demand"
    _add(
        bill,
        part=Part.GPU_NODES,
        what=f"{workload.name}: {workload.machine_type} {name}, {hours.use}",
        resource=workload.name,
        quantity=hours.hours,
        unit=NODE_HOURS,
        item=workload.machine_type,
        way=_way(hours.kind),
        region=bill.region,
        always_on=hours.always_on,
        model=workload.model,
        kind=hours.kind,
        is_machine=True,
    )


def _disk_lines(bill: Bill, workload: Workload, hours: Sequence[NodeHours], pools: Sequence[NodePool]) -> None:
    """Price the disks of a workload's nodes, those that are there all month apart."""
    own = [pool for pool in pools if pool.machine_type == workload.machine_type]
    by_kind = {pool.kind: pool for pool in own}
    boot: dict[tuple[str, bool], Cases] = {}
    ssd: dict[tuple[Kind, bool], Cases] = {}
    for one in hours:
        pool = by_kind.get(one.kind, own[0])
        disk, local = (pool.disk_type, one.always_on), (_way(one.kind), one.always_on)
        boot[disk] = boot.get(disk, NONE).plus(one.hours.times(pool.disk_gib / MONTH_HOURS))
        if pool.local_ssds and not pool.machine_type.startswith(BUNDLED_SSD):
            gib = pool.local_ssds * LOCAL_SSD_GIB
            ssd[local] = ssd.get(local, NONE).plus(one.hours.times(gib / MONTH_HOURS))
    for (disk_type, always_on), quantity in boot.items():
        what = f"{workload.name}: boot disks, {'kept' if always_on else 'used'}"
        _disk(bill, workload, what, quantity, item=disk_type, way=Kind.ON_DEMAND, always_on=always_on)
    for (way, always_on), quantity in ssd.items():
        what = f"{workload.name}: local SSDs, {way}, {'kept' if always_on else 'used'}"
        _disk(bill, workload, what, quantity, item="local-ssd", way=way, always_on=always_on)


def _disk(bill: Bill, workload: Workload, what: str, quantity: Cases, *, item: str, way: Kind, always_on: bool) -> None:
    _add(
        bill,
        part=Part.DISKS,
        what=what,
        resource=workload.name,
        quantity=quantity,
        unit=GIB_MONTHS,
        item=item,
        way=way,
        region=bill.region,
        always_on=always_on,
        model=workload.model,
    )


def _other_nodes(bill: Bill, pools: Sequence[NodePool]) -> Cases:
    """Price the nodes without a GPU, and return how many there are: the fewest are expected."""
    count = NONE
    for pool in pools:
        if pool.gpus:
            continue
        if pool.least is None:
            bill.unpriced.append(
                Unpriced(what=f"nodes of {pool.name}", why="how many there are is not known yet", is_machine=True)
            )
            continue
        numbers = Cases(pool.least, pool.least, pool.least if pool.most is None else pool.most)
        if pool.most is None:
            bill.unpriced.append(Unpriced(what=f"more nodes of {pool.name}", why="the pool has no maximum"))
        _machine_line(bill, pool, numbers.times(MONTH_HOURS), pool.machine_type, Part.SYSTEM_NODES)
        count = count.plus(numbers)
    return count


def _machine_line(bill: Bill, pool: NodePool, hours: Cases, what: str, part: Part) -> None:
    _add(
        bill,
        part=part,
        what=what,
        resource=pool.name,
        quantity=hours,
        unit=NODE_HOURS,
        item=pool.machine_type,
        way=_way(pool.kind),
        region=bill.region,
        always_on=True,
        is_machine=True,
    )
    _add(
        bill,
        part=Part.DISKS,
        what=f"{pool.disk_gib:.0f} GiB {pool.disk_type} a node",
        resource=pool.name,
        quantity=hours.times(pool.disk_gib / MONTH_HOURS),
        unit=GIB_MONTHS,
        item=pool.disk_type,
        way=Kind.ON_DEMAND,
        region=bill.region,
        always_on=True,
    )


def _resource(bill: Bill, resource: Recorded, machines: Cases, usage: Usage) -> None:
    """Price what is no node."""
    if resource.type in FREE or resource.type == POOL:
        return
    if resource.type in PRICED:
        PRICED[resource.type](bill, resource)
    elif resource.type == NAT:
        _nat(bill, resource, machines)
    elif resource.type == BUCKET:
        _bucket(bill, resource, usage)
    elif resource.type == RELEASE:
        _release(bill, resource)
    elif resource.type == "kubernetes:core/v1:Service":
        spec = resource.inputs.get("spec")
        if at(spec, "type") == "LoadBalancer":
            _load_balancer(bill, resource)
    elif resource.type in _WITH_CLAIMS:
        for claim in _claims(resource.inputs):
            _claim(bill, resource, claim)
    elif not resource.type.startswith(_IN_THE_CLUSTER):
        bill.unpriced.append(
            Unpriced(what=f"{resource.name} ({resource.type})", why="this report does not know what it costs")
        )


def _cluster(bill: Bill, resource: Recorded) -> None:
    _all_month(bill, resource, "cluster management", part=Part.CLUSTER, item="gke-cluster")
    if at(resource.inputs, "loggingConfig", "enableComponents"):
        bill.unpriced.append(Unpriced(what="logs", why="how many GiB a month depends on the requests"))
    bill.unpriced.append(
        Unpriced(what="traffic between zones and out of the region", why="how many GiB depends on the requests")
    )


def _all_month(
    bill: Bill,
    resource: Recorded,
    what: str,
    *,
    part: Part,
    item: str,
    quantity: float = MONTH_HOURS,
    unit: str = "hours",
    region: str = GLOBAL,
) -> None:
    """Price what is there all month, whoever asks."""
    _add(
        bill,
        part=part,
        what=what,
        resource=resource.name,
        quantity=always(quantity),
        unit=unit,
        item=item,
        region=region,
        always_on=True,
    )


def _nat(bill: Bill, resource: Recorded, machines: Cases) -> None:
    _add(
        bill,
        part=Part.NETWORK,
        what="NAT, by machine and hour",
        resource=resource.name,
        quantity=Cases(*(min(count, NAT_MACHINES) * MONTH_HOURS for count in machines)),
        unit="machine hours",
        item="cloud-nat-gateway",
        region=GLOBAL,
        always_on=True,
        per=1 / NAT_MACHINES,
    )
    bill.unpriced.append(
        Unpriced(what="images and answers through the NAT", why="how many GB is not known; weights are counted")
    )


def _address(bill: Bill, resource: Recorded) -> None:
    # https://cloud.google.com/vpc/network-pricing: internal addresses cost nothing.
    if at(resource.inputs, "addressType") != "INTERNAL":
        region = str(at(resource.inputs, "region") or bill.region)
        _all_month(bill, resource, "external address", part=Part.NETWORK, item="static-address", region=region)


def _load_balancer(bill: Bill, resource: Recorded) -> None:
    what = "load balancer's forwarding rule"
    _all_month(bill, resource, what, part=Part.NETWORK, item="forwarding-rule", region=bill.region)
    bill.unpriced.append(Unpriced(what="data through the load balancer", why="how many GiB depends on the requests"))


def _release(bill: Bill, resource: Recorded) -> None:
    """Price what a chart makes that costs: claims of disks, and Istio's gateway, which is a load balancer by itself."""
    values = resource.inputs.get("values")
    for claim in _claims(values):
        _claim(bill, resource, claim)
    kind = at(values, "service", "type")
    is_gateway = str(resource.inputs.get("chart", "")).rpartition("/")[2] == "gateway"
    if kind == "LoadBalancer" or (is_gateway and kind is None):
        _load_balancer(bill, resource)


def _claims(value: Any) -> Iterator[float]:
    """Yield the GiB of every claim template or claim, wherever in a document it stands."""
    if isinstance(value, Mapping):
        size = at(value, "resources", "requests", "storage")
        if size is not None:
            yield _gib(str(size))
            return
        for inner in value.values():
            yield from _claims(inner)
    else:
        for inner in each(value):
            yield from _claims(inner)


def _gib(size: str) -> float:
    units = {"Ki": 2**-20, "Mi": 2**-10, "Gi": 1.0, "Ti": 1024.0, "G": 1e9 / 2**30, "T": 1e12 / 2**30}
    unit = next((unit for unit in units if size.endswith(unit)), "")
    return (number(size.removesuffix(unit)) or 0.0) * (units[unit] if unit else 2**-30)


def _claim(bill: Bill, resource: Recorded, gib: float) -> None:
    what = f"claim of {gib:g} GiB"
    _all_month(
        bill,
        resource,
        what,
        part=Part.DISKS,
        item=CLAIM_DISK,
        quantity=gib,
        unit=GIB_MONTHS,
        region=bill.region,
    )


def _zone(bill: Bill, resource: Recorded) -> None:
    _all_month(bill, resource, "DNS zone", part=Part.NETWORK, item="cloud-dns-zone", quantity=1, unit="zones")


def _images(bill: Bill, resource: Recorded) -> None:
    bill.unpriced.append(Unpriced(what=f"images ({resource.name})", why="how many GB is not known"))


def _secret(bill: Bill, resource: Recorded) -> None:
    """Price the secret that somebody may read; it is not made by the stack, but for it."""
    what, item = "one version of a secret", "secret-manager-version"
    _all_month(bill, resource, what, part=Part.CLUSTER, item=item, quantity=1, unit="versions")


def _bucket(bill: Bill, resource: Recorded, usage: Usage) -> None:
    if usage.bucket_gb is None:
        bill.unpriced.append(Unpriced(what=f"what {resource.name} keeps", why="how many GB is not known"))
        return
    _all_month(
        bill,
        resource,
        "weights, each revision once",
        part=Part.WEIGHTS,
        item="cloud-storage-standard",
        quantity=usage.bucket_gb * 1e9 / 2**30,
        unit=GIB_MONTHS,
        region=bill.region,
    )


PRICED: Final[Mapping[str, Callable[[Bill, Recorded], None]]] = {
    "gcp:container/cluster:Cluster": _cluster,
    "gcp:compute/address:Address": _address,
    "gcp:dns/managedZone:ManagedZone": _zone,
    "gcp:artifactregistry/repository:Repository": _images,
    "gcp:secretmanager/secretIamMember:SecretIamMember": _secret,
}


def _weights(bill: Bill, usage: Usage) -> None:
    """Price what starts fetch through the NAT."""
    simulated = set(usage.simulated)
    for workload in bill.workloads:
        known = usage.of(workload.name, minimum=workload.minimum, maximum=workload.maximum)
        if not workload.machine_type or known.from_bucket or workload.maximum == 0:
            continue
        if known.download_gb is None:
            bill.unpriced.append(
                Unpriced(
                    what=f"what a start of {workload.name} fetches",
                    why="how large its weights are, or that they are in its image, is unknown",
                )
            )
            continue
        count = starts(workload, usage, _order(workload, bill, usage))
        if workload.model in usage.simulated:
            # The model's starts are one figure; the first of its workloads bears them.
            expected = usage.simulated[workload.model].starts if workload.model in simulated else 0.0
            simulated.discard(workload.model)
            count = Cases(0.0, expected, count.high)
        if not any(count):
            continue
        _add(
            bill,
            part=Part.WEIGHTS,
            what=f"{workload.name}: {known.download_gb:.1f} GB through the NAT at each start",
            resource=workload.name,
            quantity=count.times(known.download_gb),
            unit="GB",
            item="cloud-nat-data",
            region=GLOBAL,
            always_on=False,
            model=workload.model,
        )


def _add(
    bill: Bill,
    *,
    part: Part,
    what: str,
    resource: str,
    quantity: Cases,
    unit: str,
    item: str,
    region: str,
    always_on: bool,
    way: Kind = Kind.ON_DEMAND,
    model: str = "",
    kind: PoolKind | None = None,
    per: float = 1.0,
    is_machine: bool = False,
) -> None:
    """Add a line, or say why there is none. `per`: which part of the table's price one of `unit` costs."""
    if not any(quantity):
        return
    try:
        rate = usd(item, way, region) * per
    except UnknownPriceError as error:
        bill.unpriced.append(Unpriced(what=f"{resource}: {what}", why=str(error), is_machine=is_machine))
        return
    bill.lines.append(
        Line(
            part=part,
            what=what,
            resource=resource,
            quantity=quantity,
            unit=unit,
            price=price_of(item, way, region),
            rate=rate,
            always_on=always_on,
            model=model,
            kind=kind,
        )
    )


__all__ = ["Bill", "Line", "Part", "Unpriced", "Use", "bill_of"]
