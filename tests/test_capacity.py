"""What a switch between spot and on-demand does to prod: two small objects change, and nothing goes away."""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from monitoring.scaling import LOAD
from planning.explanation import explanation
from planning.refusal import Refusal
from planning.schema import Capacity
from preview import Snapshot
from tests.recording import Record, decided, rule_in

REPLACED_BY = {
    # Fields with ForceNew, as far as a pool here has them: hashicorp/terraform-provider-google-beta at 93c65b2d60,
    # google-beta/services/container/node_config.go and resource_container_node_pool.go.
    "gcp:container/nodePool:NodePool": (
        r"cluster|location|initialNodeCount|name"
        r"|nodeConfig\.(spot|flexStart|maxRunDuration|guestAccelerators.*|serviceAccount|oauthScopes.*|metadata.*"
        r"|ephemeralStorageLocalSsdConfig.*|reservationAffinity.*|shieldedInstanceConfig.*)"
    ),
    "kubernetes:apps/v1:Deployment": r"apiVersion|kind|metadata\.(name|namespace)|spec\.selector.*",
}
ANY_KUBERNETES = r"apiVersion|kind|metadata\.(name|namespace)"


def fields(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of an object, by its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from fields(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from fields(inner, f"{path}[{index}]")
    else:
        yield path, value


def changed(before: Snapshot, after: Snapshot) -> dict[str, list[str]]:
    """Names of resources by what an update would do to them."""
    old, new = ({r.urn: r for r in program.resources} for program in (before, after))
    found: dict[str, list[str]] = {"create": [], "delete": [], "replace": [], "update": []}
    found["create"] = [new[urn].name for urn in new.keys() - old.keys()]
    found["delete"] = [old[urn].name for urn in old.keys() - new.keys()]
    for urn in old.keys() & new.keys():
        one, other = dict(fields(old[urn].inputs)), dict(fields(new[urn].inputs))
        paths = {path for path in one.keys() | other.keys() if one.get(path) != other.get(path)}
        if not paths:
            continue
        kind = old[urn].type
        rule = REPLACED_BY.get(kind, ANY_KUBERNETES if kind.startswith("kubernetes:") else ".*")
        replaced = any(re.fullmatch(rule, path) for path in paths)
        found["replace" if replaced else "update"].append(old[urn].name)
    return {what: sorted(names) for what, names in found.items()}


def told(what: str, found: dict[str, list[str]]) -> str:
    counts = ", ".join(f"{len(names)} to {kind}" for kind, names in found.items())
    return f"{what}: {counts}; {', '.join(found['update']) or 'nothing'} changes in place"


@pytest.mark.parametrize("migrate", ["none", "rolling"])
def test_a_switch_of_capacity_replaces_and_deletes_nothing(
    record: Record, migrate: str, capsys: pytest.CaptureFixture[str]
) -> None:
    programs = {mode: record("prod", up=True, config={"capacity": str(mode), "migrate": migrate}) for mode in Capacity}
    lines = []
    for before, after in permutations(Capacity, 2):
        found = changed(programs[before], programs[after])
        lines.append(told(f"prod, migrate {migrate}, {before} -> {after}", found))
        assert not found["create"]
        assert not found["delete"]
        assert not found["replace"]
        classes = {"compute-class-a2-ultragpu-1g", "compute-class-a2-ultragpu-4g"}
        elastic = {"arr-coc-0-1-stable", "llama-3-3-70b-canary", "llama-3-3-70b-stable"}
        # The rules hold the forecast of what that costs.
        assert set(found["update"]) == classes | {"models-rules"} | (elastic if migrate == "rolling" else set())
    with capsys.disabled():
        print("", *lines, sep="\n")  # noqa: T201  (what a reviewer wants to see)


def test_rolling_starts_elastic_pods_anew_and_no_floor(record: Record) -> None:
    before, after = (record("prod", config={"capacity": mode, "migrate": "rolling"}) for mode in ("spot", "on-demand"))
    for name in changed(before, after)["update"]:
        one, other = (dict(fields(program.named(name).inputs)) for program in (before, after))
        paths = {path for path in one | other if one.get(path) != other.get(path)}
        if name == "models-rules":
            assert all(re.fullmatch(r"spec\.groups\[\d+\]\.rules\[\d+\]\.expr", path) for path in paths), paths
        elif not name.startswith("compute-class-"):
            assert paths == {"spec.template.metadata.annotations.llmserve/capacity"}
    assert "llama-3-3-70b-stable-floor" not in changed(before, after)["update"]


def test_a_higher_floor_replaces_and_deletes_nothing(record: Record) -> None:
    floors = [
        record("prod", up=True, paths={"models[1].scaling.min": "2", "models[1].scaling.baseOnDemandReplicas": number})
        for number in ("0", "1", "2")
    ]
    none, one, two = floors
    found = changed(none, one)
    assert (found["create"], found["delete"], found["replace"]) == (["llama-3-3-70b-stable-floor"], [], [])
    found = changed(one, two)
    assert (found["create"], found["delete"], found["replace"]) == ([], [], [])
    assert {"llama-3-3-70b-stable-floor", "llama-3-3-70b-stable-scaling"} <= set(found["update"])
    # The other way the floor's Deployment goes with its last replica; no pool does.
    assert changed(one, none)["delete"] == ["llama-3-3-70b-stable-floor"]


def test_the_rules_would_see_a_pool_that_is_replaced(record: Record) -> None:
    """Somebody who flips `spot` on a pool: what this design is there to avoid."""
    before, after = record("prod", up=True), record("prod", up=True)
    pool = after.named("a2-ultragpu-4g-on-demand", "gcp:container/nodePool:NodePool")
    node = {**pool.inputs["nodeConfig"], "spot": True}
    spot = replace(pool, inputs={**pool.inputs, "nodeConfig": node})
    flipped = replace(after, resources=tuple(spot if one is pool else one for one in after.resources))
    assert changed(before, flipped)["replace"] == ["a2-ultragpu-4g-on-demand"]


def test_floor_and_scaler_add_up(record: Record) -> None:
    program = record("prod", paths={"models[1].scaling.min": "2", "models[1].scaling.baseOnDemandReplicas": "2"})
    floor = program.named("llama-3-3-70b-stable-floor").inputs["spec"]
    scaled = program.named("llama-3-3-70b-stable-scaling").inputs["spec"]
    assert floor["replicas"] == 2
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (0, 2)
    # Four waiting requests a replica, and two replicas that are there anyway.
    load = rule_in(program, LOAD, "llama-3-3-70b")
    assert load.startswith("(clamp_min((sum(last_over_time(tgi_queue_size")
    assert load.endswith(" - 8, 0)) / 4")
    # What KEDA scales is asked for 0 to 2, and never put to sleep by idleness of callers while the floor works.
    assert scaled["scaleTargetRef"]["name"] == "llama-3-3-70b-stable"


def test_a_floor_that_is_everything_leaves_nothing_to_scale(record: Record) -> None:
    paths = {f"models[1].scaling.{key}": "4" for key in ("min", "max", "baseOnDemandReplicas")}
    program = record("prod", paths=paths)
    paused = program.named("llama-3-3-70b-stable-scaling").inputs
    assert paused["metadata"]["annotations"] == {"autoscaling.keda.sh/paused-replicas": "0"}
    assert program.named("llama-3-3-70b-stable-floor").inputs["spec"]["replicas"] == 4


@pytest.mark.parametrize(
    ("migrate", "text"),
    [("none", "moves no replica that runs"), ("rolling", "up to 363 s, long enough for every answer")],
)
def test_the_plan_says_what_moves(migrate: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = explanation(decided("prod", {"migrate": migrate}, {}, monkeypatch))
    assert text in shown
    assert "a lower floor than 1 stops such replicas at once" in shown


def test_who_lives_on_spot_alone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def warned(config: dict[str, str], paths: dict[str, str]) -> bool:
        return any("lives on spot nodes first" in w for w in decided("prod", config, paths, monkeypatch).warnings)

    assert not warned({}, {})
    assert warned({}, {"models[0].batchTolerant": "false"})
    assert warned({"capacity": "spot"}, {"models[1].scaling.baseOnDemandReplicas": "0"})
    assert not warned({"capacity": "on-demand"}, {"models[0].batchTolerant": "false"})


def test_models_of_one_machine_agree_on_a_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {
        "models[0].scaling.dynamicOnDemandFallback": "true",
        "models[1].gpu.tensorParallel": "1",
        "models[1].quantize": "eetq",
        "models[1].repository": "Qwen/Qwen2.5-7B-Instruct",
        "models[1].scaling.dynamicOnDemandFallback": "false",
    }
    with pytest.raises(Refusal, match="one order for all models"):
        decided("prod", {}, paths, monkeypatch)
