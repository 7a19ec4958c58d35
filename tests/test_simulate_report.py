"""From a stack to a report: what the stack says is what is simulated, and what it does not say is told as assumed."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from monitoring.scaling import ASKED, HELD, LOAD, THERE, UNSEEN, WANTED
from planning.cost.recorded import Recorded
from planning.plan import Plan
from planning.simulate.page import page
from planning.simulate.platform import Balancing, simulate
from planning.simulate.report import document, text
from planning.simulate.results import Provisioning, Results, Use
from planning.simulate.scalers import Keda
from planning.simulate.scenario import Options, Policy, Scenario, scenario
from planning.simulate.traces import read_trace
from scripts import simulate as script
from scripts.terminal import OperationError
from tests.recording import ROOT, decided, resources_of

TRACE = ROOT / "planning" / "simulate" / "example_trace.csv"
SHORT = Options(trace=read_trace(TRACE).requests[:300])


class Planned(NamedTuple):
    """A stack's plan, and what its program makes of it."""

    plan: Plan
    resources: Sequence[Recorded]


def planned(monkeypatch: pytest.MonkeyPatch, stack: str = "prod", **paths: str) -> Planned:
    config = {"llmserve:capacity": paths.pop("capacity")} if "capacity" in paths else {}
    at = {f"llmserve:{key}": value for key, value in paths.items()}
    return Planned(plan=decided(stack, config, at, monkeypatch), resources=resources_of(stack, config, at))


def made(of: Planned, name: str, options: Options = SHORT) -> Scenario:
    model = next(model for model in of.plan.models if model.name == name)
    return scenario(of.plan, model, options, of.resources)


def run(found: Scenario) -> Results:
    return simulate(found.platform, found.requests(), seconds=found.seconds, seed=found.seed)


def test_what_the_stack_says_is_simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(monkeypatch)
    llama, arr_coc = made(plan, "llama-3-3-70b"), made(plan, "arr-coc-0-1")
    stable, canary = llama.platform.versions
    assert (stable.share, canary.share) == (0.9, 0.1)
    # TGI's own limit, and the canary's.
    assert (stable.limits.requests, canary.limits.requests) == (128, 256)
    assert stable.limits.cached_tokens == 429_970
    # One of the four is the floor's; a queue of four a replica, less what the floor takes.
    scaler = stable.scaler()
    assert isinstance(scaler, Keda)
    assert (scaler.floor, scaler.scaled.minimum, scaler.scaled.maximum) == (1, 0, 3)
    assert [trigger.name for trigger in scaler.scaled.triggers] == ["wanted"]
    [load] = (rule.expression for rule in stable.rules if rule.name == LOAD)
    assert load.endswith(" - 4, 0)) / 4")
    assert (stable.floor, stable.initial, stable.workload) == (1, 1, "llama-3-3-70b-stable")
    # What components/traffic.py renders, and what the queries select by.
    gateway, series = llama.platform.gateway, llama.platform.series
    assert (gateway.attempts, gateway.ejected_after, gateway.ejection_seconds, gateway.most_ejected) == (3, 2, 30, 0.5)
    assert llama.platform.balancing is Balancing.LEAST_OF_TWO
    assert (series.queue, series.in_flight) == ("tgi_queue_size", "tgi_batch_current_size")
    assert {series.job, series.gateway_job} == {"models/merged-metrics", "istio-ingress/merged-metrics"}
    assert llama.platform.gpus == 4
    assert llama.platform.supply.order == (Provisioning.SPOT, Provisioning.ON_DEMAND)
    assert (llama.platform.stopping.engine, llama.platform.stopping.spot_window) == (328, 105)
    only = arr_coc.platform.versions[0].scaler()
    assert isinstance(only, Keda)
    assert (only.floor, only.scaled.minimum, only.scaled.maximum) == (0, 0, 10)
    rules = arr_coc.platform.versions[0].rules
    assert [rule.name for rule in rules] == [THERE, ASKED, UNSEEN, LOAD, HELD, WANTED]
    assert {dict(rule.labels)["model"] for rule in rules} == {"arr-coc-0-1"}
    assert arr_coc.always_on == 3


def test_capacity_decides_where_nodes_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(monkeypatch, capacity="on-demand")
    found = made(plan, "llama-3-3-70b")
    assert found.platform.supply.order == (Provisioning.ON_DEMAND,)
    assert "spot losses" not in [assumption.what for assumption in found.assumptions]
    assert {provisioning for provisioning, _ in run(found).node_seconds} == {Provisioning.ON_DEMAND}


def test_every_assumption_says_who_makes_it_and_every_option_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, resources = planned(monkeypatch)
    known = script.parser().format_help()
    assert plan.models
    for model in plan.models:
        for assumption in scenario(plan, model, Options(), resources).assumptions:
            assert assumption.what
            assert assumption.value
            assert assumption.by
            for option in re.findall(r"--[a-z-]+", assumption.by):
                assert option in known, option


def test_a_version_asleep_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = {"models[1].rollout.versions[0].weight": "100", "models[1].rollout.versions[1].weight": "0"}
    assert [v.name for v in made(planned(monkeypatch, **weights), "llama-3-3-70b").platform.versions] == ["stable"]


def test_a_model_of_unknown_shape_is_refused_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, resources = planned(monkeypatch, "dev", **{"models[0].repository": "nobody/nothing"})
    with pytest.raises(ValueError, match="set architecture"):
        scenario(plan, plan.models[0], SHORT, resources)


def test_the_cost_is_hours_times_price_and_says_what_is_not_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(monkeypatch)
    found = made(plan, "llama-3-3-70b")
    results = run(found)
    told = document(found, results)
    machine = plan.plan.models[1].machine
    prices = {Provisioning.SPOT: machine.spot_usd_per_hour, Provisioning.ON_DEMAND: machine.on_demand_usd_per_hour}
    # The floor is on demand and always there.
    assert {kind for kind, _ in results.node_seconds} == set(Provisioning)
    nodes = sum(seconds / 3600 * (prices[kind] or 0) for (kind, _), seconds in results.node_seconds.items())
    downloads = len(results.starts) * 141.1 * 0.045
    assert told["cost"]["total"] == pytest.approx(nodes + downloads, abs=0.01)
    assert any("--cost" in left_out for left_out in told["cost"]["unpriced"])
    assert made(plan, "arr-coc-0-1").weights_gb is None
    coc = document(made(plan, "arr-coc-0-1"), run(made(plan, "arr-coc-0-1")))
    assert "what a start downloads" in coc["cost"]["unpriced"]


def test_an_unknown_price_is_told_and_not_nothing() -> None:
    results = Results(seconds=3600, gpus=1)
    results.node_seconds[Provisioning.SPOT, Use.IDLE] = 3600
    with pytest.raises(KeyError):
        results.cost({Provisioning.ON_DEMAND: 5.0})


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(monkeypatch)

    def written(seed: int) -> tuple[str, str]:
        found = made(plan, "arr-coc-0-1", Options(days=0.5, requests_per_second=0.05, seed=seed))
        results = run(found)
        return json.dumps(document(found, results)), page("prod", [(found, results)])

    assert written(1) == written(1)
    assert written(1) != written(2)


def test_the_page_stands_alone_and_escapes_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    found = made(planned(monkeypatch), "llama-3-3-70b")
    shown = page("<b>", [(found, run(found))])
    assert "<h1>Simulation of &lt;b&gt;</h1>" in shown
    assert "<script" not in shown
    assert not re.findall(r'(?:src|href)="https?:', re.sub(r"xmlns(:\w+)?=\"[^\"]*\"", "", shown))
    assert "GPU hours" in shown
    assert all(assumption.what in shown for assumption in found.assumptions)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*arguments: str) -> str:
        monkeypatch.chdir(ROOT)
        assert script.main(arguments) == 0
        return capsys.readouterr().out

    return call


def test_the_command_tells_each_model_and_json_is_the_same(command: Any, tmp_path: Path) -> None:
    quick = ("--trace", str(TRACE), "--days", "0.5")
    told = command("prod", *quick, "--html", str(tmp_path / "page.html"))
    assert [line.split(",")[0] for line in told.splitlines() if line.startswith("Model")] == [
        "Model arr-coc-0-1",
        "Model llama-3-3-70b",
    ]
    parsed = json.loads(command("prod", *quick, "--format", "json"))
    assert "\n\n".join(text(model) for model in parsed["models"]) + "\n" == told
    assert (tmp_path / "page.html").read_text(encoding="utf-8").count("<svg") == 2


@pytest.mark.parametrize("policy", list(Policy))
def test_every_policy_serves(command: Any, policy: Policy) -> None:
    [model] = json.loads(
        command("prod", "--model", "llama-3-3-70b", "--policy", str(policy), "--trace", str(TRACE), "--format", "json")
    )["models"]
    # A schedule is off at night, and the trace has some who ask at night and give up.
    assert model["requests"]["servedShare"] > (0.7 if policy is Policy.SCHEDULE else 0.99)


def test_what_cannot_be_is_refused_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    wrong: Sequence[tuple[list[str], str]] = [
        (["prod", "--model", "other"], "one of arr-coc-0-1, llama-3-3-70b"),
        (["prod", "--trace", str(empty)], "empty"),
        (["prod", "--trace", str(tmp_path / "none.csv")], "none.csv"),
    ]
    for arguments, reason in wrong:
        with pytest.raises(OperationError, match=reason):
            script.main(arguments)
