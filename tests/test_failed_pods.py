"""What sweeps up after preempted pods: what it may do, what it does, and where it runs."""

from typing import Any

import kubernetes_validate
import pytest

import versions
from components.model_namespace import NAMESPACE, SERVER_LABELS
from preview import Resource, Snapshot
from tests.recording import Record

NAME = "failed-pods"
KINDS = ("ServiceAccount", "Role", "RoleBinding", "CronJob")


def made(program: Snapshot) -> dict[str, Resource]:
    """Everything that the component makes, by kind; one of each."""
    parts = [r for r in program.resources if r.name.startswith(f"{NAME}-")]
    found = {str(r.inputs["kind"]): r for r in parts}
    assert len(found) == len(parts)
    assert set(found) == set(KINDS)
    return found


def job(program: Snapshot) -> dict[str, Any]:
    found: dict[str, Any] = made(program)["CronJob"].inputs["spec"]
    return found


def pod(program: Snapshot) -> dict[str, Any]:
    found: dict[str, Any] = job(program)["jobTemplate"]["spec"]["template"]
    return found


def test_it_asks_for_model_pods_that_have_failed_and_for_nothing_else(program: Snapshot) -> None:
    [container] = pod(program)["spec"]["containers"]
    verb, kind, *options = container["args"]
    assert (verb, kind) == ("delete", "pods")
    selected = dict(option.split("=", 1) for option in options)
    [(key, value)] = SERVER_LABELS.items()
    assert selected.pop("--selector") == f"{key}={value}"
    assert selected.pop("--field-selector") == "status.phase=Failed"
    assert selected.pop("--namespace") == NAMESPACE
    # To wait it would need more rights.
    assert selected == {"--wait": "false", "--request-timeout": "60s"}
    assert "command" not in container, "the image has no shell"


def test_what_it_selects_is_on_every_model_pod_and_not_on_its_own(program: Snapshot) -> None:
    for deployment in program.of_type("kubernetes:apps/v1:Deployment"):
        assert SERVER_LABELS.items() <= deployment.inputs["spec"]["template"]["metadata"]["labels"].items()
    assert not SERVER_LABELS.items() & pod(program)["metadata"]["labels"].items()


def test_it_may_list_and_delete_pods_of_the_models_namespace_alone(program: Snapshot) -> None:
    parts = made(program)
    assert {r.inputs["metadata"]["namespace"] for r in parts.values()} == {NAMESPACE}
    assert {r.inputs["metadata"]["name"] for r in parts.values()} == {NAME}
    assert parts["Role"].inputs["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "delete"]}]
    binding = parts["RoleBinding"].inputs
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}]
    assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == ("Role", NAME)
    rights = {r.type for r in program.resources if r.type.startswith("kubernetes:rbac")}
    assert rights == {f"kubernetes:rbac.authorization.k8s.io/v1:{kind}" for kind in ("Role", "RoleBinding")}


def test_nobody_else_has_its_token(program: Snapshot) -> None:
    assert made(program)["ServiceAccount"].inputs["automountServiceAccountToken"] is False
    assert pod(program)["spec"]["serviceAccountName"] == NAME
    assert pod(program)["spec"]["automountServiceAccountToken"] is True
    for deployment in program.of_type("kubernetes:apps/v1:Deployment"):
        assert deployment.inputs["spec"]["template"]["spec"]["serviceAccountName"] != NAME


def test_it_never_runs_twice_at_once_and_leaves_nothing_lying_about(program: Snapshot) -> None:
    spec = job(program)
    assert spec["concurrencyPolicy"] == "Forbid"
    assert (spec["successfulJobsHistoryLimit"], spec["failedJobsHistoryLimit"]) == (1, 1)
    assert spec["schedule"].split()[1:] == ["*"] * 4, "once an hour"
    run = spec["jobTemplate"]["spec"]
    assert run["backoffLimit"] == 0
    assert run["activeDeadlineSeconds"] < spec["startingDeadlineSeconds"] < 3600
    assert pod(program)["spec"]["restartPolicy"] == "Never"


def test_it_is_out_of_the_mesh_whose_sidecar_would_never_end(program: Snapshot) -> None:
    assert pod(program)["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"


def test_no_policy_keeps_it_from_the_api_server(program: Snapshot) -> None:
    policies = program.of_type("kubernetes:networking.k8s.io/v1:NetworkPolicy")
    here = [p.inputs["spec"] for p in policies if p.inputs["metadata"]["namespace"] == NAMESPACE]
    assert [spec["policyTypes"] for spec in here] == [["Ingress"]]


def test_only_system_nodes_are_left_for_it(program: Snapshot) -> None:
    spec = pod(program)["spec"]
    assert not {"tolerations", "nodeSelector", "affinity", "nodeName"} & spec.keys()
    pools = [pool.inputs["nodeConfig"] for pool in program.of_type("gcp:container/nodePool:NodePool")]
    kept_out = [any(taint["effect"] == "NO_SCHEDULE" for taint in node.get("taints", ())) for node in pools]
    assert kept_out == ["guestAccelerators" in node for node in pools]
    assert kept_out.count(False) == 1


def test_it_meets_the_restricted_standard(program: Snapshot) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
    spec = pod(program)["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    [container] = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC", "volumes"} & spec.keys()


def test_its_image_is_pinned_and_looked_at_by_make_pin(program: Snapshot) -> None:
    [container] = pod(program)["spec"]["containers"]
    assert container["image"] == versions.IMAGES["KUBECTL_IMAGE"]
    assert "@sha256:" in container["image"]


@pytest.mark.parametrize("version", ["1.35", "1.36", "1.37"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_object_is_valid(record: Record, kind: str, version: str) -> None:
    manifest = made(record("prod", placeholders=True))[kind].inputs
    kubernetes_validate.validate(manifest, version, strict=True)


def test_it_comes_after_its_right_and_its_namespace(prod: Snapshot) -> None:
    parts = made(prod)
    assert parts["RoleBinding"].urn in parts["CronJob"].dependencies
    assert {parts["Role"].urn, parts["ServiceAccount"].urn} <= set(parts["RoleBinding"].dependencies)
    assert prod.named("model-namespace-namespace").urn in parts["Role"].dependencies
