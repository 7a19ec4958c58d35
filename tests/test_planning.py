"""The decisions, one by one, on plain values."""

import math
import re
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.gpu_machines import GpuMachine, GpuType, gpu_machines, machines_with
from planning.images import resolve
from planning.nodes import allocatable_cpu, allocatable_disk_gib, allocatable_memory_gib
from planning.pools import (
    DRIVER_AFFINITY,
    DriverInstallation,
    Pool,
    compute_class_for,
    falls_back,
    pools_for,
    pools_without_driver,
    selects,
)
from planning.schema import Capacity, Model, Rollout, Version
from planning.serving import floors, replicas_of, share
from tests.recording import ROOT, decided

HERE = {"name": "shop", "project": "acme", "region": "us-east5"}
DIGEST = "@sha256:" + "0" * 64


def machine(machine_type: str = "a2-ultragpu-4g", region: str = "us-east5") -> GpuMachine:
    [found] = [m for m in gpu_machines() if (m.machine_type, m.region) == (machine_type, region)]
    return found


# The catalogue


def test_every_machine_is_in_zones_of_its_region() -> None:
    for row in gpu_machines():
        assert row.zones
        assert all(zone.startswith(f"{row.region}-") for zone in row.zones), row


def test_a_machine_type_is_the_same_machine_everywhere() -> None:
    shapes: dict[str, set[object]] = {}
    for row in gpu_machines():
        shape = (row.gpu_type, row.gpus, row.gpu_memory_gib, row.vcpus, row.memory_gib, row.local_ssd_gib)
        shapes.setdefault(row.machine_type, set()).add(shape)
    assert len(shapes) == 9
    assert all(len(different) == 1 for different in shapes.values())


def test_the_reason_for_prods_region_is_what_the_catalogue_says() -> None:
    """The comment in the stack file is arithmetic on the price table; a new table must change it."""
    [comment] = re.findall(r"((?:  # .*\n)+)  gcp:region", (ROOT / "Pulumi.prod.yaml").read_text(encoding="utf-8"))
    comment = comment.replace("\n  #", "")
    large = {m.region: m for m in machines_with(GpuType.A100_80GB, 1)}
    small = {m.region: m for m in machines_with(GpuType.A100_40GB, 1)}
    spot_large = {region: m.spot_usd_per_hour for region, m in large.items()}
    spot_small = {region: m.spot_usd_per_hour for region, m in small.items()}
    assert min(spot_large, key=lambda region: spot_large[region] or 9) == "us-east5"
    assert min(spot_small, key=lambda region: spot_small[region] or 9) == "us-west4"
    assert len(large["us-east5"].zones) == 2
    assert len(small["us-west4"].zones) == 1
    prices = (
        spot_large["us-east5"],
        spot_small["us-west4"],
        large["us-east5"].on_demand_usd_per_hour,
        large["us-central1"].on_demand_usd_per_hour,
        small["us-central1"].on_demand_usd_per_hour,
    )
    for price in prices:
        assert f"{price:.2f}" in comment
    # Normal load: four large cards and three that would be small ones in us-central1.
    spot = (
        7 * (spot_large["us-east5"] or 0) - 4 * (spot_large["us-central1"] or 0) - 3 * (spot_small["us-central1"] or 0)
    )
    on_demand = 7 * (prices[2] or 0) - 4 * (prices[3] or 0) - 3 * (prices[4] or 0)
    assert f"{on_demand / (on_demand - spot):.0%}".replace("%", " %") in comment


# Nodes


def test_the_formulas_give_googles_example_of_a_node() -> None:
    """4 vCPUs, 16 GB and a boot disk of 100 GB, as the page on node sizes shows them."""
    assert allocatable_cpu(4) == pytest.approx(3.92)
    assert allocatable_memory_gib(16) == pytest.approx(13498416 / 1024**2, rel=0.01)
    assert allocatable_disk_gib(100, 0) == pytest.approx(47060071478 / 1024**3, rel=0.01)


# Images


@pytest.mark.parametrize(
    ("written", "reference", "repository", "upstream"),
    [
        ("arr:1", "us-east5-docker.pkg.dev/acme/shop-images/arr:1", "shop-images", None),
        ("team/arr:1", "us-east5-docker.pkg.dev/acme/shop-images/team/arr:1", "shop-images", None),
        ("ghcr.io/a/b:1", "us-east5-docker.pkg.dev/acme/shop-ghcr-io/a/b:1", "shop-ghcr-io", "ghcr.io"),
        (f"quay.io/a/b{DIGEST}", f"us-east5-docker.pkg.dev/acme/shop-quay-io/a/b{DIGEST}", "shop-quay-io", "quay.io"),
        ("us-docker.pkg.dev/p/r/i:1", "us-docker.pkg.dev/p/r/i:1", None, None),
        ("gcr.io/p/i:1", "gcr.io/p/i:1", None, None),
        (
            "localhost:5000/i:1",
            "us-east5-docker.pkg.dev/acme/shop-localhost-5000/i:1",
            "shop-localhost-5000",
            "localhost:5000",
        ),
    ],
)
def test_images_come_through_artifact_registry(
    written: str, reference: str, repository: str | None, upstream: str | None
) -> None:
    image = resolve(written, **HERE)
    assert (image.reference, image.repository, image.upstream) == (reference, repository, upstream)
    assert image.pinned is ("@sha256:" in written)


@pytest.mark.parametrize("written", ["arr", "ghcr.io/a/b", "a b:1", "", "a:1@sha256:12"])
def test_what_is_no_image_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"is not an image reference|neither a tag nor a digest"):
        resolve(written, **HERE)


# Pools


def gpu_pools(reservation: str | None = None, *, flex_start: bool = False) -> tuple[Pool, ...]:
    return pools_for(
        machine("a2-ultragpu-1g"),
        zones=("us-east5-a",),
        floor_nodes=0,
        elastic_nodes=3,
        reservation=reservation,
        flex_start=flex_start,
    )


def spot_pool() -> Pool:
    return next(pool for pool in gpu_pools() if pool.spot)


def test_capacity_orders_the_pools_and_makes_none() -> None:
    pools = gpu_pools()
    orders = {
        capacity: compute_class_for(pools, capacity, fallback=falls_back(capacity, [None])).priorities
        for capacity in Capacity
    }
    assert orders == {
        Capacity.SPOT: ("a2-ultragpu-1g-spot",),
        Capacity.ON_DEMAND: ("a2-ultragpu-1g-on-demand",),
        Capacity.SPOT_WITH_FALLBACK: ("a2-ultragpu-1g-spot", "a2-ultragpu-1g-on-demand"),
    }


def test_what_is_paid_for_comes_first_and_what_may_be_long_in_coming_last() -> None:
    pools = gpu_pools(reservation="ours", flex_start=True)
    for capacity in Capacity:
        order = compute_class_for(pools, capacity, fallback=True).priorities
        assert order[0] == "a2-ultragpu-1g-reserved"
        assert order[-1] == "a2-ultragpu-1g-flex-start"
        assert not any(name.endswith("floor") for name in order)


def test_a_model_may_want_a_fallback_or_none_whatever_the_stack_says() -> None:
    assert falls_back(Capacity.SPOT, [None, True])
    assert not falls_back(Capacity.SPOT_WITH_FALLBACK, [False])
    assert not falls_back(Capacity.SPOT, [])
    with pytest.raises(ValueError, match="share"):
        falls_back(Capacity.SPOT, [True, False])


@given(
    floor=st.integers(0, 12),
    cuts=st.lists(st.integers(0, 100), max_size=3),
)
def test_a_floor_is_shared_out_whole_and_by_weight(floor: int, cuts: list[int]) -> None:
    ends = [0, *sorted(cuts), 100]
    weights = [after - before for before, after in pairwise(ends)]
    versions = tuple(Version(name=f"v{number}", weight=weight) for number, weight in enumerate(weights))
    declared = model(min=floor, max=12, baseOnDemandReplicas=floor)
    shared = floors(declared.model_copy(update={"rollout": Rollout(versions=versions)}))
    assert sum(shared.values()) == floor
    for version in versions:
        exact = floor * version.weight / 100
        assert math.floor(exact) <= shared[version.name] <= math.ceil(exact)
        assert shared[version.name] <= share(floor, version.weight)


@pytest.mark.parametrize("installation", [DriverInstallation.DEFAULT, DriverInstallation.LATEST])
def test_the_daemonset_leaves_nodes_with_gkes_own_driver_alone(installation: DriverInstallation) -> None:
    spot = spot_pool()
    assert selects(DRIVER_AFFINITY, spot.node_labels)
    managed = replace(spot, driver_installation=installation)
    assert not selects(DRIVER_AFFINITY, managed.node_labels)
    assert pools_without_driver([spot, managed]) == []


def test_a_pool_that_no_driver_reaches_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planning.plan.pools_without_driver", lambda pools: [pool.name for pool in pools])
    with pytest.raises(AssertionError, match=r"no node of \['a2-ultragpu-1g-floor'"):
        decided("prod", {}, {}, monkeypatch)


def test_a_pool_without_gpu_labels_is_one_that_no_driver_reaches(monkeypatch: pytest.MonkeyPatch) -> None:
    spot = spot_pool()
    monkeypatch.setattr(type(spot), "node_labels", property(lambda _self: {}))
    assert pools_without_driver([spot]) == [spot.name]


def test_a_pool_holds_every_replica_and_one_more_a_version(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = {pool.name: pool.max_nodes for pool in decided("prod", {}, {}, monkeypatch).pools}
    assert nodes == {
        "a2-ultragpu-1g-floor": 1,
        "a2-ultragpu-1g-spot": 11,
        "a2-ultragpu-1g-on-demand": 11,
        # One of the stable version's four is on the floor, where a rollout adds one too.
        "a2-ultragpu-4g-floor": 1 + 1,
        "a2-ultragpu-4g-spot": 3 + 1 + 1 + 1,
        "a2-ultragpu-4g-on-demand": 3 + 1 + 1 + 1,
    }


# Versions


@given(whole=st.integers(0, 100), weights=st.lists(st.integers(1, 100), min_size=1, max_size=6))
def test_shares_cover_the_whole_and_leave_no_version_with_traffic_out(whole: int, weights: list[int]) -> None:
    scaled = [weight * 100 // sum(weights) for weight in weights]
    scaled[0] += 100 - sum(scaled)
    shares = [share(whole, weight) for weight in scaled]
    assert sum(shares) >= whole
    assert sum(shares) < whole + len(weights)
    assert all(part > 0 for part, weight in zip(shares, scaled, strict=True) if whole and weight)


def model(**scaling: object) -> Model:
    return Model.model_validate(
        {
            "name": "m",
            "repository": "a/b",
            "gpu": {"type": "nvidia-a100-80gb"},
            "scaling": {"max": 4, "queuePerReplica": 4} | scaling,
        }
    )


def test_zero_is_a_value() -> None:
    """Scale to zero dies of `minimum or 1`."""
    assert replicas_of(model(min=0), Version(name="stable", weight=100)).minimum == 0


@given(minimum=st.integers(0, 4), weight=st.integers(0, 100))
def test_a_version_has_traffic_or_is_paused(minimum: int, weight: int) -> None:
    versions = (Version(name="v", weight=weight), Version(name="other", weight=100 - weight))
    declared = model(min=minimum).model_copy(update={"rollout": Rollout(versions=versions)})
    replicas = replicas_of(declared, versions[0])
    assert replicas.paused is (weight == 0)
    assert 0 <= replicas.minimum <= replicas.maximum
    assert (replicas.minimum == 0) is (minimum == 0 or weight == 0)
