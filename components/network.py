"""The network that a cluster lives in, private but for what leaves it."""

import pulumi
import pulumi_gcp as gcp

from planning.schema import Stack

WEBHOOK_PORTS = ("15017", "9443", "6443")
"""istiod's webhooks, KEDA's admission webhooks, KEDA's metrics API. GKE's own rule opens 443 and 10250 only.

https://istio.io/latest/docs/setup/platform-setup/gke/ and kedacore/charts, keda/values.yaml
"""


class Network(pulumi.ComponentResource):
    """A VPC with one subnet for nodes, pods and Services, a NAT for what they fetch, and one rule for webhooks.

    It opens nothing to the internet, makes no route to another network and gives no node a public address.
    """

    network_id: pulumi.Output[str]
    """The VPC."""
    subnetwork_id: pulumi.Output[str]
    """The subnet, with the secondary ranges `pods` and `services`."""
    ready: list[pulumi.Resource]
    """The way out and the way to webhooks: nodes need them before their first packet, and until after their last."""
    node_tag: str
    """The network tag that a node must carry for the control plane to reach webhooks on it."""

    def __init__(self, name: str, stack: Stack, opts: pulumi.ResourceOptions | None = None) -> None:
        """Lay the ranges that the settings name."""
        super().__init__("llmserve:index:Network", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.node_tag = f"{stack.name}-node"
        network = gcp.compute.Network(f"{name}-vpc", auto_create_subnetworks=False, routing_mode="REGIONAL", opts=child)
        subnetwork = gcp.compute.Subnetwork(
            f"{name}-nodes",
            network=network.id,
            region=stack.region,
            ip_cidr_range=stack.node_range,
            # Artifact Registry, Secret Manager and Cloud Storage without the NAT and its price per byte.
            private_ip_google_access=True,
            secondary_ip_ranges=[
                gcp.compute.SubnetworkSecondaryIpRangeArgs(range_name="pods", ip_cidr_range=stack.pod_range),
                gcp.compute.SubnetworkSecondaryIpRangeArgs(range_name="services", ip_cidr_range=stack.service_range),
            ],
            opts=child,
        )
        router = gcp.compute.Router(f"{name}-router", network=network.id, region=stack.region, opts=child)
        nat = gcp.compute.RouterNat(
            f"{name}-nat",
            router=router.name,
            region=stack.region,
            nat_ip_allocate_option="AUTO_ONLY",
            source_subnetwork_ip_ranges_to_nat="ALL_SUBNETWORKS_ALL_IP_RANGES",
            # Weights are fetched over many connections to one address; 64 ports a node, the default, stall that.
            enable_dynamic_port_allocation=True,
            enable_endpoint_independent_mapping=False,
            min_ports_per_vm=128,
            max_ports_per_vm=4096,
            log_config=gcp.compute.RouterNatLogConfigArgs(enable=True, filter="ERRORS_ONLY"),
            opts=child,
        )
        # Without it every pod creation waits for istiod's webhook until it times out.
        webhooks = gcp.compute.Firewall(
            f"{name}-webhooks",
            network=network.id,
            direction="INGRESS",
            source_ranges=[stack.control_plane_range],
            target_tags=[self.node_tag],
            allows=[gcp.compute.FirewallAllowArgs(protocol="tcp", ports=list(WEBHOOK_PORTS))],
            opts=child,
        )
        self.network_id, self.subnetwork_id, self.ready = network.id, subnetwork.id, [nat, webhooks]
        self.register_outputs({"networkId": self.network_id, "subnetworkId": self.subnetwork_id})
