"""What the program makes is what Kubernetes takes: every built-in object against the schemas of three releases."""

from typing import Any

import kubernetes_validate
import pytest
import yaml

from preview import Snapshot, manifests
from tests.recording import Record

# GKE's regular channel has 1.35, its default in September 2026, and 1.36; its rapid one 1.37. 1.34 is over.
VERSIONS = ("1.35", "1.36", "1.37")


def objects(program: Snapshot) -> dict[str, dict[str, Any]]:
    """The Kubernetes objects as `--manifests` writes them, by file name."""
    return {
        name: yaml.safe_load(text) for name, text in manifests.files(program).items() if not name.startswith("values-")
    }


def is_built_in(manifest: dict[str, Any]) -> bool:
    group = manifest["apiVersion"].rpartition("/")[0]
    return "." not in group or group.endswith(".k8s.io")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_every_built_in_object_is_valid(record: Record, stack: str, version: str) -> None:
    written = {
        name: manifest
        for name, manifest in objects(record(stack, placeholders=True)).items()
        if is_built_in(manifest) and manifest["kind"] != "SecretProviderClass"
    }
    kinds = {manifest["kind"] for manifest in written.values()}
    assert kinds >= {"ConfigMap", "DaemonSet", "Deployment", "Namespace", "NetworkPolicy", "Secret", "Service"}
    for name, manifest in written.items():
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            pytest.fail(f"{name}: {error.message} at {list(error.path)}")


def test_names_in_the_cluster_are_unique(program: Snapshot) -> None:
    seen = [
        (r.inputs["kind"], r.inputs["metadata"].get("namespace"), r.inputs["metadata"]["name"])
        for r in program.resources
        if r.type.startswith("kubernetes:") and "helm.sh" not in r.type
    ]
    assert len(seen) == len(set(seen))


def test_every_object_goes_into_a_namespace_that_is_made_or_kubernetes_own(program: Snapshot) -> None:
    made = {r.inputs["metadata"]["name"] for r in program.of_type("kubernetes:core/v1:Namespace")}
    used = {
        r.inputs["namespace"] if "helm.sh" in r.type else r.inputs["metadata"].get("namespace")
        for r in program.resources
        if r.type.startswith("kubernetes:")
    }
    assert used <= made | {None, "kube-system"}
