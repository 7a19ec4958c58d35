"""The namespace that all models run in, closed to everything but the gateway and Prometheus."""

import pulumi
import pulumi_kubernetes as k8s

from components.helm import namespace

NAMESPACE = "models"
MERGED_METRICS_PORT = 15020
"""Where Istio's agent serves the workload's metrics and Envoy's together, in plain text, under mutual TLS too."""

ISTIOD_PORT = 15012
"""Configuration and certificates of sidecars. https://istio.io/latest/docs/ops/deployment/application-requirements/"""
WITHOUT_INTERNET = {"llmserve/egress": "private"}
"""On every pod that has its weights from the stack's bucket, and so no need of the internet."""

SERVER_LABELS = {"app.kubernetes.io/component": "model-server"}
"""On every pod that serves a model: what the PodMonitor and the policies select by."""


class ModelNamespace(pulumi.ComponentResource):
    """A namespace in the mesh whose pods answer the gateway, by its identity, and Prometheus, on the sidecar's port.

    It does not limit what a model fetches that has its weights from the internet. Those that have them from the stack's
    bucket reach Google's private addresses and what every pod in a mesh needs, and nothing else.
    """

    ready: pulumi.Resource
    """The namespace."""
    closed: list[pulumi.Resource]
    """What closes it."""

    def __init__(
        self,
        name: str,
        *,
        gateway_namespace: str,
        gateway_principal: str,
        monitoring_namespace: str,
        mesh_namespace: str,
        mesh_ready: pulumi.Resource,
        storage_range: str | None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Make the namespace and close it twice: by network policy and by identity.

        `storage_range` is where Cloud Storage is reached by pods without internet; None: there are none.
        """
        super().__init__("llmserve:index:ModelNamespace", name, None, opts)
        self.ready = namespace(
            f"{name}-namespace",
            NAMESPACE,
            pulumi.ResourceOptions(parent=self),
            {"istio-injection": "enabled"},
        )
        callers = k8s.networking.v1.NetworkPolicy(
            f"{name}-callers",
            metadata=k8s.meta.v1.ObjectMetaArgs(name="callers", namespace=NAMESPACE),
            spec=k8s.networking.v1.NetworkPolicySpecArgs(
                pod_selector=k8s.meta.v1.LabelSelectorArgs(),
                policy_types=["Ingress"],
                ingress=[
                    k8s.networking.v1.NetworkPolicyIngressRuleArgs(from_=[_pods_of(gateway_namespace)]),
                    k8s.networking.v1.NetworkPolicyIngressRuleArgs(
                        from_=[_pods_of(monitoring_namespace)],
                        ports=[k8s.networking.v1.NetworkPolicyPortArgs(port=MERGED_METRICS_PORT, protocol="TCP")],
                    ),
                ],
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self.ready]),
        )
        identity = k8s.apiextensions.CustomResource(
            f"{name}-gateway-only",
            api_version="security.istio.io/v1",
            kind="AuthorizationPolicy",
            metadata=k8s.meta.v1.ObjectMetaArgs(name="gateway-only", namespace=NAMESPACE),
            spec={"action": "ALLOW", "rules": [{"from": [{"source": {"principals": [gateway_principal]}}]}]},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self.ready, mesh_ready]),
        )
        self.closed = [callers, identity]
        if storage_range is not None:
            self.closed.append(
                k8s.networking.v1.NetworkPolicy(
                    f"{name}-without-internet",
                    metadata=k8s.meta.v1.ObjectMetaArgs(name="without-internet", namespace=NAMESPACE),
                    spec=k8s.networking.v1.NetworkPolicySpecArgs(
                        pod_selector=k8s.meta.v1.LabelSelectorArgs(match_labels=WITHOUT_INTERNET),
                        policy_types=["Egress"],
                        egress=_way_out(mesh_namespace, storage_range),
                    ),
                    opts=pulumi.ResourceOptions(parent=self, depends_on=[self.ready]),
                )
            )
        self.register_outputs({"namespace": NAMESPACE})


def _way_out(mesh_namespace: str, storage_range: str) -> list[k8s.networking.v1.NetworkPolicyEgressRuleArgs]:
    """Names, certificates, an identity, Cloud Storage.

    As in Google's own: GoogleCloudPlatform/accelerated-platforms at 9320f3b2, federated-learning, network-policy.yaml.
    """

    def rule(
        to: list[k8s.networking.v1.NetworkPolicyPeerArgs], ports: list[tuple[str, int]]
    ) -> k8s.networking.v1.NetworkPolicyEgressRuleArgs:
        return k8s.networking.v1.NetworkPolicyEgressRuleArgs(
            to=to, ports=[k8s.networking.v1.NetworkPolicyPortArgs(protocol=kind, port=port) for kind, port in ports]
        )

    return [
        # Cluster DNS, whether by its pods, by a cache on the node, or by Cloud DNS at the metadata server's address.
        rule(
            [_pods_of("kube-system"), _block("169.254.20.10/32"), _block("169.254.169.254/32")],
            [("UDP", 53), ("TCP", 53)],
        ),
        rule([_pods_of(mesh_namespace)], [("TCP", ISTIOD_PORT)]),
        # The metadata server: by its own address under Dataplane V2, by the other one where it is redirected before.
        rule([_block("169.254.169.254/32")], [("TCP", 80)]),
        rule([_block("169.254.169.252/32")], [("TCP", 988)]),
        rule([_block(storage_range)], [("TCP", 443)]),
    ]


def _block(cidr: str) -> k8s.networking.v1.NetworkPolicyPeerArgs:
    return k8s.networking.v1.NetworkPolicyPeerArgs(ip_block=k8s.networking.v1.IPBlockArgs(cidr=cidr))


def _pods_of(name: str) -> k8s.networking.v1.NetworkPolicyPeerArgs:
    labels = {"kubernetes.io/metadata.name": name}
    return k8s.networking.v1.NetworkPolicyPeerArgs(
        namespace_selector=k8s.meta.v1.LabelSelectorArgs(match_labels=labels)
    )
