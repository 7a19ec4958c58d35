"""The one door to the models: Istio's ingress gateway."""

import json

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as k8s

import versions
from components.helm import namespace, release
from components.network import Network
from planning.schema import Stack

NAMESPACE = "istio-ingress"
RELEASE = "istio-ingressgateway"
"""Also the name of its Deployment, Service and account; the chart makes the label `istio: ingressgateway` of it."""

GATEWAY = "models"


class Gateway(pulumi.ComponentResource):
    """At least two gateways behind an internal load balancer, one listener, and the models' hosts in the VPC's DNS.

    It has no public address, and will have none before TLS and authentication exist: the settings refuse it.
    It knows no model: each brings its own VirtualService, from the models' namespace alone.
    """

    gateway: str
    """What a VirtualService binds to, as `namespace/name`."""
    principal: str
    """Its identity in the mesh."""
    ready: pulumi.Resource
    """The listener."""

    def __init__(
        self,
        name: str,
        *,
        stack: Stack,
        network: Network,
        models_namespace: str,
        drain_seconds: int,
        mesh_ready: pulumi.Resource,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Listen for every host below the domain, routed by VirtualServices of the models' namespace only.

        A gateway that is told to stop lets running streams go on for `drain_seconds` at the most.
        """
        super().__init__("llmserve:index:Gateway", name, None, opts)
        address = gcp.compute.Address(
            f"{name}-address",
            address_type="INTERNAL",
            region=stack.region,
            subnetwork=network.subnetwork_id,
            description="Where every model is reached",
            opts=pulumi.ResourceOptions(parent=self),
        )
        zone = gcp.dns.ManagedZone(
            f"{name}-zone",
            dns_name=f"{stack.domain}.",
            description="The models' hosts",
            visibility="private",
            private_visibility_config=gcp.dns.ManagedZonePrivateVisibilityConfigArgs(
                networks=[gcp.dns.ManagedZonePrivateVisibilityConfigNetworkArgs(network_url=network.network_id)]
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        gcp.dns.RecordSet(
            f"{name}-hosts",
            managed_zone=zone.name,
            name=f"*.{stack.domain}.",
            type="A",
            ttl=300,
            rrdatas=[address.address],
            opts=pulumi.ResourceOptions(parent=self),
        )
        own = namespace(f"{name}-namespace", NAMESPACE, pulumi.ResourceOptions(parent=self))
        installed = release(
            f"{name}-release",
            versions.ISTIO_GATEWAY,
            release_name=RELEASE,
            namespace=NAMESPACE,
            values={
                "service": {
                    "annotations": {"networking.gke.io/load-balancer-type": "Internal"},
                    "loadBalancerIP": address.address,
                    # No https port before there is a certificate.
                    "ports": [
                        {"name": "status-port", "port": 15021, "protocol": "TCP", "targetPort": 15021},
                        {"name": "http2", "port": 80, "protocol": "TCP", "targetPort": 80},
                    ],
                },
                "autoscaling": {"minReplicas": 2},
                "podDisruptionBudget": {"maxUnavailable": 1},
                "topologySpreadConstraints": [
                    {
                        "maxSkew": 1,
                        "topologyKey": "kubernetes.io/hostname",
                        "whenUnsatisfiable": "ScheduleAnyway",
                        "labelSelector": {"matchLabels": {"app": RELEASE}},
                    }
                ],
                # A request for CPU is also what the chart's autoscaler measures its 80 % by.
                "resources": {"requests": {"cpu": "500m", "memory": "256Mi"}},
                "podAnnotations": {"proxy.istio.io/config": _drain()},
                "terminationGracePeriodSeconds": drain_seconds,
            },
            # Its pods have `image: auto`, which istiod's webhook replaces.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[own, mesh_ready]),
        )
        self.ready = k8s.apiextensions.CustomResource(
            f"{name}-listener",
            api_version="networking.istio.io/v1",
            kind="Gateway",
            metadata=k8s.meta.v1.ObjectMetaArgs(name=GATEWAY, namespace=NAMESPACE),
            spec={
                "selector": {"istio": RELEASE.removeprefix("istio-")},
                "servers": [
                    {
                        "port": {"number": 80, "name": "http", "protocol": "HTTP"},
                        "hosts": [f"{models_namespace}/*.{stack.domain}"],
                    }
                ],
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[installed]),
        )
        self.gateway = f"{NAMESPACE}/{GATEWAY}"
        self.principal = f"cluster.local/ns/{NAMESPACE}/sa/{RELEASE}"
        self.register_outputs({"gateway": self.gateway})


def _drain() -> str:
    """Stop when the last stream has ended. The duration alone is a sleep, with or without a stream."""
    return json.dumps({"proxyMetadata": {"EXIT_ON_ZERO_ACTIVE_CONNECTIONS": "true"}})
