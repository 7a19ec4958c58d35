"""The rule for the edge: what the internet reaches is encrypted, and answers nobody whom it does not know."""

from collections.abc import Iterator, Sequence
from typing import Final

from planning.policies import Policy
from policy.rules.place import Place
from policy.rules.plain_secrets import RELEASE
from policy.rules.rule import Facts, Finding, Rule, Seen, of_each

SERVICE: Final = "kubernetes:core/v1:Service"
LISTENERS: Final = ("kubernetes:networking.istio.io/v1:Gateway", "kubernetes:networking.istio.io/v1beta1:Gateway")
AUTHORIZATIONS: Final = (
    "kubernetes:security.istio.io/v1:AuthorizationPolicy",
    "kubernetes:security.istio.io/v1beta1:AuthorizationPolicy",
)
AUTHENTICATIONS: Final = (
    "kubernetes:security.istio.io/v1:RequestAuthentication",
    "kubernetes:security.istio.io/v1beta1:RequestAuthentication",
)
INGRESS: Final = "kubernetes:networking.k8s.io/v1:Ingress"
RULES_OF_FORWARDING: Final = (
    "gcp:compute/forwardingRule:ForwardingRule",
    "gcp:compute/globalForwardingRule:GlobalForwardingRule",
)
CHART: Final = "gateway"
"""Istio's chart of a gateway, whose Service is a load balancer by itself."""
INTERNAL: Final = ("networking.gke.io/load-balancer-type", "cloud.google.com/load-balancer-type")
"""https://docs.cloud.google.com/kubernetes-engine/docs/how-to/internal-load-balancing"""
ENCRYPTED: Final = ("HTTPS", "TLS")


def public_edge(resources: Sequence[Seen], _: Facts) -> Iterator[Finding]:
    """Yield what the internet reaches without TLS, or without having to say who asks."""
    yield from of_each(resources, lambda seen: _open(seen, resources))


def _open(seen: Seen, resources: Sequence[Seen]) -> Iterator[str]:
    if _is_public_load_balancer(seen):
        listeners = [found for found in resources if found.type in LISTENERS]
        if not listeners:
            yield "is a public load balancer, and no Gateway says what it encrypts"
        for listener in listeners:
            for server in listener.place.at("spec", "servers").each():
                if not _is_encrypted(server):
                    yield f"is a public load balancer, and {server.path} of {listener.name} listens without TLS"
        if not _knows_who_asks(_namespace(seen), resources):
            yield "is a public load balancer, and nothing in its namespace turns away who does not say who they are"
    elif seen.type == INGRESS and seen.place.at("metadata", "annotations")["kubernetes.io/ingress.class"].text != (
        "gce-internal"
    ):
        yield "is an Ingress of the internet, and this pack knows of no authentication in front of one"
    elif seen.type in RULES_OF_FORWARDING and not seen.place["loadBalancingScheme"].text.startswith("INTERNAL"):
        yield "is a forwarding rule of the internet, and this pack knows of no authentication behind one"


def _is_public_load_balancer(seen: Seen) -> bool:
    if seen.type == SERVICE:
        return seen.place.at("spec", "type").text == "LoadBalancer" and not _is_internal(seen.place["metadata"])
    if seen.type != RELEASE or seen.place["chart"].text.rpartition("/")[2] != CHART:
        return False
    service = seen.place.at("values", "service")
    return service["type"].text in ("", "LoadBalancer") and not _is_internal(service)


def _is_internal(metadata: Place) -> bool:
    annotations = metadata["annotations"]
    return any(annotations[key].text == "Internal" for key in INTERNAL)


def _namespace(seen: Seen) -> str:
    own = seen.place["namespace"] if seen.type == RELEASE else seen.place.at("metadata", "namespace")
    return own.text


def _is_encrypted(server: Place) -> bool:
    if server.at("tls", "httpsRedirect").value is True:
        return True
    return server.at("port", "protocol").text in ENCRYPTED and bool(server["tls"].value)


def _knows_who_asks(namespace: str, resources: Sequence[Seen]) -> bool:
    """Whether a policy in the gateway's namespace asks another service who it is, or for a token that was checked."""
    here = [found for found in resources if found.place.at("metadata", "namespace").text == namespace]
    checked = any(found.type in AUTHENTICATIONS for found in here)
    for found in here:
        if found.type not in AUTHORIZATIONS:
            continue
        spec = found.place["spec"]
        if spec["action"].text == "CUSTOM":
            return True
        if checked and _asks_for_a_token(spec):
            return True
    return False


def _asks_for_a_token(spec: Place) -> bool:
    key = "notRequestPrincipals" if spec["action"].text == "DENY" else "requestPrincipals"
    rules = list(spec["rules"].each())
    sources = [source["source"] for rule in rules for source in rule["from"].each()]
    asking = [bool(list(source[key].each())) for source in sources]
    # One rule that lets everybody in is enough to let everybody in; one that turns away is enough to turn away.
    return bool(asking) and (any(asking) if spec["action"].text == "DENY" else all(asking))


RULES: Final = (
    Rule(
        name=Policy.PUBLIC_EDGE,
        what="What the internet reaches has TLS and asks who calls.",
        why="a GPU that answers everybody is paid for by you; prompts in clear are read by others.",
        fix="gatewayExposure: internal; or TLS on every server of the Gateway, and an AuthorizationPolicy in its"
        " namespace that asks for a checked token or another service.",
        of_stack=public_edge,
    ),
)
