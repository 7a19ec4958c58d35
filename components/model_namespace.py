"""The namespace that all models run in, closed to everything but the gateway and Prometheus."""

import pulumi
import pulumi_kubernetes as k8s

from components.helm import namespace

NAMESPACE = "models"
MERGED_METRICS_PORT = 15020
"""Where Istio's agent serves the workload's metrics and Envoy's together, in plain text, under mutual TLS too."""

SERVER_LABELS = {"app.kubernetes.io/component": "model-server"}
"""On every pod that serves a model: what the PodMonitor and the policies select by."""


class ModelNamespace(pulumi.ComponentResource):
    """A namespace in the mesh whose pods answer the gateway, by its identity, and Prometheus, on the sidecar's port.

    It does not limit what a model fetches: weights come from the internet.
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
        mesh_ready: pulumi.Resource,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Make the namespace and close it twice: by network policy and by identity."""
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
        self.register_outputs({"namespace": NAMESPACE})


def _pods_of(name: str) -> k8s.networking.v1.NetworkPolicyPeerArgs:
    labels = {"kubernetes.io/metadata.name": name}
    return k8s.networking.v1.NetworkPolicyPeerArgs(
        namespace_selector=k8s.meta.v1.LabelSelectorArgs(match_labels=labels)
    )
