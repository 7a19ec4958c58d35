"""Nodes with GPUs, of one machine type, bought in one way."""

import pulumi
import pulumi_gcp as gcp

from components.cluster import CLOUD_PLATFORM, NOT_OURS, SECURE_NODE, WORKLOAD_IDENTITY, Cluster
from components.network import Network
from planning.drain import SPOT_CRITICAL_SECONDS
from planning.nodes import LOCAL_SSD_GIB
from planning.pools import Pool, PoolKind
from planning.schema import Stack
from planning.serving import boot_disk_gib

MOST_FLEX_START_SECONDS = "604800s"
"""A week, the longest that Google lends such a node.

https://docs.cloud.google.com/kubernetes-engine/docs/concepts/dws
"""


class GpuNodePool(pulumi.ComponentResource):
    """An autoscaled pool from zero nodes, in every zone that the plan names.

    It installs no driver: `GpuDriver` does, on nodes where GKE was told not to. It declares no `nvidia.com/gpu` taint,
    because GKE adds that one and a second would be refused.
    """

    pool_name: pulumi.Output[str]
    """The pool's physical name, which a ComputeClass lists."""

    def __init__(
        self,
        name: str,
        pool: Pool,
        *,
        stack: Stack,
        cluster: Cluster,
        network: Network,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Make the planned pool in the cluster, after its system pool: GKE taints GPU nodes only where others exist."""
        super().__init__("llmserve:index:GpuNodePool", name, None, opts)
        machine = pool.machine
        node_pool = gcp.container.NodePool(
            name,
            cluster=cluster.cluster_name,
            location=cluster.location,
            node_locations=list(pool.zones),
            initial_node_count=0,
            autoscaling=gcp.container.NodePoolAutoscalingArgs(
                total_min_node_count=0,
                total_max_node_count=pool.max_nodes,
                # Take a GPU wherever there is one; balancing zones would wait for the scarcest.
                location_policy="ANY",
            ),
            management=gcp.container.NodePoolManagementArgs(
                # A flex-start node is made anew every week at the latest, and is not repaired before.
                auto_repair=pool.kind is not PoolKind.FLEX_START,
                auto_upgrade=True,
            ),
            # A surge node needs a spare GPU and its quota; there is none.
            upgrade_settings=gcp.container.NodePoolUpgradeSettingsArgs(max_surge=0, max_unavailable=1),
            node_config=gcp.container.NodePoolNodeConfigArgs(
                machine_type=machine.machine_type,
                spot=pool.spot,
                flex_start=True if pool.kind is PoolKind.FLEX_START else None,
                max_run_duration=MOST_FLEX_START_SECONDS if pool.kind is PoolKind.FLEX_START else None,
                guest_accelerators=[
                    gcp.container.NodePoolNodeConfigGuestAcceleratorArgs(
                        type=str(machine.gpu_type),
                        count=machine.gpus,
                        gpu_driver_installation_config=(
                            gcp.container.NodePoolNodeConfigGuestAcceleratorGpuDriverInstallationConfigArgs(
                                gpu_driver_version=str(pool.driver_installation)
                            )
                        ),
                    )
                ],
                disk_type="pd-balanced",
                disk_size_gb=boot_disk_gib(machine),
                ephemeral_storage_local_ssd_config=(
                    gcp.container.NodePoolNodeConfigEphemeralStorageLocalSsdConfigArgs(
                        local_ssd_count=machine.local_ssd_gib // LOCAL_SSD_GIB
                    )
                    if machine.local_ssd_gib
                    else None
                ),
                image_type="COS_CONTAINERD",
                service_account=cluster.node_service_account,
                oauth_scopes=[CLOUD_PLATFORM],
                tags=[network.node_tag],
                labels=pool.labels,
                taints=[
                    gcp.container.NodePoolNodeConfigTaintArgs(key=taint.key, value=taint.value, effect=taint.effect)
                    for taint in pool.taints
                ],
                gvnic=gcp.container.NodePoolNodeConfigGvnicArgs(enabled=True),
                gcfs_config=gcp.container.NodePoolNodeConfigGcfsConfigArgs(enabled=True),
                shielded_instance_config=SECURE_NODE,
                workload_metadata_config=WORKLOAD_IDENTITY,
                reservation_affinity=_reservation(pool.reservation),
                kubelet_config=(
                    gcp.container.NodePoolNodeConfigKubeletConfigArgs(
                        insecure_kubelet_readonly_port_enabled="FALSE",
                        shutdown_grace_period_seconds=stack.spot_shutdown_grace_seconds,
                        shutdown_grace_period_critical_pods_seconds=SPOT_CRITICAL_SECONDS,
                    )
                    if pool.spot
                    else gcp.container.NodePoolNodeConfigKubeletConfigArgs(
                        insecure_kubelet_readonly_port_enabled="FALSE"
                    )
                ),
            ),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[cluster.system_pool],
                ignore_changes=NOT_OURS,
                custom_timeouts=pulumi.CustomTimeouts(create="45m", update="45m", delete="45m"),
            ),
        )
        self.pool_name = node_pool.name
        self.register_outputs({"poolName": self.pool_name})


def _reservation(name: str | None) -> gcp.container.NodePoolNodeConfigReservationAffinityArgs:
    """A named reservation or none: any other kind would fall back to on-demand, past the class's order."""
    if name is None:
        return gcp.container.NodePoolNodeConfigReservationAffinityArgs(consume_reservation_type="NO_RESERVATION")
    return gcp.container.NodePoolNodeConfigReservationAffinityArgs(
        consume_reservation_type="SPECIFIC_RESERVATION", key="compute.googleapis.com/reservation-name", values=[name]
    )
