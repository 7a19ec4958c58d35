"""What GPU nodes are expected to cost, by hand."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from planning.forecast import WORKING_HOURS_SHARE, forecast
from planning.observed import node_prices
from planning.plan import Plan
from planning.schema import Capacity
from tests.recording import decided

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


def test_the_working_hours_are_eight_of_22_days() -> None:
    assert pytest.approx(176 / 730) == WORKING_HOURS_SHARE


def test_normal_replicas_while_it_is_used_and_the_minimum_in_the_rest(prod: Plan) -> None:
    # Llama, 4 cards: the floor always, and one more (the canary) on spot. arr-coc, 1 card: 3 on spot, or none.
    llama = 4 * ON_DEMAND + 4 * SPOT
    found = forecast(prod, 0.25)
    assert found.expected_usd_per_hour == pytest.approx(llama + 0.25 * 3 * SPOT)
    assert forecast(prod, 0).expected_usd_per_hour == pytest.approx(llama)
    assert forecast(prod, 1).expected_usd_per_hour == pytest.approx(llama + 3 * SPOT)
    assert forecast(prod) == forecast(prod, WORKING_HOURS_SHARE)


def test_a_model_without_a_normal_load_has_one_replica_while_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    dev = priced(decided("dev", {}, {}, monkeypatch), {"spot": SPOT, "on-demand": ON_DEMAND})
    assert forecast(dev, 0.25).expected_usd_per_hour == pytest.approx(0.25 * SPOT)
    assert forecast(dev, 0.25).most_usd_per_hour == SPOT


def test_the_most_is_every_maximum_at_the_dearest_price_of_its_order(
    prod: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Llama 4 + 1 by weight, rounded up, and arr-coc 10; the fallback is dearer than spot.
    assert forecast(prod).most_usd_per_hour == 5 * 4 * ON_DEMAND + 10 * ON_DEMAND
    on_spot = decided("prod", {"capacity": Capacity.SPOT}, {}, monkeypatch)
    of_spot = forecast(priced(on_spot, {"spot": SPOT, "on-demand": ON_DEMAND}))
    assert of_spot.most_usd_per_hour == 4 * ON_DEMAND + 4 * 4 * SPOT + 10 * SPOT


def test_a_price_that_is_unknown_is_no_forecast(prod: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    # The floor has no other price, and the fallback could be the dearest.
    unknown = forecast(priced(prod, {"spot": SPOT, "on-demand": None}))
    assert (unknown.expected_usd_per_hour, unknown.most_usd_per_hour) == (None, None)
    # The first that has a price is what a replica is expected on.
    spot_unknown = forecast(priced(prod, {"spot": None, "on-demand": ON_DEMAND}), 1)
    assert spot_unknown.expected_usd_per_hour == pytest.approx(8 * ON_DEMAND + 3 * ON_DEMAND)
    assert spot_unknown.most_usd_per_hour is None
    # Of flex-start no price is known, and it is tried last.
    flex = priced(decided("prod", {"flexStart": "true"}, {}, monkeypatch), {"spot": SPOT, "on-demand": ON_DEMAND})
    assert forecast(flex).expected_usd_per_hour == forecast(prod).expected_usd_per_hour
    assert forecast(flex).most_usd_per_hour is None


def test_every_way_of_buying_a_machine_has_its_price(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"flexStart": "true", "reservations": '{"a2-ultragpu-4g": "ours"}'}
    plan = priced(decided("prod", config, {}, monkeypatch), {"spot": SPOT, "on-demand": ON_DEMAND})
    # A reservation's node and the floor's are bought on demand: one price for the three.
    assert [(price.machine_type, price.provisioning, price.usd_per_hour) for price in node_prices(plan.pools)] == [
        (machine, provisioning, None if usd is None else usd * cards)
        for machine, cards in (("a2-ultragpu-1g", 1), ("a2-ultragpu-4g", 4))
        for provisioning, usd in (("flex-start", None), ("on-demand", ON_DEMAND), ("spot", SPOT))
    ]
