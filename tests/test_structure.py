"""Guards over the whole program: each is a mistake that Pulumi programs really make."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from planning.schema import Stack
from preview import UNKNOWN, Secret, Snapshot
from preview.values import walk
from settings import COST_KEY, GOOGLE_KEYS, KEYS, NAMESPACE
from tests.recording import ROOT, Record

RELEASE = "kubernetes:helm.sh/v3:Release"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
PURE = ("catalog", "planning", "monitoring")


def sources(*folders: str) -> Iterator[tuple[Path, ast.Module]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")) if folder != "." else sorted(ROOT.glob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_every_component_ends_with_its_outputs(program: Snapshot) -> None:
    forgotten = [r.urn for r in program.resources if not r.custom and not r.registered]
    assert not forgotten


def test_every_resource_but_the_providers_is_in_a_component(program: Snapshot) -> None:
    components = {r.urn for r in program.resources if not r.custom and r.type != "pulumi:pulumi:Stack"}
    loose = [r.urn for r in program.resources if r.custom and not r.is_provider and r.parent not in components]
    assert not loose


def test_every_resource_names_its_provider(program: Snapshot) -> None:
    providers = {r.urn for r in program.resources if r.is_provider}
    for resource in program.resources:
        if resource.custom and not resource.is_provider:
            assert resource.provider.rpartition("::")[0] in providers, resource.urn


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_a_preview_shows_exactly_the_resources_of_an_update(record: Record, stack: str) -> None:
    in_preview, in_update = record(stack), record(stack, up=True)
    assert {r.urn for r in in_preview.resources} == {r.urn for r in in_update.resources}


def test_no_name_holds_the_name_of_the_stack(program: Snapshot) -> None:
    assert not [
        r.urn for r in program.resources if r.type != "pulumi:pulumi:Stack" and program.stack in r.name.split("-")
    ]


def test_every_release_is_pinned_named_timed_and_whole_or_rolled_back(program: Snapshot) -> None:
    releases = program.of_type(RELEASE)
    assert len(releases) == 6
    for release in releases:
        assert release.inputs["version"].count(".") == 2, release.name
        assert release.inputs["name"]
        assert release.inputs["atomic"] is True
        assert release.inputs["cleanupOnFail"] is True
        assert release.inputs["timeout"] > 300
        assert release.inputs["repositoryOpts"]["repo"].startswith("https://")


def test_keda_owns_the_replicas_of_every_deployment(program: Snapshot) -> None:
    deployments = {d.inputs["metadata"]["name"]: d for d in program.of_type(DEPLOYMENT)}
    targets = {
        o.inputs["spec"]["scaleTargetRef"]["name"] for o in program.of_type("kubernetes:keda.sh/v1alpha1:ScaledObject")
    }
    floors = {name for name in deployments if name.endswith("-floor")}
    assert targets == set(deployments) - floors
    for name in floors:
        # Fixed, and Pulumi's own.
        assert deployments[name].inputs["spec"]["replicas"] > 0, name
        assert "spec.replicas" not in deployments[name].options.get("ignoreChanges", []), name
    for name, deployment in deployments.items():
        if name in floors:
            continue
        assert deployment.inputs["spec"]["replicas"] == 0, name
        assert "spec.replicas" in deployment.options["ignoreChanges"], name


def test_nobody_owns_a_count_that_an_autoscaler_owns(program: Snapshot) -> None:
    for pool in program.of_type("gcp:container/nodePool:NodePool"):
        assert "nodeCount" not in pool.inputs
        assert "initialNodeCount" in pool.options["ignoreChanges"], pool.name


def everything_before(program: Snapshot, urn: str) -> set[str]:
    """The names of all that must exist before a resource, however far away."""
    by_urn = {r.urn: r for r in program.resources}
    seen: set[str] = set()
    waiting = [urn]
    while waiting:
        resource = by_urn[waiting.pop()]
        before = {*resource.dependencies, resource.provider.rpartition("::")[0]} & by_urn.keys()
        waiting += [found for found in before if found not in seen]
        seen |= before
    return {by_urn[found].name for found in seen}


BROUGHT_BY = {
    "networking.istio.io/v1": "mesh-istiod",
    "networking.istio.io/v1alpha3": "mesh-istiod",
    "security.istio.io/v1": "mesh-istiod",
    "keda.sh/v1alpha1": "autoscaling-release",
    "monitoring.coreos.com/v1": "monitoring-definitions",
    "rbac.authorization.k8s.io/v1": "cluster-control-plane",
    # GKE brings these with the cluster.
    "cloud.google.com/v1": "cluster-control-plane",
    "secrets-store.csi.x-k8s.io/v1": "cluster-control-plane",
    "secret-sync.gke.io/v1": "cluster-control-plane",
}


def test_every_custom_resource_comes_after_its_definition_and_its_webhook(program: Snapshot) -> None:
    for resource in program.resources:
        version = str(resource.inputs.get("apiVersion", "")) if resource.type.startswith("kubernetes:") else ""
        if version in BROUGHT_BY:
            assert BROUGHT_BY[version] in everything_before(program, resource.urn), resource.urn
        elif "." in version.partition("/")[0].removesuffix(".k8s.io"):
            pytest.fail(f"{resource.urn}: who brings {version}?")
    assert "monitoring-release" in everything_before(program, program.named("models-rules").urn)


def test_every_object_comes_after_its_namespace(program: Snapshot) -> None:
    made = {r.inputs["metadata"]["name"]: r.name for r in program.of_type("kubernetes:core/v1:Namespace")}
    for resource in program.resources:
        if resource.type.startswith("kubernetes:"):
            wanted = resource.inputs.get("namespace") or resource.inputs.get("metadata", {}).get("namespace")
            if wanted in made:
                assert made[wanted] in everything_before(program, resource.urn), resource.urn


def images(program: Snapshot) -> dict[str, str]:
    """Every image of our own workloads, by the workload's name."""
    found = {}
    for workload in (*program.of_type(DEPLOYMENT), *program.of_type("kubernetes:apps/v1:DaemonSet")):
        pod = workload.inputs["spec"]["template"]["spec"]
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            found[f"{workload.name}/{container['name']}"] = container["image"]
    return found


def test_an_image_without_a_digest_is_reported_with_the_command_that_pins_it(program: Snapshot) -> None:
    warnings = " ".join(d.message for d in program.diagnostics if d.severity == "warning")
    in_the_node_image = "cos-nvidia-installer:fixed"
    unpinned = {image for image in images(program).values() if "@sha256:" not in image} - {in_the_node_image}
    assert unpinned
    for image in unpinned:
        assert f"image {image} is not pinned by digest (make pin): " in warnings


def test_a_secret_is_nowhere_in_clear(record: Record) -> None:
    updated = record("prod", up=True)
    password = updated.named("monitoring-grafana-password").outputs["result"]
    assert isinstance(password, Secret)
    shown = [resource.urn for resource in updated.resources if not under_secret(resource.inputs, password.value)]
    assert not shown


def under_secret(inputs: Any, wanted: str) -> bool:
    """Whether every occurrence of a text is inside a secret."""

    def clear(value: Any) -> Iterator[str]:
        if isinstance(value, Secret):
            return
        if isinstance(value, dict):
            for inner in value.values():
                yield from clear(inner)
        elif isinstance(value, list | tuple):
            for inner in value:
                yield from clear(inner)
        elif isinstance(value, str):
            yield value

    return not any(wanted in text for text in clear(inputs))


def test_nothing_is_unknown_in_a_preview_but_what_the_cloud_decides(prod: Snapshot) -> None:
    """A value that a reviewer could have been shown must not hide behind an Output."""
    unknown = {
        (resource.type.rpartition(":")[2], path)
        for resource in prod.resources
        for path, value in walk(resource.inputs)
        if value is UNKNOWN
    }
    ids = {("Subnetwork", "network"), ("Router", "network"), ("Firewall", "network")}
    ids |= {("Cluster", "network"), ("Cluster", "subnetwork"), ("Address", "subnetwork")}
    ids |= {("ManagedZone", "privateVisibilityConfig.networks[0].networkUrl")}
    addresses = {("RecordSet", "rrdatas[0]"), ("Release", "values.service.loadBalancerIP")}
    accounts = {("IAMMember", "member"), ("RepositoryIamMember", "member"), ("SecretIamMember", "member")}
    accounts |= {("Cluster", "nodeConfig.serviceAccount"), ("NodePool", "nodeConfig.serviceAccount")}
    # The control plane's address, and a password that is drawn when it is made.
    assert unknown == ids | addresses | accounts | {("kubernetes", "kubeconfig"), ("Secret", "stringData")}


def test_outputs_are_known_before_anything_is_made(prod: Snapshot) -> None:
    assert not [path for path, value in walk(prod.outputs) if value is UNKNOWN]
    assert json.dumps(prod.outputs)


@pytest.mark.parametrize("layer", PURE)
def test_what_decides_imports_no_pulumi_and_nothing_above_it(layer: str) -> None:
    below = {"catalog": set[str](), "monitoring": set[str](), "planning": {"catalog", "monitoring"}}[layer]
    above = {"catalog", "planning", "monitoring", "components", "settings", "policy", "preview", "versions"}
    above -= below | {layer}
    for path, tree in sources(layer):
        wrong = {name for name in imports(tree) if name.split(".")[0] in above or name.startswith("pulumi")}
        assert not wrong, path


def test_components_do_not_know_the_settings() -> None:
    for path, tree in sources("components"):
        assert not {name for name in imports(tree) if name.split(".")[0] in {"settings", "preview"}}, path


def test_rules_are_plain_functions_that_know_neither_pulumi_nor_the_settings() -> None:
    for path, tree in sources("policy/rules"):
        wrong = {n for n in imports(tree) if n.split(".")[0] in {"settings", "preview", "components", "versions"}}
        assert not wrong | {name for name in imports(tree) if name.startswith("pulumi")}, path


def test_only_the_settings_read_configuration_or_the_name_of_the_stack() -> None:
    readers = {"Config", "get_stack", "get_config", "get_config_env", "get_config_secret_keys_env", "require"}
    for path, tree in sources(".", "components", "policy", *PURE):
        used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} & readers
        assert not used or path.name == "settings.py", f"{path}: {used}"


def test_kubernetes_objects_are_made_of_args_classes() -> None:
    """One wrong key in a dict literal costs mypy two minutes and 19 GB; in an Args class one second."""
    free_form = {"CustomResource", "Release"}
    for path, tree in sources("components"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr not in free_form:
                literals = [
                    k.arg for k in node.keywords if k.arg in {"metadata", "spec"} and isinstance(k.value, ast.Dict)
                ]
                assert not literals, f"{path}:{node.lineno}"


def test_no_component_makes_a_provider_or_merges_its_callers_options() -> None:
    for path, tree in sources("components"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                assert node.func.attr not in {"Provider", "merge"}, f"{path}:{node.lineno}"


def test_the_program_fits_on_a_page() -> None:
    assert len((ROOT / "__main__.py").read_text(encoding="utf-8").splitlines()) < 75


def test_every_declared_key_is_described_and_is_a_setting_and_the_reverse() -> None:
    declared = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))["config"]
    own = {f"{NAMESPACE}:{key}" for key in declared if ":" not in key}
    assert own == {*KEYS, COST_KEY} - set(GOOGLE_KEYS.values())
    for key, about in declared.items():
        assert ":" in key or (about["type"] and about["description"] and "default" in about), key


def test_a_scalar_has_its_default_in_pulumi_yaml_alone() -> None:
    assert not [name for name, field in Stack.model_fields.items() if not field.is_required()]
