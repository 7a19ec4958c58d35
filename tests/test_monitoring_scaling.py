"""Triggers of the autoscaler and the number of replicas that they lead to."""

import math
from itertools import pairwise
from typing import Any

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.engine_metrics import EngineMetrics
from monitoring.scaling import ASKED, LOAD, WANTED, replicas_for
from planning.recording_rules import look_back_seconds, rests_on
from tests.scaling import expression, scaled_object, scaled_version, scaling_rules

COUNTERS_ONLY = EngineMetrics(requests="arr_coc_requests_total")


def sleeps(**fields: Any) -> bool:
    """Whether the idle time is in what is wanted."""
    return f"max_over_time({ASKED}" in expression(WANTED, **fields)


def test_every_version_of_a_model_wakes_on_the_same_signal() -> None:
    stable, canary = {"version": "stable", "share": 0.9}, {"version": "canary", "share": 0.1}
    by_rate = {"requests_per_second_per_replica": 2.0}
    assert expression(ASKED, **stable, **by_rate) == expression(ASKED, **canary, **by_rate)
    assert expression(LOAD, **stable, **by_rate) != expression(LOAD, **canary, **by_rate)


@pytest.mark.parametrize(("fields", "awake"), [({}, True), ({"minimum": 1}, False), ({"share": 0}, False)])
def test_only_what_may_sleep_and_has_traffic_is_woken(fields: dict[str, Any], *, awake: bool) -> None:
    assert sleeps(**fields) is awake


def test_each_rule_needs_only_those_before_it() -> None:
    """Prometheus evaluates a group in its order, and a later rule reads what an earlier one has just written."""
    for fields in ({}, {"floor": 1}, {"requests_per_second_per_replica": 2.0}):
        rules = scaling_rules(**fields)
        for place, rule in enumerate(rules):
            assert {read.name for read in rests_on(rule.expression, rules)} <= {one.name for one in rules[:place]}
        [trigger] = scaled_object(**fields).triggers
        assert rests_on(trigger.query, rules) == rules


@given(rate=st.integers(0, 1000), per_replica=st.integers(1, 100), floor=st.integers(1, 5), most=st.integers(1, 10))
def test_a_floor_and_what_is_scaled_beside_it_are_as_many_as_without_a_floor(
    rate: int, per_replica: int, floor: int, most: int
) -> None:
    """What is left over, divided by what one takes, comes to what the whole load comes to, less the floor."""
    left = max(0, rate - floor * per_replica)
    beside = replicas_for(left, per_replica, share=1, minimum=0, maximum=most)
    assert floor + beside == replicas_for(rate, per_replica, share=1, minimum=floor, maximum=floor + most)


def test_a_floor_leaves_its_part_out_of_the_load() -> None:
    assert expression(LOAD, floor=2, queue_per_replica=4).endswith(" - 8, 0)) / 4")
    assert expression(LOAD, floor=3, requests_per_second_per_replica=0.5).endswith(" - 1.5, 0)) / 0.5")


def test_beside_a_floor_only_what_it_leaves_over_wakes() -> None:
    """The model is awake anyway: a request at the gateway is no reason to buy a second replica."""
    load, asked = expression(LOAD, floor=1), expression(ASKED, floor=1)
    assert load.removesuffix(" / 4") in asked
    assert "istio_requests_total" not in asked


@pytest.mark.parametrize(
    ("floor", "maximum", "idle", "startup", "minutes"),
    [
        (0, 10, 15, 1800, 15),  # Nobody asks for it at all: all go at once.
        (1, 3, 15, 1800, 38),  # 5 looked back, 30 of stabilisation, two steps of a minute, and one to spare.
        (1, 1, 15, 1800, 36),
        (2, 8, 60, 900, 60),
        (1, 2, 2, 7200, 67),  # Kubernetes stabilises for an hour at the most.
    ],
)
def test_beside_a_floor_the_others_go_one_by_one(
    floor: int, maximum: int, idle: int, startup: int, minutes: int
) -> None:
    scaled = scaled_version(floor=floor, maximum=maximum, idle_minutes=idle, startup_seconds=startup)
    assert scaled.sleep_seconds == minutes * 60
    spec: Any = scaled.scaled_object("http://prometheus")
    down = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
    steps = (maximum - 1) * down["policies"][0]["periodSeconds"]
    if floor:
        assert scaled.cooldown_seconds > down["stabilizationWindowSeconds"] + steps
    # What is rendered says the same, and so does what the bill reads from it.
    rules = scaling_rules(floor=floor, maximum=maximum, idle_minutes=idle, startup_seconds=startup)
    asleep = look_back_seconds(spec["triggers"][0]["metadata"]["query"], rules)
    assert asleep + spec["cooldownPeriod"] == minutes * 60


def test_there_is_no_fallback_and_an_empty_answer_is_an_error() -> None:
    """An active fallback counts as activity, so it wakes what sleeps; an error changes nothing, up or down."""
    for fields in ({}, {"minimum": 1}, {"floor": 1}, {"requests_per_second_per_replica": 2.0}):
        spec: Any = scaled_version(**fields).scaled_object("http://prometheus")
        assert "fallback" not in spec
        assert [trigger["metadata"]["ignoreNullValues"] for trigger in spec["triggers"]] == ["false"]


@pytest.mark.parametrize(
    "target", [{"queue_per_replica": None}, {"requests_per_second_per_replica": 2.0, "queue_per_replica": 4.0}]
)
def test_exactly_one_target_is_taken(target: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="llama-stable: give either"):
        scaled_version(**target)


@pytest.mark.parametrize(
    ("engine", "match"),
    [(COUNTERS_ONLY, "no queue metric"), (EngineMetrics(queue="waiting"), "one for those that run")],
)
def test_engine_without_both_gauges_cannot_be_scaled_by_its_queue(engine: EngineMetrics, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        scaling_rules(engine=engine)


def test_spec_is_what_keda_takes() -> None:
    spec: Any = scaled_version().scaled_object("http://prometheus-operated.monitoring:9090")
    assert spec["triggers"] == [
        {
            "type": "prometheus",
            "name": "wanted",
            "metricType": "AverageValue",
            "metadata": {
                "serverAddress": "http://prometheus-operated.monitoring:9090",
                "query": 'max(llm:wanted_replicas{namespace="models",model="llama",version="stable"})',
                "threshold": "1",
                "ignoreNullValues": "false",
            },
        }
    ]
    assert spec["advanced"]["scalingModifiers"] == {
        "formula": "wanted ?? 1",
        "target": "1",
        "activationTarget": "0",
        "metricType": "AverageValue",
    }


@pytest.mark.parametrize("target", [{"requests_per_second_per_replica": 2.0}, {"queue_per_replica": 4.0}])
def test_load_is_a_total_because_the_autoscaler_divides_it_by_the_replicas(target: dict[str, Any]) -> None:
    """An average under AverageValue is divided twice: it never reaches its target."""
    total = promql_parser.parse(expression(LOAD, share=1, minimum=1, **target))
    while isinstance(total, promql_parser.BinaryExpr | promql_parser.ParenExpr):
        total = total.lhs if isinstance(total, promql_parser.BinaryExpr) else total.expr
    assert isinstance(total, promql_parser.AggregateExpr)
    assert (str(total.op), total.modifier) == ("sum", None)


def test_replicas_by_example() -> None:
    assert replicas_for(6, per_replica=2, share=1, minimum=0, maximum=10) == 3
    assert replicas_for(6.1, per_replica=2, share=1, minimum=0, maximum=10) == 4
    assert replicas_for(6, per_replica=2, share=0.1, minimum=0, maximum=10) == 1
    assert replicas_for(0.0001, per_replica=2, share=1, minimum=0, maximum=10) == 1
    assert replicas_for(0, per_replica=2, share=1, minimum=0, maximum=10) == 0
    assert replicas_for(100, per_replica=2, share=0, minimum=0, maximum=10) == 0
    assert replicas_for(1000, per_replica=2, share=1, minimum=0, maximum=10) == 10
    assert replicas_for(0.3 * 10, per_replica=1, share=1, minimum=0, maximum=10) == 3


@pytest.mark.parametrize(("rate", "per_replica"), [(-1, 2), (1, 0), (1, 0.0009), (1, -2)])
def test_replicas_refuse_what_no_autoscaler_can_divide(rate: float, per_replica: float) -> None:
    with pytest.raises(ValueError, match="rate must be at least 0 and per_replica at least"):
        replicas_for(rate, per_replica, share=1, minimum=0, maximum=10)


rates = st.floats(min_value=0, max_value=1e6)
targets = st.floats(min_value=0.001, max_value=1e4)
shares = st.floats(min_value=0, max_value=1)
limits = st.tuples(st.integers(0, 50), st.integers(1, 50)).map(sorted)


@given(rates, targets, shares, limits)
def test_replicas_stay_between_their_limits(rate: float, per_replica: float, share: float, limit: list[int]) -> None:
    assert limit[0] <= replicas_for(rate, per_replica, share, *limit) <= limit[1]


@given(rates, rates, targets, shares, limits)
def test_more_load_never_means_fewer_replicas(
    first: float, second: float, per_replica: float, share: float, limit: list[int]
) -> None:
    less, more = sorted((first, second))
    assert replicas_for(less, per_replica, share, *limit) <= replicas_for(more, per_replica, share, *limit)


@given(st.integers(1, 10_000), st.integers(1, 100), st.sets(st.integers(1, 99), max_size=3))
def test_versions_together_take_the_whole_load_and_round_up_once_each(
    rate: int, per_replica: int, cuts: set[int]
) -> None:
    weights = [upper - lower for lower, upper in pairwise((0, *sorted(cuts), 100))]
    together = sum(replicas_for(rate, per_replica, weight / 100, 0, 10**9) for weight in weights)
    needed = math.ceil(rate / per_replica)
    assert needed <= together < needed + len(weights)
