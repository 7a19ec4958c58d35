"""What GPU nodes are expected to cost, by hand."""

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from planning.cost.forecast import forecast
from planning.cost.pricing import Part, bill_of
from planning.cost.recorded import recorded
from planning.cost.usage import usage_of
from planning.observed import node_prices
from planning.plan import Plan
from planning.schema import Capacity
from preview.document import document
from tests.recording import Record, decided

ON_DEMAND, SPOT = 5.0, 2.0


@pytest.fixture
def prod(monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Prod at round prices of one card."""
    return priced(decided("prod", {}, {}, monkeypatch), {"spot": SPOT, "on-demand": ON_DEMAND})


def priced(plan: Plan, usd: Mapping[str, float | None]) -> Plan:
    """The plan with these prices of one card, and of a machine as many times as it has cards."""

    def of(kind: str, cards: int) -> float | None:
        price = usd[kind]
        return None if price is None else price * cards

    pools = tuple(
        replace(
            pool,
            machine=replace(
                pool.machine,
                spot_usd_per_hour=of("spot", pool.machine.gpus),
                on_demand_usd_per_hour=of("on-demand", pool.machine.gpus),
            ),
        )
        for pool in plan.pools
    )
    return replace(plan, pools=pools)


def used(hours_a_day: float, stack: str, monkeypatch: pytest.MonkeyPatch, **config: str) -> Plan:
    """A stack at round prices that is used on 25 days, and a tenth of the time on demand where that stands in."""
    usage = json.dumps({"hoursADay": hours_a_day})
    return priced(decided(stack, {"usage": usage, **config}, {}, monkeypatch), {"spot": SPOT, "on-demand": ON_DEMAND})


def test_normal_replicas_while_it_is_used_and_the_minimum_in_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Llama, 4 cards: the floor always, and one more. arr-coc, 1 card: three for 8 hours, 15 minutes and 10 more."""
    elastic = 0.9 * SPOT + 0.1 * ON_DEMAND
    llama = 4 * ON_DEMAND + 4 * elastic
    arr_coc = 3 * 25 * (8 + 15 / 60 + 10 / 60) / 730 * elastic
    assert forecast(used(8, "prod", monkeypatch)).expected_usd_per_hour == pytest.approx(llama + arr_coc)
    assert forecast(used(0, "prod", monkeypatch)).expected_usd_per_hour == pytest.approx(llama)


def test_a_model_without_a_normal_load_has_one_replica_while_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    found = forecast(used(24, "dev", monkeypatch))
    assert found.expected_usd_per_hour == pytest.approx(25 * 24 / 730 * SPOT)
    assert found.most_usd_per_hour == pytest.approx(SPOT)


def test_the_most_is_every_maximum_at_the_dearest_price_of_its_order(
    prod: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Llama 4 + 1 by weight, rounded up, and arr-coc 10; the fallback is dearer than spot.
    assert forecast(prod).most_usd_per_hour == pytest.approx(5 * 4 * ON_DEMAND + 10 * ON_DEMAND)
    of_spot = forecast(used(8, "prod", monkeypatch, capacity=Capacity.SPOT))
    assert of_spot.most_usd_per_hour == pytest.approx(4 * ON_DEMAND + 4 * 4 * SPOT + 10 * SPOT)


def test_a_price_that_is_unknown_is_no_forecast(prod: Plan) -> None:
    for kind in ("spot", "on-demand"):
        unknown = forecast(priced(prod, {"spot": SPOT, "on-demand": ON_DEMAND, kind: None}))
        assert (unknown.expected_usd_per_hour, unknown.most_usd_per_hour) == (None, None)


def test_flex_start_of_which_no_price_is_known_leaves_what_is_expected_and_not_the_most(
    prod: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    flex = forecast(used(8, "prod", monkeypatch, flexStart="true"))
    assert flex.expected_usd_per_hour == forecast(prod).expected_usd_per_hour
    assert flex.most_usd_per_hour is None


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_the_forecast_is_what_the_bill_says_of_gpu_nodes(
    stack: str, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = decided(stack, {}, {}, monkeypatch)
    found = recorded(step["newState"] for step in document(record(stack))["steps"])
    bill = bill_of(found, usage_of(plan), region=plan.stack.region)
    nodes = [line.usd for line in bill.lines if line.part is Part.GPU_NODES]
    told = forecast(plan)
    assert told.expected_usd_per_hour == pytest.approx(sum(usd.expected for usd in nodes) / 730)
    assert told.most_usd_per_hour == pytest.approx(sum(usd.high for usd in nodes) / 730)


def test_what_is_all_on_the_floor_needs_no_other_price(monkeypatch: pytest.MonkeyPatch) -> None:
    scaling = {"min": "1", "max": "1", "baseOnDemandReplicas": "1"}
    paths = {f"models[0].scaling.{key}": value for key, value in scaling.items()}
    dev = priced(decided("dev", {}, paths, monkeypatch), {"spot": None, "on-demand": ON_DEMAND})
    found = forecast(dev)
    assert (found.expected_usd_per_hour, found.most_usd_per_hour) == (ON_DEMAND, ON_DEMAND)


def test_a_version_that_is_asleep_costs_nothing_at_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"[0].name": "stable", "[0].weight": "100", "[1].name": "old", "[1].weight": "0"}
    paths = {f"models[0].rollout.versions{key}": value for key, value in versions.items()}
    dev = priced(decided("dev", {}, paths, monkeypatch), {"spot": SPOT, "on-demand": ON_DEMAND})
    assert len(dev.models[0].versions) == 2
    assert forecast(dev).most_usd_per_hour == SPOT


def test_every_way_of_buying_a_machine_has_its_price(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"flexStart": "true", "reservations": '{"a2-ultragpu-4g": "ours"}'}
    plan = priced(decided("prod", config, {}, monkeypatch), {"spot": SPOT, "on-demand": ON_DEMAND})
    # A reservation's node and the floor's are bought on demand: one price for the three.
    assert [(price.machine_type, price.provisioning, price.usd_per_hour) for price in node_prices(plan.pools)] == [
        (machine, provisioning, None if usd is None else usd * cards)
        for machine, cards in (("a2-ultragpu-1g", 1), ("a2-ultragpu-4g", 4))
        for provisioning, usd in (("flex-start", None), ("on-demand", ON_DEMAND), ("spot", SPOT))
    ]
