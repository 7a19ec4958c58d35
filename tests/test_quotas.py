import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planning.plan import Plan
from planning.quotas import SYSTEM_DISK_GIB, VOLUMES_GIB, Quota, cpu_quota, quotas, vcpus_of
from planning.schema import Capacity
from preview import Snapshot
from tests.recording import decided


def by_name(plan: Plan) -> dict[str, Quota]:
    found = quotas(plan)
    names = {quota.name: quota for quota in found}
    assert len(names) == len(found)
    return names


def amounts(plan: Plan) -> dict[str, tuple[int, int]]:
    return {name: (quota.amount, quota.amount_without_rollout) for name, quota in by_name(plan).items()}


def test_prod_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """One card each: 10 replicas + 1. Four cards each: 90 % and 10 % of 4 replicas, rounded up: 4 + 1, and 1 + 1.

    One of the 4 is on the floor, which has one more for a rollout as well.
    """
    single, fours, floor = 10, 3 + 1, 1
    most_single, most_fours, most_floor = 10 + 1, (3 + 1) + (1 + 1), 1 + 1
    spot = (most_single + 4 * most_fours, single + 4 * fours)
    gpus = (spot[0] + 4 * most_floor, spot[1] + 4 * floor)
    assert (spot, gpus) == ((35, 26), (43, 30))
    plan = decided("prod", {}, {}, monkeypatch)
    assert amounts(plan) == {
        "PREEMPTIBLE_NVIDIA_A100_80GB_GPUS": spot,
        "NVIDIA_A100_80GB_GPUS": gpus,
        # A replica is on spot or on demand, and never on both.
        "GPUS_ALL_REGIONS": gpus,
        "A2_CPUS": (12 * 43, 12 * 30),
        "CPUS": (7 * 4, 6 * 4),
        "CPUS_ALL_REGIONS": (12 * 43 + 28, 12 * 30 + 24),
        "SSD_TOTAL_GB": (100 * (11 + 6 + 2 + 7) + 52, 100 * (10 + 4 + 1 + 6) + 52),
        "LOCAL_SSD_TOTAL_GB_PER_VM_FAMILY": (375 * 43, 375 * 30),
        "INSTANCES": (11 + 6 + 2 + 7, 10 + 4 + 1 + 6),
    }
    assert {quota.region for quota in quotas(plan) if not quota.name.endswith("ALL_REGIONS")} == {"us-east5"}
    assert {quota.name for quota in quotas(plan) if quota.region is None} == {"GPUS_ALL_REGIONS", "CPUS_ALL_REGIONS"}


def test_dev_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """One replica, one more in a rollout; no local SSD in the machine, so 150 GB of boot disk; spot only."""
    assert amounts(decided("dev", {}, {}, monkeypatch)) == {
        "PREEMPTIBLE_NVIDIA_A100_GPUS": (2, 1),
        "GPUS_ALL_REGIONS": (2, 1),
        "A2_CPUS": (24, 12),
        "CPUS": (28, 24),
        "CPUS_ALL_REGIONS": (52, 36),
        "SSD_TOTAL_GB": (150 * 2 + 100 * 7 + 52, 150 + 100 * 6 + 52),
        "INSTANCES": (2 + 7, 1 + 6),
    }


def test_the_arithmetic_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = by_name(decided("prod", {}, {}, monkeypatch))["NVIDIA_A100_80GB_GPUS"]
    assert "11 x 1 (a2-ultragpu-1g) + 6 x 4 (a2-ultragpu-4g) + 2 x 4 (a2-ultragpu-4g floor) = 43, or 30 without" in (
        gpus.why
    )
    assert "spot and on-demand each in full" in gpus.why
    assert "each in full" not in by_name(decided("dev", {}, {}, monkeypatch))["PREEMPTIBLE_NVIDIA_A100_GPUS"].why


def test_what_google_is_not_known_to_count_is_not_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    found = by_name(decided("prod", {}, {}, monkeypatch))
    assert {name: quota.certain for name, quota in found.items() if quota.certain != quota.amount} == {
        "A2_CPUS": 0,
        "CPUS_ALL_REGIONS": 28,
    }


def test_a_version_asleep_counts_only_for_the_while_that_it_may_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = {"models[1].rollout.versions[0].weight": "100", "models[1].rollout.versions[1].weight": "0"}
    plan = decided("prod", {}, weights, monkeypatch)
    assert amounts(plan)["GPUS_ALL_REGIONS"] == (11 + 4 * ((3 + 1) + (1 + 1) + (1 + 1)), 10 + 4 * 4)


def test_the_disks_are_those_of_the_program(dev: Snapshot) -> None:
    assert dev.named("cluster-system").inputs["nodeConfig"]["diskSizeGb"] == SYSTEM_DISK_GIB
    values = dev.named("monitoring-release").inputs["values"]
    claims = [
        values["prometheus"]["prometheusSpec"]["storageSpec"]["volumeClaimTemplate"],
        values["alertmanager"]["alertmanagerSpec"]["storage"]["volumeClaimTemplate"],
    ]
    sizes = [claim["spec"]["resources"]["requests"]["storage"] for claim in claims]
    assert sum(int(size.removesuffix("Gi")) for size in sizes) == VOLUMES_GIB


@pytest.mark.parametrize(
    ("machine_type", "quota", "vcpus"),
    [
        ("e2-standard-4", "CPUS", 4),
        ("e2-medium", "CPUS", 2),
        ("e2-custom-6-12288", "CPUS", 6),
        ("n1-highmem-16", "CPUS", 16),
        ("n2-standard-8", "N2_CPUS", 8),
        ("n2d-standard-8", "N2D_CPUS", 8),
        ("c3d-standard-8-lssd", "CPUS_PER_VM_FAMILY", 8),
    ],
)
def test_cores_of_system_machines(machine_type: str, quota: str, vcpus: int) -> None:
    assert (cpu_quota(machine_type), vcpus_of(machine_type)) == (quota, vcpus)


def test_the_system_machines_have_the_quota_of_their_family(monkeypatch: pytest.MonkeyPatch) -> None:
    n2 = {"systemMachineType": "n2-standard-8", "systemMinNodes": "1", "systemMaxNodes": "1"}
    found = amounts(decided("dev", n2, {}, monkeypatch))
    assert "CPUS" not in found
    # A regional cluster begins with three nodes, however few it keeps.
    assert found["N2_CPUS"] == (3 * 8, 3 * 8)


CARDS = st.sampled_from(["nvidia-tesla-a100", "nvidia-a100-80gb"])


@st.composite
def models(draw: st.DrawFn) -> list[dict[str, Any]]:
    metrics = {"requests": "r_total", "latencySeconds": "l_seconds"}
    return [
        {
            "name": f"m{number}",
            "engine": "custom",
            "image": "own:1",
            "healthPath": "/health",
            "metrics": metrics | {"queue": "waiting", "inFlight": "running"},
            "gpu": {"type": draw(CARDS), "tensorParallel": draw(st.sampled_from([1, 2, 4, 8]))},
            "scaling": {"max": draw(st.integers(1, 9)), "queuePerReplica": 4},
            "rollout": {"versions": _versions(draw(st.integers(0, 100)))},
        }
        for number in range(draw(st.integers(1, 3)))
    ]


def _versions(weight: int) -> list[dict[str, Any]]:
    return [{"name": "stable", "weight": weight}, {"name": "canary", "weight": 100 - weight, "image": "own:2"}]


def planned(declared: list[dict[str, Any]], capacity: str) -> dict[str, Quota]:
    with pytest.MonkeyPatch.context() as patch:
        return by_name(decided("dev", {"capacity": capacity, "models": json.dumps(declared)}, {}, patch))


PROPERTY = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@PROPERTY
@given(declared=models(), capacity=st.sampled_from([str(kind) for kind in Capacity]), data=st.data())
def test_more_replicas_need_no_less_of_anything(
    declared: list[dict[str, Any]], capacity: str, data: st.DataObject
) -> None:
    before = planned(declared, capacity)
    grown = data.draw(st.sampled_from(declared))
    grown["scaling"]["max"] += data.draw(st.integers(1, 5))
    after = planned(declared, capacity)
    assert set(before) == set(after)
    for name, quota in before.items():
        assert quota.amount <= after[name].amount
        assert quota.amount_without_rollout <= after[name].amount_without_rollout
    # Not more either, perhaps: each version's share is rounded up. But every replica has its GPUs.
    declared_gpus = sum(model["scaling"]["max"] * model["gpu"]["tensorParallel"] for model in declared)
    assert after["GPUS_ALL_REGIONS"].amount_without_rollout >= declared_gpus


@PROPERTY
@given(declared=models())
def test_each_kind_of_capacity_needs_its_own_gpus(declared: list[dict[str, Any]]) -> None:
    spot, on_demand, both = (planned(declared, kind) for kind in ("spot", "on-demand", "spot-with-fallback"))
    assert not [name for name in spot if name.startswith("NVIDIA_")]
    assert not [name for name in on_demand if name.startswith("PREEMPTIBLE_")]
    assert both.keys() == spot.keys() | on_demand.keys()
    for name, quota in both.items():
        assert all(quota.amount == one[name].amount for one in (spot, on_demand) if name in one)


@PROPERTY
@given(declared=models(), capacity=st.sampled_from([str(kind) for kind in Capacity]))
def test_the_parts_add_up(declared: list[dict[str, Any]], capacity: str) -> None:
    found = planned(declared, capacity)
    for quota in found.values():
        assert 0 < quota.amount_without_rollout <= quota.amount
        assert 0 <= quota.certain <= quota.amount
        assert f"{quota.amount:,}" in quota.why
    by_kind = [quota.amount for name, quota in found.items() if name.endswith("_GPUS")]
    assert sum(by_kind) == found["GPUS_ALL_REGIONS"].amount * (2 if capacity == "spot-with-fallback" else 1)
    assert found["A2_CPUS"].amount == 12 * found["GPUS_ALL_REGIONS"].amount
    assert found["CPUS_ALL_REGIONS"].amount == found["A2_CPUS"].amount + found["CPUS"].amount
