"""A real API server lets the preview's account do every dry run of a preview, and nothing else."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.real import rendered
from tests.real.api_server import ApiServer, NotServedError, running, wait_until
from tests.test_preview_role import LEFT_OUT, ROLE_FILE, plural

TIER = "preview role"
PLACEHOLDER = "llmserve-preview@PROJECT.iam.gserviceaccount.com"
ACCOUNT = {"kind": "ServiceAccount", "name": "preview", "namespace": "default"}
"""In the place of Google's account, which only GKE knows."""
STACKS = ("dev", "prod")
CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "probe"}, "data": {"a": "1"}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """The same server for its administrator and for the preview's account."""

    administrator: ApiServer
    preview: ApiServer

    def grant(self, *, verbs: list[str] | None = None) -> None:
        """Apply the file, with other verbs if wanted, and wait until it holds."""
        text = ROLE_FILE.read_text(encoding="utf-8")
        user = f"system:serviceaccount:{ACCOUNT['namespace']}:{ACCOUNT['name']}"
        for manifest in yaml.safe_load_all(text.replace(f"'{PLACEHOLDER}'", f"'{user}'")):
            if manifest["kind"] == "ClusterRoleBinding":
                manifest["subjects"] = [ACCOUNT]
            if manifest["kind"] == "ClusterRole" and verbs is not None:
                manifest["rules"] = [rule | {"verbs": verbs} for rule in manifest["rules"]]
            applied = self.administrator.apply(manifest)
            assert applied.accepted, applied.message


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("preview-role")) as server:
        server.define(*(Path(place) for place in os.environ.get("CRDS", "").split(os.pathsep) if place))
        for stack in STACKS:
            server.make_namespaces(*(item["metadata"]["name"] for item in rendered.of_kind(stack, "Namespace")))
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT["name"]}}
        assert server.apply(account).accepted
        path = f"/api/v1/namespaces/{ACCOUNT['namespace']}/serviceaccounts/{ACCOUNT['name']}/token"
        asked = server.request(
            "POST", path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        )
        assert asked.accepted, asked.message
        made = Cluster(administrator=server, preview=replace(server, token=asked.body["status"]["token"]))
        made.grant()
        wait_until(lambda: made.preview.apply(CONFIG_MAP, dry_run=True).accepted, "the role holds", seconds=30)
        wait_until(lambda: _refused_by_the_policy(made), "the policy holds", seconds=30)
        yield made


def _refused_by_the_policy(cluster: Cluster) -> bool:
    return "dry runs only" in cluster.preview.apply(CONFIG_MAP).message


EVERY_OBJECT = [
    pytest.param(manifest, id=f"{stack}-{name.removesuffix('.yaml')}")
    for stack in STACKS
    for name, manifest in rendered.objects(stack).items()
]


@pytest.mark.parametrize("manifest", EVERY_OBJECT)
def test_it_may_dry_run_every_object_of_the_program_and_write_none(cluster: Cluster, manifest: dict[str, Any]) -> None:
    try:
        path = cluster.administrator.path(manifest)
    except NotServedError as unknown:
        pytest.skip(f"CRDS has no definition of {unknown}")
    assert path.split("/")[-2] == plural(manifest["kind"])
    dry, written = cluster.preview.apply(manifest, dry_run=True), cluster.preview.apply(manifest)
    assert (dry.status if manifest["kind"] in LEFT_OUT else written.status) == 403
    if manifest["kind"] not in LEFT_OUT:
        assert dry.accepted, dry.message
        assert "dry runs only" in written.message
    if manifest["kind"] != "Namespace":
        assert cluster.administrator.request("GET", path).status == 404


def test_an_object_that_is_there_it_may_read_and_dry_run_and_not_change(cluster: Cluster) -> None:
    there = {**CONFIG_MAP, "metadata": {"name": "there"}}
    assert cluster.administrator.apply(there).accepted
    path = cluster.administrator.path(there)
    assert cluster.preview.request("GET", path).accepted
    changed = {**there, "data": {"a": "2"}}
    assert cluster.preview.apply(changed, dry_run=True).body["data"] == {"a": "2"}
    assert not cluster.preview.apply(changed).accepted
    assert not cluster.preview.merge(path, {"data": {"a": "3"}}).accepted
    assert not cluster.preview.request("DELETE", path).accepted
    assert not cluster.preview.request("PUT", path, changed).accepted
    assert not cluster.preview.request("POST", path.rpartition("/")[0], CONFIG_MAP).accepted
    assert cluster.administrator.request("GET", path).body["data"] == {"a": "1"}


def test_it_may_not_lift_its_own_bounds(cluster: Cluster) -> None:
    for manifest in yaml.safe_load_all(ROLE_FILE.read_text(encoding="utf-8")):
        path = cluster.administrator.path(manifest)
        assert cluster.preview.request("DELETE", path).status == 403
        assert cluster.preview.apply(manifest).status == 403


def test_others_are_not_kept_from_writing(cluster: Cluster) -> None:
    assert cluster.administrator.apply({**CONFIG_MAP, "metadata": {"name": "others"}}).accepted


@pytest.mark.parametrize("missing", ["get", "create", "patch"])
def test_without_one_of_its_verbs_a_preview_would_not_be_whole(cluster: Cluster, missing: str) -> None:
    there = {**CONFIG_MAP, "metadata": {"name": "whole"}}
    assert cluster.administrator.apply(there).accepted
    preview, path = cluster.preview, cluster.administrator.path(there)
    attempts: dict[str, Callable[[], bool]] = {
        "get": lambda: preview.request("GET", path).accepted,
        "create": lambda: preview.apply({**CONFIG_MAP, "metadata": {"name": "new"}}, dry_run=True).accepted,
        "patch": lambda: preview.apply({**there, "data": {"a": "2"}}, dry_run=True).accepted,
    }
    assert all(attempt() for attempt in attempts.values())
    try:
        cluster.grant(verbs=[verb for verb in attempts if verb != missing])
        wait_until(lambda: not attempts[missing](), f"without {missing} it is refused", seconds=10)
    finally:
        cluster.grant()
        wait_until(attempts[missing], "the role holds again", seconds=10)
