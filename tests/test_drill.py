"""The preemption drill: what it records is what happened, a good stack passes, and one that is put wrong is seen."""

import json
import pickle
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from planning.cold_start import ColdStart, Part
from planning.cost.recorded import Recorded
from planning.plan import Plan
from planning.schema import WeightsFrom
from planning.simulate.arrivals import DAY, HOUR, Request
from planning.simulate.drill import (
    Budgets,
    Drill,
    Faults,
    Outcome,
    Played,
    Recovery,
    Task,
    UpAndDown,
    drill,
    extra_usd_a_day,
    judge,
    play,
    read_losses,
    recoveries,
)
from planning.simulate.drill import Part as Run
from planning.simulate.drill_page import page, worst
from planning.simulate.drill_report import document, text
from planning.simulate.engine import Timing
from planning.simulate.platform import Balancing, Callers, Gateway, Platform, Stopping, Supply, Version, simulate
from planning.simulate.results import Cut, Loss, Moment, Provisioning, Results, VersionResults
from planning.simulate.scalers import AlwaysOn
from planning.simulate.scenario import Options, Pattern, Scenario
from scripts import drill as script
from scripts.terminal import OperationError
from tests.queueing import roomy
from tests.recording import ROOT, decided, resources_of

SPOT, ON_DEMAND = Provisioning.SPOT, Provisioning.ON_DEMAND
STEP = 0.1
START = 60.0
SLOW = ColdStart(parts=(Part(name="model", least=START, likely=START, most=START),))
LOSS = 100.0


def ask(at: float, seconds: float) -> Request:
    """A request whose answer takes so long: its first token comes at once."""
    return Request(at=at, input_tokens=1, output_tokens=round(seconds / STEP) + 1)


def platform(replicas: int = 1, floor: int = 0, **fields: Any) -> Platform:
    """So many replicas at all times, spot but for the floor, which lose all spot nodes at LOSS."""
    version = Version(
        name="v1",
        timing=Timing(step=STEP),
        limits=roomy(100),
        scaler=partial(AlwaysOn, replicas=replicas),
        initial=replicas,
        floor=floor,
    )
    given: dict[str, Any] = {
        "versions": (version,),
        "supply": Supply(order=(SPOT,), losses=(LOSS,)),
        "cold_start": SLOW,
        "stopping": Stopping(spot_window=15),
        "callers": Callers(retry_after=10, spread=0),
        "balancing": Balancing.LEAST_OUTSTANDING,
    }
    return Platform(**(given | fields))


# What a run writes down


def test_a_loss_says_whose_replica_it_took_and_how_many_there_were() -> None:
    results = simulate(platform(3, floor=1), [], seconds=600)
    assert results.lost == [
        Loss(at=LOSS, version="v1", serving=True, ready=3),
        Loss(at=LOSS, version="v1", serving=True, ready=2),
    ]
    assert results.stops == 0


def test_the_loss_of_a_node_that_starts_or_is_empty_takes_no_serving_replica() -> None:
    twice = Supply(order=(SPOT,), losses=(LOSS, LOSS + 20))
    results = simulate(platform(supply=twice), [], seconds=600)
    # The first replica had nothing to do and ended as soon as its port was closed; the next one is still starting.
    assert [(loss.serving, loss.ready) for loss in results.lost] == [(True, 1), (False, 0)]
    left = Supply(order=(SPOT,), losses=(LOSS,), tail_seconds=900)
    [version] = platform().versions
    fewer = replace(version, scaler=partial(UpAndDown, low=0, high=1, phase=50))
    assert simulate(platform(versions=(fewer,), supply=left), [], seconds=110).lost == [
        Loss(at=LOSS, version=None, serving=False, ready=0)
    ]


def test_a_cut_answer_says_how_old_it_was_and_who_stopped_it() -> None:
    results = simulate(platform(), [ask(90, 60)], seconds=600)
    [cut] = results.cuts
    assert (cut.version, cut.called_back) == ("v1", True)
    assert cut.seconds == pytest.approx(25)
    [version] = platform(2).versions
    falling = replace(version, scaler=partial(UpAndDown, low=1, high=2, phase=300))
    quiet = platform(versions=(falling,), supply=Supply(order=(SPOT,)), stopping=Stopping(engine=10))
    results = simulate(quiet, [ask(290, 60), ask(290, 60)], seconds=590)
    [cut] = results.cuts
    assert (cut.version, cut.called_back) == ("v1", False)
    assert [cut.seconds] == results.cut_after
    assert cut.at == pytest.approx(290 + cut.seconds)
    assert results.stops == 1


def test_who_was_served_at_the_first_try_is_counted() -> None:
    results = simulate(platform(), [ask(50, 1), ask(LOSS + 16, 1), ask(300, 1)], seconds=600)
    assert (results.served, results.at_first, results.lingering) == (3, 2, 0)


def test_an_attempt_at_a_closed_port_is_counted() -> None:
    """A long answer keeps the replica after its port has closed, and its endpoint stays for ten seconds."""
    results = simulate(platform(2, floor=1), [ask(LOSS - 1, 9), ask(LOSS + 7, 1)], seconds=600)
    deaf = simulate(
        platform(2, floor=1, balancing=Balancing.ROUND_ROBIN, gateway=Gateway(attempts=3)),
        [ask(LOSS - 2, 12), ask(LOSS - 1, 12), ask(LOSS + 7, 1), ask(LOSS + 8, 1)],
        seconds=600,
    )
    assert (results.lingering, deaf.lingering) == (0, 1)
    assert (deaf.served, deaf.at_first) == (4, 4)


def test_a_zone_loses_all_its_nodes_at_once_and_the_others_none() -> None:
    a_day, zones, replicas = 12.0, 3, 9
    supply = Supply(order=(SPOT,), zones=zones, zone_losses_per_day=a_day)
    results = simulate(platform(replicas, supply=supply), [], seconds=4 * DAY)
    at_once: dict[float, int] = {}
    for loss in results.lost:
        at_once[loss.at] = at_once.get(loss.at, 0) + 1
    assert sum(at_once.values()) == pytest.approx(4 * a_day * replicas, rel=0.25)
    assert len(at_once) == pytest.approx(4 * a_day * zones, rel=0.3)
    assert sum(at_once.values()) / len(at_once) == pytest.approx(replicas / zones, rel=0.25)
    assert {loss.at for loss in simulate(platform(replicas, supply=supply), [], seconds=4 * DAY).lost} == set(at_once)


# Recovery


def test_recovery_is_until_as_many_serve_again() -> None:
    """The port closes after 5 s, the idle replica ends, its successor starts."""
    [found] = recoveries(simulate(platform(3, floor=1), [], seconds=600))
    assert found == Recovery(at=LOSS, version="v1", replicas=2, seconds=5 + START)


def test_recovery_waits_for_the_stream_that_its_replica_still_has() -> None:
    [found] = recoveries(simulate(platform(), [ask(LOSS - 1, 13)], seconds=600))
    assert found.seconds == pytest.approx(12 + START)


def test_two_that_are_lost_at_once_are_over_when_both_are_back() -> None:
    results = moments((0, 2, 2), (10, 2, 1), (10, 2, 0), (50, 2, 1), (70, 2, 2))
    results.lost += [Loss(at=10, version="v1", serving=True, ready=ready) for ready in (2, 1)]
    assert list(recoveries(results)) == [Recovery(at=10, version="v1", replicas=2, seconds=60)]


def moments(*written: tuple[float, int, int]) -> Results:
    results = Results(seconds=1000, gpus=1)
    results.versions["v1"] = VersionResults(moments=[Moment(at, wanted, ready, 0) for at, wanted, ready in written])
    return results


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ([(0, 2, 2), (10, 2, 1), (50, 2, 2)], 40),
        ([(0, 2, 2), (10, 2, 1)], None),
        # A second loss meanwhile: the first is over when both are back.
        ([(0, 2, 2), (10, 2, 1), (20, 2, 0), (50, 2, 1), (70, 2, 2)], 60),
        # The scaler wants one fewer by then.
        ([(0, 2, 2), (10, 2, 1), (30, 1, 1)], 20),
        # Of several moments of one time the last counts.
        ([(0, 2, 2), (10, 2, 2), (10, 2, 1), (40, 2, 2)], 30),
    ],
)
def test_when_a_loss_is_over(written: list[tuple[float, int, int]], seconds: float | None) -> None:
    results = moments(*written)
    results.lost.append(Loss(at=10, version="v1", serving=True, ready=2))
    assert [found.seconds for found in recoveries(results)] == [seconds]


# Small drills


def made(of: Platform, requests: Sequence[Request], *, seconds: float = 600, seed: int = 0) -> Scenario:
    return Scenario(
        model="small",
        platform=of,
        requests=partial(iter, tuple(requests)),
        seconds=seconds,
        seed=seed,
        usd_per_hour={SPOT: 2.0, ON_DEMAND: 6.0},
        weights_gb=100,
        weights_from=WeightsFrom.HUB,
        always_on=1,
        assumptions=(),
    )


def small(of: Platform, requests: Sequence[Request], objective: float = 0.5) -> Outcome:
    """A platform with losses, the same without, and the same again in the place of the run of stops."""
    quiet = replace(of, supply=replace(of.supply, losses=()))
    tasks = (
        Task(part=Run.LOSSES, scenario=made(of, requests)),
        Task(part=Run.QUIET, scenario=made(quiet, requests)),
        Task(part=Run.STOPS, scenario=made(quiet, requests)),
    )
    window = of.stopping.spot_window or 0.0
    found = Drill(
        model="small",
        objective=objective,
        objective_from="a test",
        budgets=Budgets(spot=max(0.0, window - 5), voluntary=90),
        versions=of.versions,
        tasks=tasks,
        assumptions=(),
    )
    return judge(found, [play(task) for task in tasks])


LATE = [ask(LOSS + at, 8) for at in (-30.05, 4.05, 9.05, 12.05)]


def test_a_stream_younger_than_the_budget_that_is_cut_fails_the_drill() -> None:
    """With a preStop longer than the notice the port stays open, and what comes late is cut."""
    good = small(platform(2, floor=1), LATE)
    assert (good.passed, good.reasons) == (True, ())
    wrong = Stopping(pre_stop=20, spot_window=15, spot_endpoint_lag=20)
    [reason] = small(platform(2, floor=1, stopping=wrong, balancing=Balancing.ROUND_ROBIN), LATE).reasons
    assert re.fullmatch(
        r"1 stream was cut when a spot node was called back though younger than the budget of 10 s, "
        r"the youngest after 6.0 s",
        reason,
    ), reason


def test_an_old_stream_may_be_cut_and_the_served_share_says_so() -> None:
    old = [ask(10, 1), ask(11, 1), ask(LOSS - 50, 100)]
    assert small(platform(), old).passed
    [reason] = small(platform(), old, objective=0.999).reasons
    assert reason == "66.667% of the requests were served, less than 99.900% (a test)"


def test_a_stream_that_is_exactly_as_old_as_its_budget_is_none_too_early() -> None:
    at = LOSS + Stopping().pre_stop - 1e-9
    outcome = small(platform(), [ask(at, 60)], objective=0)
    [cut] = outcome.of(Run.LOSSES)[0].cuts
    assert cut.seconds == pytest.approx(10)
    assert outcome.passed


def test_who_had_to_ask_twice_is_told_though_all_were_served() -> None:
    outcome = small(platform(), [ask(10, 1), ask(LOSS + 20, 1)], objective=0.99)
    assert outcome.passed
    [note] = outcome.notes
    assert note.startswith("only 50.000% were served at the first try")
    assert "no floor: v1" in note
    assert small(platform(2, floor=1), [ask(LOSS + 20, 1)], objective=0.99).notes == ()


def test_extra_cost_is_what_the_losses_added() -> None:
    """One more start downloads 100 GB; its node is paid for 5 seconds of draining less than two nodes would be."""
    outcome = small(platform(), [])
    [usd] = extra_usd_a_day(outcome) or []
    assert usd / DAY * 600 == pytest.approx(100 * 0.045, abs=0.01)
    unpriced = [replace(run, usd=None) for run in outcome.runs]
    assert extra_usd_a_day(judge(outcome.drill, unpriced)) is None
    assert "unknown: a kind of node" in dict(rows(judge(outcome.drill, unpriced)))["extra cost"]


def rows(outcome: Outcome) -> list[tuple[str, str]]:
    return re.findall(r"^  (\w[\w ]*?)  +(.*)$", text(with_assumption(outcome)), re.MULTILINE)


def with_assumption(outcome: Outcome) -> dict[str, Any]:
    found = document(outcome)
    found["assumptions"] = [{"what": "a", "value": "b", "by": "c"}]
    return found


def test_the_run_with_the_most_harm_is_shown() -> None:
    outcome = small(platform(), [])
    first = outcome.of(Run.LOSSES)[0]
    young = Cut(at=1, version="v1", seconds=3, called_back=True)
    runs: list[Played] = [
        replace(first, seed=1),
        replace(first, seed=2, served=0, arrived=4, cuts=(young,)),
        replace(first, seed=3, served=0, arrived=9),
    ]
    others = [replace(run, part=part, cuts=()) for run in runs for part in (Run.QUIET, Run.STOPS)]
    assert worst(judge(outcome.drill, [*runs, *others])).seed == 2
    assert judge(outcome.drill, [*runs, *others]).reasons[0].startswith("1 stream was cut")


# Prod

BUSY = Options(pattern=Pattern.CONSTANT, losses_per_day=2, requests_per_second=0.5, days=0.5)


def planned(monkeypatch: pytest.MonkeyPatch, **paths: str) -> tuple[Plan, Sequence[Recorded]]:
    """Plan prod with some settings changed, and record what its program makes of it."""
    config = {"llmserve:capacity": paths.pop("capacity")} if "capacity" in paths else {}
    at = {f"llmserve:{key}": value for key, value in paths.items()}
    return decided("prod", config, at, monkeypatch), resources_of("prod", config, at)


def drilled(
    monkeypatch: pytest.MonkeyPatch,
    faults: Faults,
    options: Options = BUSY,
    name: str = "llama-3-3-70b",
    seeds: int = 2,
    **paths: str,
) -> Outcome:
    found = prepared(monkeypatch, faults, options, name, seeds, **paths)
    return judge(found, [play(task) for task in found.tasks])


def prepared(
    monkeypatch: pytest.MonkeyPatch,
    faults: Faults,
    options: Options = BUSY,
    name: str = "llama-3-3-70b",
    seeds: int = 1,
    **paths: str,
) -> Drill:
    plan, resources = planned(monkeypatch, **paths)
    return drill(plan, next(m for m in plan.models if m.name == name), options, faults, resources, seeds=seeds)


def test_prod_loses_nothing_younger_than_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two losses a day and replica, four replicas with a floor of one: what the stack promises holds."""
    outcome = drilled(monkeypatch, Faults(replicas=4), replace(BUSY, days=1))
    found = document(outcome)
    assert outcome.passed, outcome.reasons
    assert found["losses"]["serving"] >= 8
    assert found["cut"]["nodeCalledBack"]["youngerThanBudget"] == 0
    assert found["cut"]["nodeCalledBack"]["budgetSeconds"] == 100
    assert found["requests"]["servedShare"] >= 0.999
    assert found["stops"]["replicas"] >= 2 * 2 * 10
    assert found["stops"]["cut"]["streams"] == 0
    assert found["stops"]["cut"]["budgetSeconds"] == 328
    assert 5 * 60 < found["recovery"]["medianSeconds"] < 30 * 60


def test_prod_with_a_pre_stop_beyond_the_notice_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Faults(replicas=4, pre_stop=20, spot_window=15, endpoint_lag=20)
    busy = replace(BUSY, losses_per_day=12)
    outcome = drilled(monkeypatch, wrong, busy, seeds=1)
    cut = document(outcome)["cut"]["nodeCalledBack"]
    assert not outcome.passed
    assert cut["youngerThanBudget"] > 3
    assert cut["youngestSeconds"] < cut["budgetSeconds"] == 10
    assert "when a spot node was called back though younger" in outcome.reasons[0]
    # The notice alone is no fault: with the declared preStop the same losses cut nothing too early.
    assert drilled(monkeypatch, replace(wrong, pre_stop=None, endpoint_lag=None), busy, seeds=1).passed


def test_prod_with_an_engine_that_gives_up_fails_at_the_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = drilled(
        monkeypatch,
        Faults(engine_timeout=10),
        replace(BUSY, losses_per_day=0, days=0.01, requests_per_second=2),
        seeds=1,
    )
    cut = document(outcome)["stops"]["cut"]
    assert not outcome.passed
    assert cut["streams"] == cut["youngerThanBudget"] > 3
    assert 10 <= cut["youngestSeconds"] < 328
    assert "when a replica was told to stop though younger than the budget of 328 s" in outcome.reasons[0]


def test_prod_without_patience_misses_its_objective_while_its_canary_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    hasty = replace(BUSY, losses_per_day=12, patience_minutes=0)
    [reason] = drilled(monkeypatch, Faults(), hasty, seeds=1).reasons
    assert reason.endswith("less than 99.900% (slo.availability)")


def test_what_a_drill_is_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    found = prepared(monkeypatch, Faults(), seeds=2)
    assert (found.budgets, found.objective) == (Budgets(spot=100, voluntary=328), 0.999)
    assert [(task.part, task.scenario.seed) for task in found.tasks] == [
        (part, seed) for seed in (0, 1) for part in (Run.LOSSES, Run.QUIET, Run.STOPS)
    ]
    lossy, quiet, stops = (task.scenario.platform for task in found.tasks[:3])
    assert [(v.initial, v.floor) for v in lossy.versions] == [(1, 1), (1, 0)]
    assert (lossy.supply.losses_per_day, quiet.supply.losses_per_day, stops.supply.losses_per_day) == (2, 0, 0)
    assert lossy.supply.zones == len(planned(monkeypatch)[0].pools[0].zones)
    assert [v.initial for v in stops.versions] == [2, 2]
    assert all(pickle.loads(pickle.dumps(task)) for task in found.tasks)  # noqa: S301  (they go to other processes)
    # A model under its normal load from the start.
    [coc] = prepared(monkeypatch, Faults(), name="arr-coc-0-1").versions
    assert coc.initial == 3
    assert prepared(monkeypatch, Faults(), name="arr-coc-0-1").unpriced == "what a start downloads"


def test_every_fault_has_its_effect_and_no_budget_follows_it_but_the_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = Faults(
        losses=(7.0,),
        zone_losses_per_day=3,
        pre_stop=20,
        spot_window=30,
        engine_timeout=9,
        endpoint_lag=44,
        floor=2,
        replicas=10,
    )
    found = prepared(monkeypatch, faults)
    lossy, quiet, _ = (task.scenario.platform for task in found.tasks)
    assert lossy.stopping == Stopping(pre_stop=20, engine=9, spot_window=30, endpoint_lag=44, spot_endpoint_lag=44)
    assert (lossy.supply.losses, lossy.supply.zone_losses_per_day) == ((7.0,), 3)
    assert (quiet.supply.losses, quiet.supply.zone_losses_per_day) == ((), 0)
    assert [(v.initial, v.floor) for v in lossy.versions] == [(9, 2), (1, 0)]
    assert found.budgets == Budgets(spot=25, voluntary=328)
    assert [v.floor for v in prepared(monkeypatch, Faults(floor=0)).versions] == [0, 0]
    named = {a.what: a.by for a in found.assumptions}
    assert named["stopping"] == "--pre-stop, --engine-timeout, --spot-window"
    assert named["zones lost"] == "--zone-losses-per-day"


def test_the_budget_of_a_called_back_node_ends_with_the_engines_own(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {"models[1].drainSeconds": "40"}
    assert prepared(monkeypatch, Faults(), BUSY, "llama-3-3-70b", 1, **paths).budgets == Budgets(spot=40, voluntary=40)


def test_a_notice_shorter_than_the_wait_promises_nothing_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    found = prepared(monkeypatch, Faults(spot_window=4), replace(BUSY, days=0.01))
    assert found.budgets.spot == 0
    assert "no answer is promised" in " ".join(judge(found, [play(task) for task in found.tasks]).notes)


def test_without_spot_nodes_only_the_stops_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = drilled(monkeypatch, Faults(engine_timeout=400), replace(BUSY, days=0.02), seeds=1, capacity="on-demand")
    assert outcome.drill.budgets.spot is None
    assert outcome.notes[0].startswith("there is no spot node")
    assert outcome.drill.budgets.voluntary == 328
    assert not any(a.what == "spot losses" for a in outcome.drill.assumptions)


def test_a_drill_that_lost_nothing_says_that_it_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = drilled(monkeypatch, Faults(), replace(BUSY, days=0.02, losses_per_day=0), seeds=1)
    assert "no spot node was lost" in outcome.notes[0]


def test_the_same_seeds_give_the_same_page_and_it_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = Faults(replicas=3, pre_stop=20, spot_window=15, losses=(900.0, 2500.0))
    outcomes = [drilled(monkeypatch, faults, replace(BUSY, days=0.05), seeds=1) for _ in range(2)]
    first, second = (page("<b>", [outcome]) for outcome in outcomes)
    assert first == second
    assert "Preemption drill of &lt;b&gt;" in first
    assert "spot node called back" in first
    assert "<script" not in first
    assert all(a.what in first for a in outcomes[0].drill.assumptions)


# The file of losses and the command


def test_a_file_of_losses_is_read_and_sorted() -> None:
    assert read_losses("seconds\n20\n\n 3.5\n") == (3.5, 20.0)
    assert read_losses("20\n3\n") == (3.0, 20.0)


@pytest.mark.parametrize(
    ("written", "told"),
    [("", "no time in it"), ("seconds\n", "no time in it"), ("3\nsoon\n", "line 2: 'soon'"), ("-1", "line 1: '-1'")],
)
def test_what_is_no_file_of_losses(written: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        read_losses(written)


Call = Any


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.chdir(ROOT)
        code = script.main(["prod", "--model", "llama-3-3-70b", "--seeds", "1", *arguments])
        return code, capsys.readouterr().out

    return call


QUICK = ("--days", "0.05", "--requests-per-second", "0.5")


def test_the_command_tells_the_verdict_by_its_exit_code(command: Call, tmp_path: Path) -> None:
    losses = tmp_path / "losses.csv"
    losses.write_text("seconds\n900\n")
    lost = ("--losses", str(losses))
    code, told = command(*QUICK, *lost)
    assert code == 0, told
    assert told.startswith("Model llama-3-3-70b: passed, 1 run of 1.2 hours\n")
    assert "1 spot node called back" in told
    html = tmp_path / "page.html"
    code, told = command(*QUICK, *lost, "--engine-timeout", "10", "--html", str(html))
    assert code == 1
    assert "FAILED" in told
    assert html.read_text(encoding="utf-8").count("<svg") == 1
    code, written = command(*QUICK, *lost, "--engine-timeout", "10", "--format", "json")
    parsed = json.loads(written)
    assert (code, parsed["passed"]) == (1, False)
    assert "\n\n".join(text(model) for model in parsed["models"]) + "\n" == told


def losses_per_day(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.chdir(ROOT)
    plan, resources = planned(monkeypatch)
    parsed = script.parser().parse_args(["prod", "--seeds", "1", *arguments])
    [found] = script.prepared(plan, plan.models[1:], parsed, resources)
    return found.tasks[0].scenario.platform.supply.losses_per_day


def test_nodes_are_lost_one_by_one_unless_something_else_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    losses = tmp_path / "losses.csv"
    losses.write_text("10\n")
    assert losses_per_day(monkeypatch=monkeypatch) == 2
    assert losses_per_day("--losses", str(losses), monkeypatch=monkeypatch) == 0
    assert losses_per_day("--zone-losses-per-day", "1", monkeypatch=monkeypatch) == 0
    assert losses_per_day("--zone-losses-per-day", "1", "--losses-per-day", "3", monkeypatch=monkeypatch) == 3


def test_what_cannot_be_is_refused_in_a_sentence(command: Call, tmp_path: Path) -> None:
    losses = tmp_path / "losses.csv"
    losses.write_text("99999999\n")
    with pytest.raises(OperationError, match="after the end of a run, 86400 s"):
        command("--losses", str(losses))
    with pytest.raises(OperationError, match=r"none\.csv"):
        command("--losses", str(tmp_path / "none.csv"))
    losses.write_text("soon")
    with pytest.raises(OperationError, match="line 1: 'soon'"):
        command("--losses", str(losses))


@pytest.mark.parametrize("wrong", [["--floor", "-1"], ["--replicas", "0"], ["--seeds", "0"], ["--pre-stop", "-1"]])
def test_a_number_out_of_range_is_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        script.parser().parse_args(["prod", *wrong])
    assert "must be" in (told := capsys.readouterr().err) or "is not 0 or more" in told


def test_every_assumption_names_an_option_that_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    known = script.parser().format_help()
    found = prepared(monkeypatch, Faults(losses=(HOUR,), zone_losses_per_day=1, pre_stop=1, endpoint_lag=1))
    for assumption in found.assumptions:
        for option in re.findall(r"--[a-z-]+", assumption.by):
            assert option in known, option
