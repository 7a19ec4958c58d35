"""What a change of prod replaces: one commit on top of it each, held against what the providers say.

The expected answers are those of terraform-provider-google-beta's own plan, of pulumi-kubernetes' `Diff`, and of the
engine's step generator over them (docs/real-things.md); what is not named as replaced must stay or be updated.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from preview import Snapshot
from preview.diff.compare import Operation, StackChange, compare
from preview.diff.report import Report, StackReport
from preview.project import load_project, load_stack
from preview.request import Run
from preview.run import preload, run_all
from tests.recording import ROOT
from tests.test_diff import LEFT_OUT, change_settings, change_text

Change = Callable[[Path], None]
NETWORK, CLUSTER, POOL = "components/network.py", "components/cluster.py", "components/gpu_node_pool.py"
POOLS = {f"a2-ultragpu-{gpus}g-{kind}" for gpus in (1, 4) for kind in ("floor", "on-demand", "spot")}
EVERY_POOL = POOLS | {"cluster-system"}


@dataclass(frozen=True)
class Case:
    """A change, and the resources that it replaces; those that it updates where that is the point."""

    change: Change
    replaced: set[str] = field(default_factory=set)
    updated: set[str] = field(default_factory=set)


def both(*changes: Change) -> Change:
    def change(folder: Path) -> None:
        for one in changes:
            one(folder)

    return change


SECOND_NETWORK = change_text(
    NETWORK,
    "        subnetwork = gcp.compute.Subnetwork(",
    '        other = gcp.compute.Network(f"{name}-other", auto_create_subnetworks=False, opts=child)\n'
    "        subnetwork = gcp.compute.Subnetwork(",
)
SECOND_ACCOUNT = change_text(
    CLUSTER,
    "        self.node_service_account = account.email",
    '        other = gcp.serviceaccount.Account(f"{name}-other", account_id=f"{stack.name}-other", opts=child)\n'
    "        self.node_service_account = other.email",
)

CASES: dict[str, Case] = {
    "the subnet and the cluster move to a second network": Case(
        both(
            SECOND_NETWORK,
            change_text(
                NETWORK,
                'f"{name}-nodes",\n            network=network.id',
                'f"{name}-nodes",\n            network=other.id',
            ),
            change_text(NETWORK, "self.ready = network.id, subnetwork.id", "self.ready = other.id, subnetwork.id"),
        ),
        replaced={"network-nodes", "cluster-control-plane", "gateway-address"} | EVERY_POOL,
    ),
    "the nodes of the GPU pools take a second account": Case(SECOND_ACCOUNT, replaced=POOLS),
    "a firewall moves to a second network": Case(
        both(
            SECOND_NETWORK,
            change_text(
                NETWORK,
                'f"{name}-webhooks",\n            network=network.id',
                'f"{name}-webhooks",\n            network=other.id',
            ),
        ),
        updated={"network-webhooks"},
    ),
    "the nodes' account is another one": Case(
        change_text(CLUSTER, 'account_id=f"{stack.name}-nodes"', 'account_id=f"{stack.name}-node"'),
        replaced={
            "cluster-nodes",
            "cluster-nodes-role",
            "cluster-nodes-pull-images-docker-io",
            "cluster-nodes-pull-images-ghcr-io",
            "cluster-nodes-pull-images-own",
        }
        | EVERY_POOL,
    ),
    "the network is made with another mode of subnets": Case(
        change_text(
            NETWORK, "auto_create_subnetworks=False, routing_mode", "auto_create_subnetworks=True, routing_mode"
        ),
        replaced={
            "network-vpc",
            "network-nodes",
            "network-router",
            "network-nat",
            "cluster-control-plane",
            "gateway-address",
        }
        | EVERY_POOL,
        updated={"network-webhooks"},
    ),
    "the subnet grows": Case(change_settings("prod", nodeRange="10.0.0.0/15"), updated={"network-nodes"}),
    "the subnet moves": Case(
        change_settings("prod", nodeRange="10.200.0.0/20"),
        replaced={"network-nodes", "cluster-control-plane", "gateway-address"} | EVERY_POOL,
    ),
    "pods may have addresses of both kinds": Case(
        change_text(
            CLUSTER,
            'cluster_secondary_range_name="pods", services',
            'stack_type="IPV4_IPV6", cluster_secondary_range_name="pods", services',
        ),
        updated={"cluster-control-plane"},
    ),
    "pods take another range": Case(
        change_text(
            CLUSTER, 'cluster_secondary_range_name="pods", services', 'cluster_secondary_range_name="p", services'
        ),
        replaced={"cluster-control-plane"} | EVERY_POOL,
    ),
    "another machine for the system": Case(
        change_settings("prod", systemMachineType="e2-standard-8"), updated={"cluster-system"}
    ),
    "GPU nodes may do less": Case(
        change_text(
            POOL,
            "oauth_scopes=[CLOUD_PLATFORM]",
            'oauth_scopes=["https://www.googleapis.com/auth/devstorage.read_only"]',
        ),
        replaced=POOLS,
    ),
    "a longer password for Grafana": Case(
        change_text("components/monitoring_stack.py", "length=32", "length=40"),
        replaced={"monitoring-grafana-password"},
        updated={"monitoring-grafana-administrator"},
    ),
    "an address with a description of its own": Case(
        change_text("components/gateway.py", "Where every model is reached", "Where all models are reached"),
        replaced={"gateway-address"},
        updated={"gateway-hosts", "gateway-release"},
    ),
    "images are fetched without a look at the registry": Case(
        change_text(
            "components/image_registry.py",
            "remote_repository_config=gcp.artifactregistry.RepositoryRemoteRepositoryConfigArgs(",
            "remote_repository_config=gcp.artifactregistry.RepositoryRemoteRepositoryConfigArgs(\n"
            "                        disable_upstream_validation=True,",
        ),
        updated={"images-docker-io", "images-ghcr-io"},
    ),
    "Deployments select by another label": Case(
        change_text(
            "components/model_server.py",
            '{"app": model.name, "version": version.name, PLACEMENT:',
            '{"app": model.name, "v": version.name, PLACEMENT:',
        ),
        replaced={
            "arr-coc-0-1-stable",
            "llama-3-3-70b-stable",
            "llama-3-3-70b-stable-floor",
            "llama-3-3-70b-canary",
        },
    ),
}


@pytest.fixture(scope="session")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, StackChange]:
    """Every case compared with prod as it is: all of them run in one go."""
    place = tmp_path_factory.mktemp("replacements")
    runs = []
    for number, change in enumerate([lambda _folder: None, *(case.change for case in CASES.values())]):
        folder = place / str(number) / "llmserve"
        shutil.copytree(ROOT, folder, ignore=LEFT_OUT)
        change(folder)
        project = load_project(folder)
        runs.append(Run(project=project, config=load_stack(project, "prod")))
    preload(runs)
    made = run_all(runs)
    snapshots = [one for one in made if isinstance(one, Snapshot)]
    assert len(snapshots) == len(made), [one for one in made if not isinstance(one, Snapshot)]
    return {name: compare(snapshots[0], after, stack="prod") for name, after in zip(CASES, snapshots[1:], strict=True)}


@pytest.mark.parametrize("name", CASES)
def test_what_a_change_replaces(changed: Mapping[str, StackChange], name: str) -> None:
    case, found = CASES[name], changed[name]
    assert {one.name for one in found.of(Operation.REPLACE)} == case.replaced
    assert {one.name for one in found.of(Operation.DELETE)} == set()
    assert case.updated <= {one.name for one in found.of(Operation.UPDATE)}
    # A replacement of a protected resource is told as one, whatever caused it: the engine would refuse it.
    assert all(one.was_protected for one in found.of(Operation.REPLACE) if one.name == "cluster-control-plane")
    told = Report(base="a", head="b", stacks=(StackReport(stack="prod", change=found),))
    assert bool(told.fails_on(["delete", "replace"])) is bool(case.replaced)
