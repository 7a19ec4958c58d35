"""What a stack costs: against sums done by hand, against itself in other words, and over every stack one may write."""

import json
import math
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as st

import cost_stack
from catalog.gpu_machines import gpu_machines
from catalog.prices import BRIEF, Kind, usd
from planning.cost import pricing
from planning.cost.cases import Cases
from planning.cost.comparison import Way, break_evens, regions, ways
from planning.cost.document import cost_of
from planning.cost.pricing import Part, bill_of
from planning.cost.recorded import UNKNOWN, Recorded, recorded
from planning.cost.usage import Usage, WorkloadUsage, usage_of
from planning.cost.workloads import POOL, bought, node_pools_of, workloads_of, workloads_of_plan
from planning.plan import Plan
from planning.pools import PoolKind
from planning.refusal import Refusal
from planning.schema import Capacity
from preview import Snapshot, cost_text
from preview.cli import run as run_preview
from preview.cost_page import page
from preview.document import document
from settings import CostSettings
from tests.recording import ROOT, Record, decided
from tests.stacks import decided_of, is_accepted, recorded_all, stacks

TODAY = date(2026, 9, 1)
"""Less than 60 days after the machines' prices were read."""


def states(snapshot: Snapshot) -> list[dict[str, Any]]:
    return [step["newState"] for step in document(snapshot)["steps"]]


def resources(snapshot: Snapshot) -> tuple[Recorded, ...]:
    return recorded(states(snapshot))


def plan_of(stack: str, monkeypatch: pytest.MonkeyPatch, config: Mapping[str, str] | None = None) -> Plan:
    return decided(stack, config or {}, {}, monkeypatch)


# A platform that is small enough to be reckoned by hand


def a_pool(kind: PoolKind, machine: str = "a2-ultragpu-1g", gpus: int = 1, **more: Any) -> Recorded:
    config: dict[str, Any] = {
        "machineType": machine,
        "diskSizeGb": 100.0,
        "diskType": "pd-balanced",
        "labels": {"cloud.google.com/compute-class": machine},
        "guestAccelerators": [{"type": "nvidia-a100-80gb", "count": float(gpus)}],
    }
    if kind is PoolKind.SPOT:
        config["spot"] = True
    scaling = {"totalMinNodeCount": 0.0, "totalMaxNodeCount": 30.0}
    name = f"{machine}-{kind}"
    return Recorded(type=POOL, name=name, inputs={"name": name, "nodeConfig": config, "autoscaling": scaling} | more)


def a_class(*kinds: PoolKind, machine: str = "a2-ultragpu-1g") -> Recorded:
    order = [{"nodepools": [f"{machine}-{kind}"]} for kind in kinds]
    return Recorded(
        type="kubernetes:cloud.google.com/v1:ComputeClass",
        name="class",
        inputs={"metadata": {"name": machine}, "spec": {"priorities": order}},
    )


def a_model(least: int, most: int, machine: str = "a2-ultragpu-1g", gpus: int = 1) -> list[Recorded]:
    template = {
        "metadata": {"labels": {"app": "m"}},
        "spec": {
            "nodeSelector": {"cloud.google.com/compute-class": machine},
            "containers": [{"resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}],
        },
    }
    scaling = {
        "scaleTargetRef": {"name": "m-stable"},
        "minReplicaCount": float(least),
        "maxReplicaCount": float(most),
        "cooldownPeriod": 900.0,
        "advanced": {
            "horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 900.0}}}
        },
    }
    return [
        Recorded(
            type="kubernetes:apps/v1:Deployment",
            name="m-stable",
            inputs={"metadata": {"name": "m-stable"}, "spec": {"replicas": 0.0, "template": template}},
        ),
        Recorded(
            type="kubernetes:keda.sh/v1alpha1:ScaledObject",
            name="s",
            inputs={"metadata": {"name": "s"}, "spec": scaling},
        ),
    ]


def a_platform(
    least: int, most: int, *kinds: PoolKind, machine: str = "a2-ultragpu-1g", gpus: int = 1
) -> list[Recorded]:
    pools = [a_pool(kind, machine, gpus) for kind in (PoolKind.SPOT, PoolKind.ON_DEMAND)]
    return [*pools, a_class(*kinds, machine=machine), *a_model(least, most, machine, gpus)]


def a_usage(busy: int, **more: Any) -> Usage:
    figures = {"hours_a_day": 8.0, "days_a_month": 25.0, "on_demand_share": 0.1, "losses_per_day": 0.0} | more
    return Usage(workloads={"m-stable": WorkloadUsage(busy=busy)}, **figures)


SPOT, ON_DEMAND = PoolKind.SPOT, PoolKind.ON_DEMAND


def test_three_replicas_on_spot_by_hand() -> None:
    """Eight hours on 25 days: each day 8 h of use, 15 idle minutes, 10 minutes of an empty node, for three replicas.

    (8 + 15/60 + 10/60) x 25 x 3 = 631.25 node hours; x 1.908958 = 1,205.03 in us-east5.
    Disks: 100 GiB x 631.25 / 730 = 86.47 GiB months x 0.10 = 8.65. At the most ten all month: 7,300 h x 1.908958 =
    13,935.39, and 1,000 GiB months x 0.10 = 100. With nobody asking: nothing.
    """
    bill = bill_of(a_platform(0, 10, SPOT), a_usage(3), region="us-east5")
    assert cents(bill.usd) == (0.0, 1213.68, 14035.39)
    nodes = sum(line.usd.expected for line in bill.lines if line.part is Part.GPU_NODES)
    assert round(nodes, 2) == 1205.03
    assert bill.always_on_usd == 0


def test_on_demand_in_place_of_spot_by_hand() -> None:
    """One replica kept all month, a tenth of it on demand: 657 h x 1.908958 + 73 h x 5.564915 = 1,660.42.

    At the least all on spot, 730 x 1.908958 = 1,393.54; at the most on demand, 4,062.39. Disks: 100 GiB, 10.00.
    """
    bill = bill_of(a_platform(1, 1, SPOT, ON_DEMAND), a_usage(1), region="us-east5")
    assert cents(bill.usd) == (1403.54, 1670.42, 4072.39)
    assert round(bill.always_on_usd, 2) == 1670.42


def test_losses_turn_served_hours_into_starting_ones_and_fetch_the_weights_again() -> None:
    """Two losses a day of a node whose replica takes half an hour to start: 1/24 of 730 hours, 30.42 of them.

    2 x 730 / 24 = 60.83 starts x 100 GB x 0.045 = 273.75.
    """
    usage = a_usage(1, losses_per_day=2.0)
    known = WorkloadUsage(busy=1, cold_start=Cases(600, 1800, 3600), download_gb=100.0)
    bill = bill_of(a_platform(1, 1, SPOT), replace(usage, workloads={"m-stable": known}), region="us-east5")
    by_use = {
        line.what.rpartition(", ")[2]: line.quantity.expected for line in bill.lines if line.part is Part.GPU_NODES
    }
    assert {use: round(hours, 2) for use, hours in by_use.items()} == {"kept": 699.58, "starting again": 30.42}
    [weights] = [line for line in bill.lines if line.part is Part.WEIGHTS]
    assert round(weights.usd.expected, 2) == 273.75


def test_prod_by_hand(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line of prod as it stands, in us-east5: spot 1.908958 and 7.63583 an hour, on demand 5.564915 and 22.25966.

    arr-coc: 631.25 node hours as above, a tenth on demand; Llama's floor 730 hours on demand; its canary 730, a tenth
    on demand. Two e2-standard-4 at 0.134023. Disks 0.10 a GiB and month. NAT 0.0014 a machine and hour. A start of the
    canary fetches 141.1 GB at 0.045: 730 / 24 x 0.9 = 27.375 of them.
    """
    arr_coc = 631.25 * (0.9 * 1.908958 + 0.1 * 5.564915)
    llama = 730 * 22.25966 + 730 * (0.9 * 7.63583 + 0.1 * 22.25966)
    system = 2 * 730 * 0.134023
    disks = 0.10 * (631.25 / 730 * 100 + 100 + 100 + 200 + 52)
    nat = 0.0014 * 730 * (2 + 2 + 631.25 / 730)
    weights = 27.375 * 141.10741 * 0.045
    whole = arr_coc + llama + system + disks + nat + weights + 0.10 * 730 + 0.20 + 0.06
    plan = plan_of("prod", monkeypatch)
    bill = bill_of(resources(record("prod")), usage_of(plan), region="us-east5")
    assert bill.usd.expected == pytest.approx(whole, abs=0.01)
    assert bill.is_whole


def cents(found: Cases) -> tuple[float, ...]:
    return tuple(round(value, 2) for value in found)


# What is read from the resources is what the plan says


@tries(max_examples=3, deadline=None)
@given(st.lists(stacks(careful=True).filter(is_accepted), min_size=8, max_size=8))
def test_resources_and_plan_tell_of_the_same_workloads(several: list[Any]) -> None:
    for config, program in zip(several, recorded_all(several), strict=True):
        plan, found = decided_of(config), resources(program)
        there = workloads_of(found, node_pools_of(found, zones=3))
        assert sorted(there, key=lambda one: one.name) == sorted(workloads_of_plan(plan), key=lambda one: one.name)
        bill = bill_of(found, usage_of(plan), region=plan.stack.region)
        assert bill.usd.low <= bill.usd.expected + 1e-6
        assert bill.usd.expected <= bill.usd.high + 1e-6
        assert not [found for found in bill.unpriced if "does not know" in found.why]
        for capacity in Capacity:
            other = workloads_of_plan(decided_of(config | {"capacity": str(capacity)}))
            fallback = usage_of(plan).fallback
            orders = {one.name: bought(one, capacity, fallback=fallback[one.machine_type]) for one in there}
            assert orders == {one.name: one.order for one in other}


@pytest.mark.parametrize("stack", ["dev", "prod"])
@pytest.mark.parametrize("capacity", list(Capacity))
def test_another_capacity_costs_what_a_recording_with_it_costs(
    stack: str, capacity: Capacity, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, other = plan_of(stack, monkeypatch), plan_of(stack, monkeypatch, {"capacity": str(capacity)})
    region = plan.stack.region
    toggled = bill_of(resources(record(stack)), usage_of(plan), region=region, capacity=capacity)
    there = bill_of(resources(record(stack, config={"capacity": str(capacity)})), usage_of(other), region=region)
    assert cents(toggled.usd) == cents(there.usd)


def test_a_model_that_never_falls_back_does_not_either_when_all_others_would(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = {"models[0].scaling.dynamicOnDemandFallback": "false"}
    plan = decided("prod", {}, paths, monkeypatch)
    bill = bill_of(
        resources(record("prod", paths=paths)), usage_of(plan), region="us-east5", capacity=Capacity.SPOT_WITH_FALLBACK
    )
    kinds = {line.kind for line in bill.lines if line.model == "arr-coc-0-1" and line.kind}
    assert kinds == {SPOT}


@pytest.mark.parametrize(
    ("key", "value"), [("hoursADay", 2), ("daysAMonth", 3), ("onDemandShare", 0.5), ("lossesPerDay", 5)]
)
def test_each_part_of_the_setting_usage_changes_what_is_expected_and_nothing_else(
    key: str, value: float, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of("prod", monkeypatch, {"usage": json.dumps({key: value})})
    before, after = (
        bill_of(resources(record("prod")), usage_of(found), region="us-east5").usd
        for found in (plan_of("prod", monkeypatch), plan)
    )
    assert after.expected != pytest.approx(before.expected)
    assert after.low == before.low
    # The high case reckons with three times the losses that are expected.
    assert (after.high == before.high) is (key != "lossesPerDay")


# Never cheaper for more


@given(
    least=st.integers(0, 3),
    busy=st.integers(1, 6),
    more=st.integers(0, 4),
    hours=st.floats(0, 24),
    days=st.floats(0, 30),
    share=st.floats(0, 1),
    kinds=st.sampled_from([(SPOT,), (ON_DEMAND,), (SPOT, ON_DEMAND)]),
    data=st.data(),
)
def test_more_replicas_hours_or_days_never_cost_less(  # noqa: PLR0917 - one a figure
    least: int, busy: int, more: int, hours: float, days: float, share: float, kinds: tuple[PoolKind, ...], data: Any
) -> None:
    usage = a_usage(busy, hours_a_day=hours, days_a_month=days, on_demand_share=share)
    most = max(least, busy) + more
    before = bill_of(a_platform(least, most, *kinds), usage, region="us-east5").usd
    longer = data.draw(st.floats(hours, 24))
    later = data.draw(st.floats(days, 30))
    for after in (
        bill_of(a_platform(least, most, *kinds), replace(usage, hours_a_day=longer), region="us-east5").usd,
        bill_of(a_platform(least, most, *kinds), replace(usage, days_a_month=later), region="us-east5").usd,
        bill_of(a_platform(least + 1, most + 1, *kinds), usage, region="us-east5").usd,
        bill_of(a_platform(least, most + 1, *kinds), usage, region="us-east5").usd,
        bill_of(
            a_platform(least, most + 1, *kinds),
            replace(usage, workloads={"m-stable": WorkloadUsage(busy=busy + 1)}),
            region="us-east5",
        ).usd,
    ):
        assert all(now >= then - 1e-6 for now, then in zip(after, before, strict=True)), (before, after)


@given(factor=st.floats(1, 100), least=st.integers(0, 2), busy=st.integers(1, 3))
def test_a_higher_price_never_costs_less(factor: float, least: int, busy: int) -> None:
    platform = a_platform(least, 4, SPOT, ON_DEMAND)
    before = bill_of(platform, a_usage(busy), region="us-east5").usd
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pricing, "usd", lambda item, way, region: usd(item, way, region) * factor)
        after = bill_of(platform, a_usage(busy), region="us-east5").usd
    assert after.expected == pytest.approx(before.expected * factor)
    assert after.low >= before.low
    assert after.high >= before.high


@pytest.mark.parametrize("machine", gpu_machines(), ids=lambda one: f"{one.machine_type} {one.region}")
def test_spot_is_cheaper_exactly_where_the_table_says_so(machine: Any) -> None:
    platform = a_platform(0, 2, SPOT, machine=machine.machine_type, gpus=machine.gpus)
    spot, on_demand = (
        bill_of(platform, a_usage(1), region=machine.region, capacity=capacity)
        for capacity in (Capacity.SPOT, Capacity.ON_DEMAND)
    )
    prices = machine.spot_usd_per_hour, machine.on_demand_usd_per_hour
    if None in prices:
        assert not (spot.is_whole and on_demand.is_whole)
        return
    nodes = [sum(line.usd.expected for line in bill.lines if line.part is Part.GPU_NODES) for bill in (spot, on_demand)]
    assert (nodes[0] < nodes[1]) is (machine.spot_usd_per_hour < machine.on_demand_usd_per_hour)


# Nothing is priced as nothing


def test_every_resource_of_the_stacks_is_priced_free_or_listed(record: Record) -> None:
    with_bucket = record("prod", config={"weightsFrom": "bucket"})
    for program in (record("dev"), record("prod"), with_bucket):
        types = {resource.type for resource in resources(program) if not resource.type.startswith("kubernetes:")}
        known = {*pricing.FREE, *pricing.PRICED, POOL, pricing.NAT, pricing.BUCKET}
        assert types <= known, types - known


def test_what_nobody_heard_of_is_listed() -> None:
    bill = bill_of(
        [Recorded(type="gcp:redis/instance:Instance", name="cache", inputs={})], a_usage(1), region="us-east5"
    )
    assert [found.what for found in bill.unpriced] == ["cache (gcp:redis/instance:Instance)"]


def test_machines_without_a_known_price_are_listed_and_the_sum_says_that_it_is_a_part() -> None:
    machine = next(one for one in gpu_machines() if one.spot_usd_per_hour is None)
    platform = a_platform(1, 1, SPOT, machine=machine.machine_type, gpus=machine.gpus)
    bill = bill_of(platform, a_usage(1), region=machine.region)
    assert not bill.is_whole
    [missing] = [found for found in bill.unpriced if found.is_machine]
    assert machine.machine_type in missing.what
    assert "unknown" in missing.why
    assert not [line for line in bill.lines if line.part is Part.GPU_NODES]


def test_pods_whose_nodes_nobody_makes_are_listed() -> None:
    bill = bill_of(a_model(1, 1), a_usage(1), region="us-east5")
    assert [found.what for found in bill.unpriced if found.is_machine] == ["nodes of m-stable"]


def test_a_reservation_is_said_to_be_paid_for_elsewhere() -> None:
    reserved = a_pool(PoolKind.RESERVED)
    affinity = {"reservationAffinity": {"consumeReservationType": "SPECIFIC_RESERVATION"}}
    config = {**reserved.inputs["nodeConfig"], **affinity}
    reserved = replace(reserved, inputs={**reserved.inputs, "nodeConfig": config})
    platform = [reserved, a_pool(SPOT), a_class(PoolKind.RESERVED, SPOT), *a_model(1, 1)]
    bill = bill_of(platform, a_usage(1), region="us-east5")
    assert bill.workloads[0].order == (PoolKind.RESERVED, SPOT)
    assert "m-stable on its reservation" in [found.what for found in bill.unpriced]
    assert {line.kind for line in bill.lines if line.kind} == {SPOT}


@pytest.mark.parametrize(
    ("inputs", "least", "most"),
    [
        ({"autoscaling": {"minNodeCount": 1.0, "maxNodeCount": 2.0}, "nodeLocations": ["a", "b"]}, 2, 4),
        ({"autoscaling": {"totalMinNodeCount": 1.0, "totalMaxNodeCount": 5.0}}, 1, 5),
        ({"nodeCount": 2.0}, 6, 6),
        ({"nodeCount": UNKNOWN}, None, None),
    ],
)
def test_a_pools_bounds_are_read_in_every_way_in_which_they_are_written(
    inputs: dict[str, Any], least: int | None, most: int | None
) -> None:
    config = {"machineType": "e2-standard-4", "labels": UNKNOWN}
    pool = Recorded(type=POOL, name="p", inputs={"nodeConfig": config} | inputs)
    [found] = node_pools_of([pool], zones=3)
    assert (found.least, found.most) == (least, most)
    bill = bill_of([pool], a_usage(1), region="us-east5")
    assert bill.is_whole is (least is not None)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.just(UNKNOWN),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["spec", "nodeConfig", "labels", "autoscaling", "template", "metadata", "values", "name"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    ),
    st.sampled_from([*pricing.PRICED, POOL, pricing.NAT, "kubernetes:apps/v1:Deployment", pricing.RELEASE]),
)
def test_whatever_a_program_wrote_is_priced_or_listed_and_never_an_error(inputs: Any, token: str) -> None:
    resource = Recorded(type=token, name="r", inputs=inputs if isinstance(inputs, dict) else {"spec": inputs})
    bill_of([resource], a_usage(1), region="us-east5")


# Other ways, break-evens, regions


def by_name(found: Any) -> dict[str, Way]:
    return {way.name: way for way in found}


def test_the_briefs_bill_in_this_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """$3,240: one GPU for 720 hours at 4.50. $500: 200 hours at 2.50. 84.6 % less, which the brief rounds up to 85."""
    assert BRIEF.month_hours * BRIEF.managed_gpu_usd_per_hour == BRIEF.always_on_usd == 3240
    assert BRIEF.used_hours * BRIEF.spot_gpu_usd_per_hour == BRIEF.slept_usd == 500
    assert round((1 - 500 / 3240) * 100, 1) == 84.6
    # The model reckons the same from these rates once it is told of no tails, no platform and no disk.
    monkeypatch.setattr(pricing, "usd", lambda item, *_: 2.50 if item == "a2-ultragpu-1g" else 0.0)
    monkeypatch.setattr("planning.cost.hours.EMPTY_NODE_MINUTES", 0)
    platform = a_platform(0, 1, SPOT)
    platform[-1].inputs["spec"]["cooldownPeriod"] = 0.0
    bill = bill_of(platform, a_usage(1), region="us-east5")
    assert bill.usd.expected == pytest.approx(500)


def test_ways_to_buy_prod(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of("prod", monkeypatch)
    found = by_name(ways(resources(record("prod")), usage_of(plan), "us-east5"))
    bill = bill_of(resources(record("prod")), usage_of(plan), region="us-east5")
    assert found["spot-with-fallback"].autoscaled_usd == bill.usd.expected
    # Three replicas of arr-coc on one card each at 2.50, two of Llama's on four: 3 x 2.5 + 2 x 10 = 27.50, x 730.
    assert found["managed-aws"].always_on_usd == pytest.approx(20_075)
    # 25 days of 8.25 hours: 3 x 2.5 x 206.25 = 1,546.88, and Llama's two all month, 14,600.
    assert found["managed-aws"].autoscaled_usd == pytest.approx(16_146.875)
    assert found["managed-aws"].sla_percent == 99.9
    # A2 Ultra cannot be committed to publicly: no price, and so no sum.
    assert found["committed-1-year"].always_on_usd is None
    assert "unknown" in found["committed-1-year"].note
    for way in found.values():
        if way.always_on_usd is not None and way.autoscaled_usd is not None:
            assert way.autoscaled_usd <= way.always_on_usd


def test_a_commitment_costs_the_same_asleep(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of("dev", monkeypatch)
    bill = bill_of(resources(record("dev")), usage_of(plan), region="us-central1", always_on=True)
    committed = by_name(ways(resources(record("dev")), usage_of(plan), "us-central1"))["committed-1-year"]
    rate = usd("a2-highgpu-1g", Kind.COMMITTED_1_YEAR, "us-central1")
    # One replica all month, its disk of 150 GiB, and the platform.
    assert committed.always_on_usd == pytest.approx(bill.fixed_usd + 730 * rate + 15)
    assert committed.autoscaled_usd == committed.always_on_usd


def test_break_evens_by_hand() -> None:
    """730 x 1.908958 / 5.564915 = 250.4 hours. Half an hour a start: 24 x (1 - 0.34303) / 0.5 = 31.5 losses."""
    known = WorkloadUsage(busy=1, cold_start=Cases(600, 1800, 3600))
    usage = replace(a_usage(1), workloads={"m-stable": known})
    bill = bill_of(a_platform(1, 1, SPOT), usage, region="us-east5")
    found = {one.what.partition(" at which")[0]: one for one in break_evens(bill, usage, {"m": 2.0})}
    hours, losses = (
        next(one.value for what, one in found.items() if what.startswith(word)) for word in ("hours", "loss")
    )
    assert hours == pytest.approx(250.415, abs=0.001)
    assert losses == pytest.approx(31.534, abs=0.001)


def test_a_break_even_may_be_never() -> None:
    """On demand at 5.56 an hour is dearer than managed at 2.50 and at 3.60, however much is asked."""
    bill = bill_of(a_platform(1, 1, ON_DEMAND), a_usage(1), region="us-east5")
    told = [one.told for one in break_evens(bill, a_usage(1), {"m": 2.0}) if "managed" in one.what]
    assert len(told) == 2
    assert all(text.startswith("never: managed costs") for text in told)


def test_where_managed_and_own_meet_both_cost_the_same(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the break-even the platform and so many hours of one's own are as dear as so many managed ones."""
    plan = plan_of("dev", monkeypatch)
    usage, found = usage_of(plan), resources(record("dev"))
    bill = bill_of(found, usage, region="us-central1")
    [even] = [one for one in break_evens(bill, usage, {}) if "(gcp)" in one.what]
    assert even.value is not None
    own = sum(line.usd.expected for line in bill.lines if line.model) / 200
    managed = 25 * 8.25 * 3.60 / 200
    assert bill.fixed_usd + even.value * own == pytest.approx(even.value * managed)


def test_regions_are_ranked_and_must_have_every_machine(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = usage_of(plan_of("prod", monkeypatch))
    found = regions(resources(record("prod")), usage, "us-east5")
    assert [region.name for region in found][:2] == ["us-east5", "us-central1"]
    known = [region.usd for region in found if region.usd is not None]
    assert known == sorted(known)
    for region in found:
        types = {machine.machine_type for machine in gpu_machines() if machine.region == region.name}
        assert {"a2-ultragpu-1g", "a2-ultragpu-4g"} <= types
    # The own one costs there what the bill says of machines and disks.
    bill = bill_of(resources(record("prod")), usage, region="us-east5")
    there = sum(
        line.usd.expected for line in bill.lines if line.part in (Part.GPU_NODES, Part.SYSTEM_NODES, Part.DISKS)
    )
    assert found[0].usd == there


# From a simulation


SIMULATION = {
    "models": [
        {
            "model": "llama-3-3-70b",
            "hours": 73.0,
            "gpuHours": {
                "total": 48.0,
                "parts": [
                    {"provisioning": "spot", "use": "serving", "hours": 40.0},
                    {"provisioning": "on-demand", "use": "idle", "hours": 8.0},
                ],
            },
            "replicas": {"starts": 3},
        }
    ]
}


def test_a_simulation_takes_the_place_of_the_expected_use_of_its_model(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """73 hours stand for 730: ten times 40 / 4 node hours on spot, ten times 8 / 4 on demand, and thirty starts."""
    plan = plan_of("prod", monkeypatch)
    without = cost_of(plan, states(record("prod")), None, today=TODAY)
    found = cost_of(plan, states(record("prod")), SIMULATION, today=TODAY)
    lines = {line["what"]: line for line in found["lines"] if line["model"] == "llama-3-3-70b"}
    nodes = {what: line["quantity"]["expected"] for what, line in lines.items() if what.endswith("simulated")}
    assert sorted(nodes.values()) == [20.0, 100.0]
    assert sum(line["quantity"]["expected"] for line in lines.values() if line["unit"] == "GB") == pytest.approx(
        30 * 141.10741, abs=0.1
    )
    assert found["monthly"]["low"] == without["monthly"]["low"]
    assert found["monthly"]["high"] == without["monthly"]["high"]
    assert found["alwaysOn"] == without["alwaysOn"]
    arr_coc = [next(m["usd"] for m in one["models"] if m["model"] == "arr-coc-0-1") for one in (without, found)]
    assert arr_coc[0] == arr_coc[1]


@pytest.mark.parametrize("wrong", [{}, {"models": [{}]}, {"models": 3}, {"models": [{"model": "x", "hours": 0}]}])
def test_a_file_that_is_no_simulation_is_refused(wrong: Any, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refusal, match="make simulate"):
        cost_of(plan_of("prod", monkeypatch), states(record("prod")), wrong, today=TODAY)


def test_a_simulation_of_another_stack_is_refused(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refusal, match="simulate a stack with qwen2-5-7b"):
        cost_of(plan_of("dev", monkeypatch), states(record("dev")), SIMULATION, today=TODAY)


# The document and its reports


def a_document(record: Record, monkeypatch: pytest.MonkeyPatch, today: date = TODAY) -> dict[str, Any]:
    return cost_of(plan_of("prod", monkeypatch), states(record("prod")), None, today=today)


def test_the_document_adds_up(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    found = a_document(record, monkeypatch)
    for case in ("low", "expected", "high"):
        # Each line is rounded to a cent by itself.
        assert math.isclose(sum(line["usd"][case] for line in found["lines"]), found["monthly"][case], abs_tol=0.25)
    for line in found["lines"]:
        assert line["usd"]["expected"] == pytest.approx(line["quantity"]["expected"] * line["rate"], abs=0.12)
        assert line["source"]
        assert line["price"]["readOn"]
    assert sum(part["usd"] for part in found["parts"]) == pytest.approx(found["monthly"]["expected"], abs=0.05)
    models = sum(model["usd"] for model in found["models"])
    assert models + found["platform"] == pytest.approx(found["monthly"]["expected"], abs=0.05)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_old_prices_are_said_to_be_old_in_every_report(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = a_document(record, monkeypatch)
    old = a_document(record, monkeypatch, today=date(2026, 10, 20))
    for told in (cost_text.text(old, stack="prod"), cost_text.markdown(old, stack="prod"), page({"prod": old})):
        assert "61 days old" in told
    for told in (cost_text.text(fresh, stack="prod"), cost_text.markdown(fresh, stack="prod"), page({"prod": fresh})):
        assert "days old" not in told


def test_the_page_is_one_file_without_scripts_or_anything_from_elsewhere(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = a_document(record, monkeypatch)
    written = page({"prod": found})
    assert written == page({"prod": found})
    assert "<script" not in written
    assert "http" not in written.replace("http://www.w3.org", "").replace("https://", "") or "src=" not in written
    assert "price unknown" in written
    assert f"{found['monthly']['expected']:,.2f}" in written


def test_markdown_escapes_what_it_is_given(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    found = a_document(record, monkeypatch)
    found["lines"][0]["what"] = found["lines"][0]["resource"] = "<img src=x> @team | `code` [link](x)"
    written = cost_text.markdown(found, stack="prod")
    assert "<img" not in written
    assert "@team" not in written
    assert "&lt;img src=x\\&gt; &#64;team \\| \\`code\\` \\[link\\]\\(x\\)" in written


def test_the_command_shows_the_price(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_preview(["dev", "--cost", "--project", str(ROOT)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("dev in us-central1: ")
    assert "Not priced: paid for, and in no sum" in shown
    assert run_preview(["dev", "prod", "--cost", "--format", "json", "--project", str(ROOT)]) == 0
    both = json.loads(capsys.readouterr().out)
    assert {stack: shown["cost"]["currency"] for stack, shown in both.items()} == {"dev": "USD", "prod": "USD"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--format", "html"], "--format html is for --cost or --against: add it"),
        (["--usage", "x.json"], "--usage is for --cost"),
        (["--cost", "--usage", "no-such.json"], "no-such.json: No such file"),
        (["--cost", "--usage", "Makefile"], "Makefile: is no JSON"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert run_preview(["dev", *arguments]) == 2
    shown = capsys.readouterr()
    assert told in shown.err
    assert not shown.out


# The cost stack


def test_the_cost_stack_makes_nothing_and_agrees_with_the_preview_to_the_cent(
    record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    program = record("cost")
    assert [resource.type for resource in program.resources] == ["pulumi:pulumi:Stack"]
    assert run_preview(["prod", "--cost", "--format", "json", "--project", str(ROOT)]) == 0
    cost = json.loads(capsys.readouterr().out)["cost"]
    told = program.outputs
    assert told["declared"] == {"capacity": "spot-with-fallback", "monthly": cost["monthly"]}
    assert told["chosen"]["monthly"] == cost["monthly"]
    assert told["difference"] == {"low": 0, "expected": 0, "high": 0}
    assert told["comparison"]["on-demand"]["autoscaled"] == cost["capacities"]["on-demand"]["expected"]


def test_the_toggle_shows_its_difference(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    told = record("cost", config={"capacity": "on-demand"}).outputs
    arguments = ["prod", "-c", "capacity=on-demand", "--cost", "--format", "json", "--project", str(ROOT)]
    assert run_preview(arguments) == 0
    cost = json.loads(capsys.readouterr().out)["cost"]
    assert told["chosen"] == {"capacity": "on-demand", "monthly": cost["monthly"]}
    for case, value in told["difference"].items():
        assert value == pytest.approx(cost["monthly"][case] - told["declared"]["monthly"][case])
    assert told["difference"]["expected"] > 0


def test_the_recording_has_none_of_this_programs_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "not-to-be-seen")
    seen: list[Any] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        seen.append((command, options))
        return subprocess.CompletedProcess(command, 0, stdout='{"cost": {}}', stderr="")

    monkeypatch.setattr("cost_stack.subprocess.run", run)
    cost_stack.recorded_cost(CostSettings(file="Pulumi.cost.yaml", cost_of="prod", capacity=Capacity.SPOT))
    [(command, options)] = seen
    assert command == [sys.executable, "-m", "preview", "prod", "--cost", "--format", "json"]
    assert options["env"].keys() == {"LC_ALL", "PATH", "LLMSERVE_COST_OF"}
    assert "not-to-be-seen" not in str(options)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"costOf": "cost"}, "is no other stack"),
        ({"costOf": "../prod"}, "is no other stack"),
        ({"costOf": "prodd"}, "did you mean prod?"),
        ({"capacity": "cheap"}, "one of spot, on-demand, spot-with-fallback"),
        ({"domain": "other.internal"}, "is not read by a stack with llmserve:costOf"),
        ({"gcp:project": "ours-of-old"}, "is not read by a stack with llmserve:costOf"),
        ({"modles": "[]"}, "is not a setting: nothing reads it"),
    ],
)
def test_a_cost_stack_that_cannot_be_is_refused(
    config: dict[str, str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [part for key, value in config.items() for part in ("-c", f"{key}={value}")]
    assert run_preview(["cost", "--project", str(ROOT), *arguments]) == 2
    assert told in capsys.readouterr().err


def test_two_cost_stacks_do_not_ask_each_other(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv(cost_stack.WITHIN, "1")
    assert run_preview(["cost", "--project", str(ROOT)]) == 2
    assert "and another one asks for it" in capsys.readouterr().err


def test_the_cost_stack_has_no_plan_to_work_with(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refusal, match="name the stack prod instead"):
        plan_of("cost", monkeypatch)
