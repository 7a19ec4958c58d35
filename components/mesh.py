"""The service mesh: Istio's control plane, and mutual TLS between everything in it."""

import pulumi
import pulumi_kubernetes as k8s

import versions
from components.helm import namespace, release

NAMESPACE = "istio-system"


class Mesh(pulumi.ComponentResource):
    """Istio's custom resources and istiod, twice, and a mesh that refuses plain text.

    It puts no workload into the mesh: a namespace asks for that with a label. It lets nothing in from outside: that is
    `Gateway`.
    """

    ready: pulumi.Resource
    """istiod: its webhooks must answer before a pod is injected or an Istio object is accepted."""
    closed: pulumi.Resource
    """What refuses plain text."""

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        """Install the control plane."""
        super().__init__("llmserve:index:Mesh", name, None, opts)
        own = namespace(f"{name}-namespace", NAMESPACE, pulumi.ResourceOptions(parent=self))
        base = release(
            f"{name}-base",
            versions.ISTIO_BASE,
            release_name="istio-base",
            namespace=NAMESPACE,
            values={},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[own]),
        )
        istiod = release(
            f"{name}-istiod",
            versions.ISTIOD,
            release_name="istiod",
            namespace=NAMESPACE,
            values={
                # Two, because while none answers no pod in the mesh can start.
                "autoscaleMin": 2,
                "resources": {"requests": {"cpu": "250m", "memory": "1Gi"}},
                "meshConfig": {"accessLogFile": "/dev/stdout", "accessLogEncoding": "JSON"},
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[base]),
        )
        mutual_tls = k8s.apiextensions.CustomResource(
            f"{name}-mutual-tls",
            api_version="security.istio.io/v1",
            kind="PeerAuthentication",
            # In the root namespace and without a selector it holds for the whole mesh.
            metadata=k8s.meta.v1.ObjectMetaArgs(name="default", namespace=NAMESPACE),
            spec={"mtls": {"mode": "STRICT"}},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[istiod]),
        )
        self.ready, self.closed = istiod, mutual_tls
        self.register_outputs({"namespace": NAMESPACE})
