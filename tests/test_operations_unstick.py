import json
from pathlib import Path
from typing import Any

import pytest

from scripts.unstick import Release, adopt, identify, main, pending_creates
from tests.operations_fakes import Answer, Fakes, Shell

URN = "urn:pulumi:prod::llmserve::"
VPC: dict[str, Any] = {
    "urn": f"{URN}gcp:compute/network:Network::vpc",
    "custom": True,
    "type": "gcp:compute/network:Network",
    "inputs": {"name": "vpc-1234567"},
}
ADOPTED = {**VPC, "id": "projects/acme-llm/global/networks/vpc-1234567"}
DEFAULTS = {"project": "acme-llm", "region": "us-central1"}
HISTORY = "monitoring kube-prometheus-stack 1 superseded\nmonitoring kube-prometheus-stack 2 deployed\n"


def state(*resources: dict[str, Any], pending: tuple[dict[str, Any], ...] = ()) -> str:
    operations = [{"resource": resource, "type": "creating"} for resource in pending]
    return json.dumps({"version": 3, "deployment": {"resources": resources, "pending_operations": operations}})


def release(*statuses: str) -> Release:
    return Release(namespace="monitoring", name="kps", history=tuple(enumerate(statuses, start=1)))


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    fakes = Fakes(tmp_path / "fakes")
    fakes.add(
        "pulumi",
        Answer(to="whoami", stdout=json.dumps({"url": "gs://acme-llm-llmserve-state"})),
        Answer(to="stack export", stdout=state()),
    )
    for program in ("gcloud", "gke-gcloud-auth-plugin", "helm"):
        fakes.add(program, Answer())
    fakes.add("kubectl", Answer(to="get secrets", stdout=HISTORY))
    shell = Shell(fakes, monkeypatch, capfd)
    (shell.project / "Pulumi.prod.yaml").write_text(
        "config:\n  gcp:project: acme-llm\n  gcp:region: us-central1\n  llmserve:name: llmserve\n", encoding="utf-8"
    )
    return shell


def called(shell: Shell, program: str) -> list[str]:
    return [" ".join(call[1:]) for call in shell.fakes.calls() if call[0] == program]


@pytest.mark.parametrize(
    ("statuses", "command"),
    [
        (["pending-install"], "helm uninstall kps"),
        (["failed", "pending-upgrade"], "helm uninstall kps"),
        (["superseded", "deployed", "pending-upgrade"], "helm rollback kps 2"),
        (["superseded", "deployed", "failed", "pending-rollback"], "helm rollback kps 2"),
        (["superseded", "superseded", "failed", "pending-rollback"], "helm rollback kps 2"),
        (["deployed", "uninstalling"], "helm uninstall kps"),
    ],
)
def test_what_is_pending_goes_back_to_what_was_whole_or_goes(statuses: list[str], command: str) -> None:
    repair = release(*statuses).repair()
    assert repair is not None
    assert " ".join(repair).startswith(f"{command} --namespace monitoring ")


@pytest.mark.parametrize("status", ["deployed", "failed", "superseded"])
def test_a_release_that_nothing_holds_is_left_alone(status: str) -> None:
    assert release("pending-upgrade", status).repair() is None


def test_a_pending_release_is_repaired_and_the_state_looked_at(shell: Shell) -> None:
    stuck = HISTORY + "monitoring kube-prometheus-stack 3 pending-upgrade\nkeda keda 1 deployed\n"
    shell.fakes.add("kubectl", Answer(to="get secrets", stdout=stuck))
    finished = shell.run(main, "prod", "--yes")
    place = "--namespace monitoring --wait --timeout 10m"
    assert called(shell, "helm") == [f"rollback kube-prometheus-stack 2 {place}"]
    # The fake cluster never changes: the release is pending still, and that is said.
    assert "monitoring/kube-prometheus-stack: was pending-upgrade, is pending-upgrade" in finished.out
    assert finished.code == 1
    done = [call for call in called(shell, "pulumi") if not call.startswith("whoami")]
    assert done == [
        "cancel --yes --stack prod --non-interactive",
        "stack export --stack prod --non-interactive",
        "refresh --yes --skip-preview --stack prod --non-interactive",
        "stack export --stack prod --non-interactive",
    ]


def test_where_nothing_is_pending_helm_is_not_needed(shell: Shell) -> None:
    (shell.fakes.path / "helm").unlink()
    finished = shell.run(main, "prod", "--yes")
    assert finished.code == 0, finished.err
    assert "no Helm release is pending" in finished.out
    assert "then: make up STACK=prod" in finished.out


def test_without_helm_nothing_is_changed_and_the_way_to_it_is_named(shell: Shell) -> None:
    (shell.fakes.path / "helm").unlink()
    shell.fakes.add("kubectl", Answer(to="get secrets", stdout="keda keda 1 pending-install\n"))
    finished = shell.run(main, "prod", "--yes")
    assert finished.code == 2
    assert "https://helm.sh/docs/intro/install/" in finished.err
    assert not [call for call in called(shell, "pulumi") if "cancel" in call or "refresh" in call]


def test_nobody_to_ask_changes_nothing(shell: Shell) -> None:
    finished = shell.run(main, "prod")
    assert finished.code == 2
    assert "--yes" in finished.err
    assert [call for call in called(shell, "pulumi") if not call.startswith("whoami")] == []


def test_helms_own_words_are_shown_where_it_fails(shell: Shell) -> None:
    shell.fakes.add("kubectl", Answer(to="get secrets", stdout="keda keda 1 pending-install\n"))
    shell.fakes.add("helm", Answer(stderr="Error: timed out", code=1))
    finished = shell.run(main, "prod", "--yes")
    assert finished.code == 1
    assert "failed: Error: timed out" in finished.out


def test_before_there_is_a_cluster_only_the_state_is_repaired(shell: Shell) -> None:
    shell.fakes.add("gcloud", Answer(stderr="ERROR: ResponseError: code=404, message=Not found", code=1))
    finished = shell.run(main, "prod", "--yes")
    assert finished.code == 0, finished.err
    assert called(shell, "kubectl") == []
    assert any(call.startswith("refresh") for call in called(shell, "pulumi"))


def test_a_cluster_that_cannot_be_reached_stops_everything(shell: Shell) -> None:
    shell.fakes.add("gcloud", Answer(stderr="ERROR: you are not logged in", code=1))
    finished = shell.run(main, "prod", "--yes")
    assert finished.code == 2
    assert "you are not logged in" in finished.err
    assert not [call for call in called(shell, "pulumi") if "cancel" in call]


def test_what_was_being_made_is_given_its_id_and_looked_up(shell: Shell) -> None:
    shell.fakes.add(
        "pulumi",
        Answer(to="whoami", stdout=json.dumps({"url": "gs://acme-llm-llmserve-state"})),
        Answer(to="stack export", stdout=state(pending=(VPC,))),
    )
    finished = shell.run(main, "prod", "--yes")
    assert finished.code == 0, finished.err
    assert any(call.startswith("stack import --file ") for call in called(shell, "pulumi"))
    assert "vpc: was not made" in finished.out


def test_what_cannot_be_identified_is_left_to_a_person(shell: Shell) -> None:
    password = {"urn": f"{URN}random:index/randomPassword:RandomPassword::p", "custom": True}
    password |= {"type": "random:index/randomPassword:RandomPassword"}
    shell.fakes.add(
        "pulumi",
        Answer(to="whoami", stdout=json.dumps({"url": "gs://acme-llm-llmserve-state"})),
        Answer(to="stack export", stdout=state(pending=(password,))),
    )
    finished = shell.run(main, "prod", "--yes")
    assert finished.code == 1
    assert f"{password['urn']}: look whether it was made, then: pulumi refresh --stack prod" in finished.out


def test_a_pending_create_becomes_a_resource_and_is_pending_no_more() -> None:
    deployment = json.loads(state(pending=(VPC,)))["deployment"]
    adopted = adopt(deployment, {VPC["urn"]: ADOPTED["id"]})
    assert adopted["resources"] == [ADOPTED]
    assert adopted["pending_operations"] == []
    assert adopt(deployment, {})["pending_operations"] == deployment["pending_operations"]


def test_a_replacement_under_another_id_leaves_the_old_one_to_be_deleted() -> None:
    old = {**VPC, "id": "old"}
    deployment = json.loads(state(old, pending=(VPC,)))["deployment"]
    assert adopt(deployment, {VPC["urn"]: "new"})["resources"] == [{**old, "delete": True}, {**VPC, "id": "new"}]
    assert adopt(deployment, {VPC["urn"]: "old"})["resources"] == [old]


def test_the_same_object_in_another_cluster_is_another_one() -> None:
    old, new = {**VPC, "id": "same", "provider": "old"}, {**VPC, "provider": "new"}
    deployment = json.loads(state(old, pending=(new,)))["deployment"]
    assert adopt(deployment, {VPC["urn"]: "same"})["resources"] == [{**old, "delete": True}, {**new, "id": "same"}]


def test_components_and_providers_are_not_looked_for() -> None:
    component = {"urn": f"{URN}llmserve:index:Network::network", "custom": False, "type": "llmserve:index:Network"}
    provider = {"urn": f"{URN}pulumi:providers:gcp::google", "custom": True, "type": "pulumi:providers:gcp"}
    assert pending_creates(json.loads(state(pending=(component, provider, VPC)))["deployment"]) == [VPC]


@pytest.mark.parametrize(
    ("token", "inputs", "expected"),
    [
        ("gcp:compute/network:Network", {"name": "n"}, "projects/acme-llm/global/networks/n"),
        (
            "gcp:container/cluster:Cluster",
            {"name": "c", "location": "us-east5"},
            "projects/acme-llm/locations/us-east5/clusters/c",
        ),
        ("kubernetes:core/v1:Namespace", {"metadata": {"name": "models"}}, "models"),
        ("kubernetes:apps/v1:Deployment", {"metadata": {"name": "m", "namespace": "models"}}, "models/m"),
        ("kubernetes:helm.sh/v3:Release", {"name": "keda", "namespace": "keda"}, "keda/keda"),
        ("gcp:sql/user:User", {"name": "u"}, ""),
    ],
)
def test_ids_are_those_of_the_providers(token: str, inputs: dict[str, Any], expected: str) -> None:
    assert identify({"type": token, "inputs": inputs}, DEFAULTS) == expected


def test_every_google_resource_of_the_program_can_be_identified(program: Any) -> None:
    found = [r for r in program.resources if r.custom and r.package == "gcp" and not r.is_provider]
    unknown = {r.type for r in found if not identify({"type": r.type, "inputs": dict(r.inputs)}, DEFAULTS)}
    assert unknown == set()
