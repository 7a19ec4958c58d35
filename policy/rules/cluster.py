"""Rules for the cluster and its nodes: who reaches them, and as whom they act."""

from collections.abc import Iterator, Mapping
from typing import Final

from planning.policies import Policy
from policy.rules.place import Place
from policy.rules.pods import DRIVER
from policy.rules.rule import Facts, Finding, Rule, Seen, Violation, judged
from policy.rules.workload import pods_of

CLUSTER: Final = "gcp:container/cluster:Cluster"
POOL: Final = "gcp:container/nodePool:NodePool"
KEY: Final = "gcp:serviceaccount/key:Key"
EVERYWHERE: Final = ("0.0.0.0/0", "::/0")
COMPUTE_DEFAULT: Final = "-compute@developer.gserviceaccount.com"
"""How the e-mail of a project's Compute Engine default service account ends:
https://docs.cloud.google.com/compute/docs/access/service-accounts#default_service_account"""

WITHOUT_ACCOUNT: Final[Mapping[tuple[str, str], str]] = {
    DRIVER: "Google's own manifest names none; it mounts no token, so that the account can do nothing with it",
}
"""By namespace and name, whose pods may run as their namespace's default account, and why."""


def closed_control_plane(resource: Seen, _: Facts) -> Iterator[Finding]:
    """Yield every way to the control plane from everywhere. An endpoint by DNS is behind IAM, and passes."""
    if resource.type == CLUSTER:
        yield from judged(_address(resource.place))
        yield from judged(_dns(resource.place.at("controlPlaneEndpointsConfig", "dnsEndpointConfig")))
        yield from judged(_credentials(resource.place))


def _address(cluster: Place) -> Iterator[Finding]:
    endpoints = cluster.at("controlPlaneEndpointsConfig", "ipEndpointsConfig", "enabled")
    if endpoints.value is False or cluster.at("privateClusterConfig", "enablePrivateEndpoint").value is True:
        return
    allowed = cluster["masterAuthorizedNetworksConfig"]
    if allowed.value is None:
        yield Violation(message=f"{allowed.path} is missing beside a public address: everybody may ask")
        return
    for block in allowed["cidrBlocks"].each():
        if block["cidrBlock"].text in EVERYWHERE:
            yield Violation(message=f"{block.path} is the whole internet")
    google = allowed["gcpPublicCidrsAccessEnabled"]
    if google.value is True:
        yield Violation(message=f"{google.path} lets every machine of Google Cloud ask, whoever rents it")


def _dns(endpoint: Place) -> Iterator[Finding]:
    if endpoint["allowExternalTraffic"].value is not True:
        return
    for key in ("enableK8sCertsViaDns", "enableK8sTokensViaDns"):
        if endpoint[key].value is True:
            yield Violation(message=f"{endpoint[key].path} lets in what IAM did not")


def _credentials(cluster: Place) -> Iterator[Finding]:
    for place in (
        cluster["enableLegacyAbac"],
        cluster.at("masterAuth", "clientCertificateConfig", "issueClientCertificate"),
    ):
        if place.value is True:
            yield Violation(message=f"{place.path} is a way past IAM")


def private_nodes(resource: Seen, _: Facts) -> Iterator[Finding]:
    """Yield clusters and pools whose nodes have addresses of the internet."""
    if resource.type == CLUSTER:
        yield from judged(_is_on(resource.place.at("privateClusterConfig", "enablePrivateNodes")))
    elif resource.type == POOL:
        # Left out, a pool does as its cluster.
        place = resource.place.at("networkConfig", "enablePrivateNodes")
        yield from judged(_is_not_off(place))


def _is_on(place: Place) -> Iterator[Finding]:
    if place.value is not True:
        yield Violation(message=f"{place.path} is not true")


def _is_not_off(place: Place) -> Iterator[Finding]:
    if place.value is False:
        yield Violation(message=f"{place.path} is false")


def workload_identity(resource: Seen, _: Facts) -> Iterator[Finding]:
    """Yield what lets pods act as their node, and keys that somebody could carry away."""
    if resource.type == CLUSTER:
        yield from judged(_is_set(resource.place.at("workloadIdentityConfig", "workloadPool")))
    elif resource.type == POOL:
        yield from judged(_hides_the_node(resource.place.at("nodeConfig", "workloadMetadataConfig", "mode")))
    elif resource.type == KEY:
        yield Violation(message="a key of a service account works for whoever has it, until somebody deletes it")


def _is_set(place: Place) -> Iterator[Finding]:
    if not place.text:
        yield Violation(message=f"{place.path} is missing")


def _hides_the_node(place: Place) -> Iterator[Finding]:
    if place.text != "GKE_METADATA":
        yield Violation(message=f"{place.path} is not GKE_METADATA: pods can ask for their node's own token")


def no_default_service_account(resource: Seen, _: Facts) -> Iterator[Finding]:
    """Yield nodes and pods that run as the account that everything has which was given none."""
    if resource.type == POOL or (resource.type == CLUSTER and resource.place["nodeConfig"].found is not None):
        yield from judged(_account_of_nodes(resource.place.at("nodeConfig", "serviceAccount")))
    elif resource.type == CLUSTER:
        yield from judged(_nodes_of_its_own(resource.place))
    elif pods_of(resource) is not None:
        yield from judged(_account_of_pods(resource))


def _nodes_of_its_own(cluster: Place) -> Iterator[Finding]:
    if cluster["removeDefaultNodePool"].value is not True:
        yield Violation(message="nodeConfig.serviceAccount is missing, and the cluster has nodes of its own")


def _account_of_nodes(place: Place) -> Iterator[Finding]:
    account = place.text
    if account in ("", "default") or account.endswith(COMPUTE_DEFAULT):
        yield Violation(message=f"{place.path} is Compute Engine's default, which may edit the whole project")


def _account_of_pods(resource: Seen) -> Iterator[Finding]:
    pods = pods_of(resource)
    if pods is None or pods.is_one_of(WITHOUT_ACCOUNT):
        return
    place = pods.spec["serviceAccountName"]
    if place.text in ("", "default"):
        yield Violation(message=f"{place.path} is the namespace's default, whose rights are everybody's")


RULES: Final = (
    Rule(
        name=Policy.CLOSED_CONTROL_PLANE,
        what="The control plane is not open to the world.",
        why="whoever reaches it may try every leaked token and every new hole in the API server.",
        fix="enablePrivateEndpoint, or authorized networks; an endpoint by DNS stays behind IAM.",
        of_resource=closed_control_plane,
    ),
    Rule(
        name=Policy.PRIVATE_NODES,
        what="Nodes have no address of the internet.",
        why="a port that a pod opens on its node would be open to everybody.",
        fix="privateClusterConfig.enablePrivateNodes, and no pool that says otherwise.",
        of_resource=private_nodes,
    ),
    Rule(
        name=Policy.WORKLOAD_IDENTITY,
        what="Pods act by Workload Identity, never as their node, and there is no key of a service account.",
        why="a pod that acts as its node may do all that any pod there needs; a key can be carried away.",
        fix="workloadIdentityConfig on the cluster, GKE_METADATA on its pools, a principal in place of a key.",
        of_resource=workload_identity,
    ),
    Rule(
        name=Policy.NO_DEFAULT_SERVICE_ACCOUNT,
        what="No node and no pod runs as a default service account.",
        why="what one of them is given, everything has that was given nothing.",
        fix="nodeConfig.serviceAccount on pools, spec.serviceAccountName on pods; an exception has a name and a reason"
        " in policy/rules/cluster.py.",
        of_resource=no_default_service_account,
    ),
)
