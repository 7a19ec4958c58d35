"""The service mesh: Istio's control plane, and mutual TLS between everything in it."""

import pulumi
import pulumi_kubernetes as k8s

import versions
from components.helm import namespace, release

NAMESPACE = "istio-system"

_FEATURES = {
    # Since 1.31 istiod tells Envoy of pods that are not ready too, and they count where `maxEjectionPercent` is taken
    # of: two replicas that load beside two that serve, and Envoy may leave both of these out. A model loads for
    # minutes, so it stays as it was before: what is not ready is no endpoint. `minHealthPercent`, the other way to say
    # so, would have Envoy ask ejected replicas. To a caller it is the same, 503 with the flag UH, which wakes a model.
    # istio/istio 1.31.1, pilot/pkg/features/experimental.go and pilot/pkg/xds/endpoints/endpoint_builder.go
    "PILOT_AUTO_SEND_UNHEALTHY_ENDPOINTS": "false",
}


class Mesh(pulumi.ComponentResource):
    """Istio's custom resources and istiod, twice, and a mesh that refuses plain text.

    It puts no workload into the mesh: a namespace asks for that with a label. It lets nothing in from outside: that is
    `Gateway`.
    """

    ready: pulumi.Resource
    """istiod: its webhooks must answer before a pod is injected or an Istio object is accepted."""
    closed: pulumi.Resource
    """What refuses plain text."""

    def __init__(self, name: str, *, docker_hub: str, opts: pulumi.ResourceOptions | None = None) -> None:
        """Install the control plane. `docker_hub` is where the cluster gets the images of docker.io from."""
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
                # Of istiod, of every sidecar and of the gateways. Istio publishes its images at docker.io/istio alone.
                "global": {"hub": f"{docker_hub}/istio"},
                "env": _FEATURES,
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
