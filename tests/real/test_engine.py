"""Tier 1: what the offline preview says is what the engine does."""

import copy
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from preview import record
from preview.diff.compare import CLUSTER, Operation, compare
from tests.real.engine import Engine, forgotten, imagined
from tests.real.parity import EXEMPTIONS, Difference, comparable, differences_of, options_of, outputs_of, unexplained
from tests.real.programs import need
from tests.real.stand_in import UNKNOWN, Cloud, Kind, Server
from tests.test_diff_replacements import CASES

TIER = "engine"

TOKEN = "hf_a-token-that-nobody-may-see"  # noqa: S105 - made up
MODEL = "arr-coc-0-1"

REFUSED: dict[str, dict[str, Any]] = {
    "misspelt key": {"llmserve:capasity": "spot"},
    "several wrong values": {"llmserve:capacity": "never", "llmserve:systemMinNodes": 0, "llmserve:zones": ["mars"]},
    "impossible plan": {"llmserve:zones": ["us-central1-d"]},
}
"""Settings of dev that the program refuses."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Previewed:
    """One stack as the engine and as the offline preview show it."""

    engine: dict[str, Any]
    ours: dict[str, Any]
    requests: list[dict[str, Any]]
    outputs: dict[str, Any]

    def differences(self) -> list[Difference]:
        return differences_of(self.engine, self.ours)


@dataclass(kw_only=True)
class Previews:
    """Previews each stack once."""

    engine: Engine
    _seen: dict[str, Previewed] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)

    def of(self, stack: str) -> Previewed:
        if stack not in self._seen:
            self.engine.make(stack)
            if stack == "token":
                self.engine.settings(stack, {"llmserve:huggingFaceTokenFrom": "config"})
                self.engine.run("config", "set", "--secret", "huggingFaceToken", TOKEN, "--stack", stack)
            document, requests = self.engine.preview(stack)
            self._seen[stack] = Previewed(
                engine=document,
                ours=self.engine.offline(stack),
                requests=requests,
                outputs=self.engine.offline_outputs(stack),
            )
        return self._seen[stack]


@pytest.fixture(scope="module")
def previews(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Previews]:
    with Server(Cloud()) as server:
        engine = Engine(tmp_path_factory.mktemp("previews"), server.attach)
        for stack in ("token", "bucket"):
            shutil.copy(engine.project / "Pulumi.dev.yaml", engine.project / f"Pulumi.{stack}.yaml")
        engine.settings("bucket", {"llmserve:weightsFrom": "bucket", "llmserve:budget": BUDGET})
        yield Previews(engine=engine)


STACKS = ("dev", "prod", "token", "bucket")
"""Every stack of the project; dev with a token of its own, for a secret that passes through the program; and dev with
what no committed stack has, weights in a bucket and a budget."""
BUDGET = {"billingAccount": "012345-6789AB-CDEF01", "monthlyUsd": 100}
COST = "cost"
"""The one that makes nothing: its outputs are compared."""


def test_every_stack_of_the_project_is_compared(previews: Previews) -> None:
    assert set(previews.engine.stacks()) <= {*STACKS, COST}


@pytest.mark.parametrize("stack", STACKS)
def test_the_previews_are_equal(previews: Previews, stack: str) -> None:
    previewed = previews.of(stack)
    assert len(previewed.engine["steps"]) > 50
    assert unexplained(previewed.differences()) == []


@pytest.mark.parametrize("stack", STACKS)
def test_the_options_are_those_that_the_program_sends(previews: Previews, stack: str) -> None:
    previewed = previews.of(stack)
    ours = {step["urn"]: step["newState"].get("options", {}) for step in previewed.ours["steps"]}
    assert comparable(options_of(previewed.requests)) == comparable(ours)


@pytest.mark.parametrize("stack", STACKS)
def test_the_outputs_are_those_that_components_register(previews: Previews, stack: str) -> None:
    previewed = previews.of(stack)
    assert len(previewed.outputs) > 10
    assert outputs_of(previewed.requests) == comparable(previewed.outputs)


def test_no_exemption_is_out_of_date(previews: Previews) -> None:
    seen = [difference.where for stack in STACKS for difference in previews.of(stack).differences()]
    unused = [e.where for e in EXEMPTIONS if not any(re.fullmatch(e.where, where) for where in seen)]
    assert unused == []


@pytest.mark.parametrize("capacity", ["spot-with-fallback", "on-demand"])
def test_the_cost_stack_tells_what_the_offline_preview_reckons_to_the_cent(previews: Previews, capacity: str) -> None:
    engine = previews.engine
    if COST not in previews.made:
        engine.make(COST)
        previews.made.add(COST)
    engine.run("config", "set", "capacity", capacity, "--stack", COST)
    _, requests = engine.preview(COST)
    [told] = [found for urn, found in outputs_of(requests).items() if urn.endswith(f"-{COST}")]
    reckoned = engine.offline_cost("prod", "-c", f"capacity={capacity}")
    assert told["chosen"] == {"capacity": capacity, "monthly": reckoned["monthly"]}
    assert told["comparison"][capacity]["autoscaled"] == reckoned["monthly"]["expected"]
    assert (told["difference"]["expected"] > 0) is (capacity == "on-demand")
    # It asks the engine for nothing but itself.
    assert not options_of(requests).keys() - outputs_of(requests).keys()


MANDATORY: dict[str, Any] = {"llmserve:policies": {}, "llmserve:maxUsdPerHour": 1}


@pytest.mark.parametrize(
    ("stack", "settings", "code"),
    [("dev", {}, 0), ("prod", {}, 0), ("prod", MANDATORY, 3)],
    ids=["dev", "prod", "prod, every rule mandatory"],
)
def test_the_policy_pack_comes_to_the_same_verdict(
    previews: Previews, stack: str, settings: dict[str, Any], code: int
) -> None:
    engine = previews.engine
    previews.of(stack)
    before = (engine.project / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8")
    try:
        engine.settings(stack, settings)
        ours = engine.offline_policies(stack, code=code)
        theirs, asked = engine.policies(stack, code=code)
        we_ask = engine.offline_policy_requests(stack)
    finally:
        (engine.project / f"Pulumi.{stack}.yaml").write_text(before, encoding="utf-8")
    expected = set()
    for found in ours:
        if found["verdict"] == "violated":
            expected.add((found["rule"], found["urn"], found["message"], found["level"]))
        elif found["verdict"] == "not judged" and found["level"] != "disabled" and found["urn"]:
            about = f"can't run policy '{found['rule']}' from policy pack 'llmserve@v0.0.1' during preview: "
            expected.add((found["rule"], found["urn"], about + found["message"], "advisory"))
    said = {(e["policyName"], e["resourceUrn"], e["message"].strip(), e["enforcementLevel"]) for e in theirs}
    # The engine says of what is about the whole stack that it is about the stack's own resource.
    root = f"urn:pulumi:{stack}::llmserve::pulumi:pulumi:Stack::llmserve-{stack}"
    assert said == {(rule, urn or root, message, level) for rule, urn, message, level in expected}
    assert ("mandatory" in {level for *_, level in said}) is (code == 3)
    # The pack is asked the same about each resource: what it is to be, its options and its provider.
    assert len(we_ask) == len(asked) > 50
    for request in (*asked, *we_ask):
        if request["name"] == "hugging-face-token-access":
            # The project's number, for which the engine asks Google: EXEMPTIONS.
            del request["properties"]["member"]
    by_urn = {request["urn"]: comparable(request) for request in asked}
    assert {request["urn"]: comparable(request) for request in we_ask} == by_urn


def test_a_violated_mandatory_rule_stops_an_update_before_anything_is_made(tmp_path: Path) -> None:
    cloud = Cloud()
    with Server(cloud) as server:
        engine = Engine(tmp_path, server.attach)
        engine.make("dev")
        engine.settings("dev", MANDATORY)
        stopped = engine.run("up", "--yes", "--stack", "dev", "--policy-pack", "policy", code=1)
        assert "[mandatory]  images-pinned" in stopped.stdout
        assert not cloud.ledger


def test_a_secret_is_shown_by_neither(previews: Previews) -> None:
    previewed = previews.of("token")
    assert TOKEN not in str(previewed.engine)
    assert TOKEN not in str(previewed.ours)
    assert "[secret]" in str(previewed.ours["steps"])


@pytest.mark.parametrize("mistake", REFUSED)
def test_a_refusal_reads_the_same(previews: Previews, mistake: str) -> None:
    engine = previews.engine
    previews.of("dev")
    before = (engine.project / "Pulumi.dev.yaml").read_text(encoding="utf-8")
    try:
        engine.settings("dev", REFUSED[mistake])
        refused = engine.run("preview", "--stack", "dev", code=1)
        ours = engine.offline_refusal("dev").strip()
    finally:
        (engine.project / "Pulumi.dev.yaml").write_text(before, encoding="utf-8")
    indented = ours.replace("\n", "\n    ")
    assert f"    error: {indented}\n" in refused.stdout
    assert "Traceback" not in refused.stdout + refused.stderr


def test_the_real_kubernetes_provider_previews_the_same(tmp_path: Path) -> None:
    provider = need("pulumi-resource-kubernetes")
    with Server(Cloud(), packages=("gcp", "random")) as server:
        engine = Engine(tmp_path, server.attach, provider)
        engine.make("prod")
        document, _ = engine.preview("prod")
        own = (provider.name, "resource plugin kubernetes is expected to have version")
        document["diagnostics"] = [d for d in document["diagnostics"] if not any(text in d["message"] for text in own)]
        assert unexplained(differences_of(document, engine.offline("prod"))) == []


def predicted(before: dict[str, Any], after: dict[str, Any]) -> set[tuple[str, str]]:
    """What the engine will ask of providers between two offline previews, as (operation, URN)."""
    old, new = ({step["urn"]: step["newState"] for step in document["steps"]} for document in (before, after))
    replaced = {urn for urn in old.keys() & new.keys() if _cluster(old[urn]) != _cluster(new[urn])}
    found: set[tuple[str, str]] = set()
    for urn in old.keys() | new.keys():
        state = new.get(urn) or old[urn]
        if not state["custom"] or state["type"].startswith("pulumi:providers:"):
            continue
        moved = state["provider"].rpartition("::")[0] in replaced
        if urn not in old or moved:
            found.add(("create", urn))
        if urn not in new or moved:
            found.add(("delete", urn))
        if urn in old and urn in new and not moved and old[urn]["inputs"] != new[urn]["inputs"]:
            found.add(("update", urn))
    return found


def _cluster(state: dict[str, Any]) -> Any:
    return state.get("inputs", {}).get("clusterIdentifier")


def agrees(expected: Any, actual: Any) -> bool:
    """Whether what the preview knew of a value came true."""
    if expected in (UNKNOWN, "[secret]"):
        return True
    if isinstance(expected, dict) and isinstance(actual, dict):
        return expected.keys() == actual.keys() and all(agrees(expected[key], actual[key]) for key in expected)
    if isinstance(expected, list) and isinstance(actual, list):
        return len(expected) == len(actual) and all(agrees(*pair) for pair in zip(expected, actual, strict=True))
    return bool(comparable(expected) == comparable(actual))


@dataclass(kw_only=True)
class Deployed:
    """A stack that was brought up, and the offline preview that it was brought up from."""

    engine: Engine
    cloud: Cloud
    stack: str
    preview: dict[str, Any]

    def change(self, settings: dict[str, Any]) -> set[tuple[str, str]]:
        """Change settings and bring the stack up; what that did has to be what the previews say."""
        before, start = self.preview, len(self.cloud.ledger)
        self.engine.settings(self.stack, settings)
        self.preview = self.engine.offline(self.stack)
        self.engine.up(self.stack)
        done = self.cloud.operations(start)
        assert done == predicted(before, self.preview)
        self.is_whole()
        return done

    def shown(self, settings: dict[str, Any]) -> dict[str, set[str]]:
        """Change settings, and return what the engine's preview says of it: URNs by operation, less what stays."""
        self.engine.settings(self.stack, settings)
        document, _ = self.engine.preview(self.stack)
        found: dict[str, set[str]] = {}
        for step in document["steps"]:
            found.setdefault(step["op"], set()).add(step["urn"])
        counted = dict(document["changeSummary"])
        for kinds in (found, counted):
            kinds.pop("same", None)  # Of what stays, the document counts all and shows none but the stack.
        assert {kind: len(urns) for kind, urns in found.items()} == counted
        return found

    def urns(self) -> set[str]:
        """Everything that exists."""
        return {found.urn for found in self.cloud.existing.values()}

    def is_whole(self) -> None:
        """Everything is there once, and the engine knows of it."""
        state = self.engine.state(self.stack)
        wanted = {urn for operation, urn in predicted({"steps": []}, self.preview) if operation == "create"}
        assert forgotten(self.cloud, state) == imagined(self.cloud, state) == set()
        assert len(self.cloud.existing) == len(wanted)
        assert self.urns() == wanted


def deploy(folder: Path, stack: str, settings: dict[str, Any] | None = None) -> Iterator[Deployed]:
    cloud = Cloud()
    with Server(cloud) as server:
        engine = Engine(folder, server.attach)
        engine.settings(stack, settings or {})
        engine.make(stack)
        deployed = Deployed(engine=engine, cloud=cloud, stack=stack, preview=engine.offline(stack))
        engine.up(stack)
        yield deployed


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    yield from deploy(tmp_path_factory.mktemp("dev"), "dev")


@pytest.fixture(scope="module")
def prod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    yield from deploy(tmp_path_factory.mktemp("prod"), "prod")


@pytest.fixture(scope="module")
def unprotected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Prod as it is, but that the engine may replace what is protected there: else it refuses the preview."""
    yield from deploy(tmp_path_factory.mktemp("unprotected"), "prod", {"llmserve:deletionProtection": False})


def test_a_preview_writes_nothing_to_the_state_not_even_a_lock(dev: Deployed) -> None:
    """So the account of the workflow `pulumi-preview` may be one that only reads the bucket.

    A lock that came and went would show in the time of its folder.
    """

    def looked_at() -> dict[Path, tuple[int, bytes]]:
        return {
            path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
            for path in dev.engine.state_folder.rglob("*")
        }

    before = looked_at()
    assert any(path.name == "dev.json" for path in before)
    dev.engine.preview("dev")
    assert looked_at() == before
    dev.engine.run("refresh", "--yes", "--stack", "dev")
    assert looked_at() != before


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_up_makes_what_the_preview_shows(request: pytest.FixtureRequest, stack: str) -> None:
    deployed: Deployed = request.getfixturevalue(stack)
    deployed.is_whole()
    assert deployed.cloud.operations() == predicted({"steps": []}, deployed.preview)
    assert all(operation.made for operation in deployed.cloud.ledger)
    wanted = {step["urn"]: step["newState"].get("inputs", {}) for step in deployed.preview["steps"]}
    wrong = [done.urn for done in deployed.cloud.ledger if not agrees(wanted[done.urn], dict(done.inputs))]
    assert wrong == []


def test_up_again_changes_nothing(dev: Deployed) -> None:
    assert dev.change({}) == set()


def test_no_capacity_and_no_floor_makes_anything_anew(prod: Deployed) -> None:
    """To each other capacity and back, and to a larger floor and back: nothing but updates in place."""
    models = prod.engine.setting("prod", "llmserve:models")
    floor = copy.deepcopy(models)
    (scaling,) = (model["scaling"] for model in floor if "baseOnDemandReplicas" in model["scaling"])
    assert scaling["baseOnDemandReplicas"] == 1
    scaling |= {"baseOnDemandReplicas": 2, "min": 2}
    # The rules hold the forecast of what the nodes cost.
    changing = {urn for urn in prod.urns() if "v1:ComputeClass::" in urn or urn.endswith("::models-rules")}
    for capacity in ("on-demand", "spot", "spot-with-fallback"):
        settings = {"llmserve:capacity": capacity}
        assert prod.shown(settings) == {"update": changing}
        assert prod.change(settings) == {("update", urn) for urn in changing}
    for changed in (floor, models):
        shown = prod.shown({"llmserve:models": changed})
        assert shown.keys() == {"update"}
        assert any("apps/v1:Deployment::" in urn and urn.endswith("-floor") for urn in shown["update"])
        assert prod.change({"llmserve:models": changed}) == {("update", urn) for urn in shown["update"]}


def test_a_pool_whose_nodes_are_bought_in_another_way_would_be_made_anew(prod: Deployed) -> None:
    """So the test above can fail: the engine shows what the provider replaces."""
    file = prod.engine.project / "planning" / "pools.py"
    source = file.read_text(encoding="utf-8")
    ours = "return self.kind is PoolKind.SPOT\n"
    assert ours in source
    pools = {urn for urn in prod.urns() if urn.endswith("-on-demand")}
    try:
        file.write_text(source.replace(ours, "return self.kind is not PoolKind.FLOOR\n"), encoding="utf-8")
        shown = prod.shown({})
    finally:
        file.write_text(source, encoding="utf-8")
    assert len(pools) > 1
    assert shown["replace"] == pools


@pytest.mark.parametrize("name", CASES)
def test_what_a_change_replaces_is_what_the_engine_shows(unprotected: Deployed, name: str) -> None:
    """By its own step generator, over what the stand-ins say as the providers do."""
    project = unprotected.engine.project
    before = record(project, "prod")
    kept = {file: file.read_bytes() for file in (*project.glob("*.yaml"), *(project / "components").glob("*.py"))}
    try:
        CASES[name].change(project)
        expected = compare(before, record(project, "prod"), stack="prod")
        shown = unprotected.shown({})
    finally:
        for file, content in kept.items():
            file.write_bytes(content)
    # While its cluster is not known the engine asks the provider nothing, and tells most of what is in it as updated.
    blind = any(one.type == CLUSTER for one in expected.of(Operation.REPLACE))
    for operation in (Operation.REPLACE, Operation.UPDATE, Operation.CREATE, Operation.DELETE):
        ours, theirs = {one.urn for one in expected.of(operation)}, shown.get(str(operation), set())
        if blind:
            ours, theirs = ({urn for urn in urns if "kubernetes:" not in urn} for urns in (ours, theirs))
        assert ours == theirs, operation


def test_a_removed_model_goes_with_all_that_was_its_own(prod: Deployed) -> None:
    kept = [m for m in prod.engine.setting("prod", "llmserve:models") if m["name"] != MODEL]
    done = prod.change({"llmserve:models": kept})
    own = {urn for kind, urn in done if kind == "delete"}
    assert {urn for urn in own if f"::{MODEL}" in urn or f"-{MODEL}" in urn} != set()
    assert not [found.urn for found in prod.cloud.existing.values() if MODEL in str(found.inputs)]


def test_another_cluster_generation_makes_everything_in_the_cluster_anew(dev: Deployed) -> None:
    inside = {urn for urn in dev.urns() if "kubernetes:" in urn.split("::")[2]}
    done = dev.change({"llmserve:clusterGeneration": 2})
    assert done == {(kind, urn) for urn in inside for kind in ("create", "delete")}


def test_a_protected_stack_is_not_destroyed(prod: Deployed) -> None:
    start = len(prod.cloud.ledger)
    refused = prod.engine.run("destroy", "--yes", "--stack", "prod", code=1)
    assert "protect" in refused.stdout + refused.stderr
    assert len(prod.cloud.ledger) == start


def test_destroy_leaves_nothing_and_takes_the_system_nodes_last(dev: Deployed) -> None:
    start = len(dev.cloud.ledger)
    dev.engine.run("destroy", "--yes", "--skip-preview", "--stack", "dev")
    assert dev.cloud.existing == {}
    deleted = dev.cloud.ledger[start:]
    assert {operation.kind for operation in deleted} == {Kind.DELETE}
    nodes = next(i for i, operation in enumerate(deleted) if operation.urn.endswith("::cluster-system"))
    assert [operation.urn for operation in deleted[nodes:] if operation.type.startswith("kubernetes:")] == []
