"""The GKE cluster: its control plane, the account its nodes run as, and the nodes for everything without a GPU."""

from collections.abc import Sequence

import pulumi
import pulumi_gcp as gcp

from components.network import Network
from planning.schema import Stack, WeightsFrom

CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
"""The widest scope: what a node may do is said by its account's roles, which unlike scopes can be changed in place."""

SECURE_NODE = gcp.container.NodePoolNodeConfigShieldedInstanceConfigArgs(
    enable_secure_boot=True, enable_integrity_monitoring=True
)
NOT_OURS = ["initialNodeCount", "nodeConfig.resourceLabels"]
"""Of a pool: the autoscaler owns the count, where a difference would replace the pool; GKE writes labels of its own."""

WORKLOAD_IDENTITY = gcp.container.NodePoolNodeConfigWorkloadMetadataConfigArgs(mode="GKE_METADATA")


class Cluster(pulumi.ComponentResource):
    """A regional, private cluster whose control plane answers, outside its own network, at its DNS endpoint alone.

    It has no public node or address, no client certificate and no legacy authorisation. It does not make
    GPU nodes: those are `GpuNodePool`.
    """

    name: str
    """Its name, known before it exists."""
    location: str
    """Its region."""
    cluster_name: pulumi.Output[str]
    """Its name once it exists: what a node pool waits for."""
    node_service_account: pulumi.Output[str]
    """The e-mail of the account that all nodes run as."""
    kubeconfig: pulumi.Output[str]
    """For the DNS endpoint, with the caller's own Google identity; holds no secret."""
    system_pool: pulumi.Resource
    """The nodes that must be there before, and until after, everything in the cluster."""

    def __init__(
        self,
        name: str,
        stack: Stack,
        network: Network,
        image_repositories: Sequence[gcp.artifactregistry.Repository],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Make the cluster in the network, with nodes that may pull from the given repositories and nothing else."""
        super().__init__("llmserve:index:Cluster", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.name, self.location = stack.name, stack.region

        account = gcp.serviceaccount.Account(
            f"{name}-nodes",
            account_id=f"{stack.name}-nodes",
            display_name=f"Nodes of the GKE cluster {stack.name}",
            opts=child,
        )
        self.node_service_account = account.email
        rights: list[pulumi.Resource] = [
            gcp.projects.IAMMember(
                f"{name}-nodes-role",
                project=stack.project,
                # Logs, metrics and autoscaling signals; the least that GKE documents for a node's account.
                # https://docs.cloud.google.com/kubernetes-engine/docs/how-to/service-accounts
                role="roles/container.defaultNodeServiceAccount",
                member=account.member,
                opts=child,
            )
        ]
        for repository in image_repositories:
            logical_name = repository.pulumi_resource_name
            rights.append(
                gcp.artifactregistry.RepositoryIamMember(
                    f"{name}-nodes-pull-{logical_name}",
                    location=stack.region,
                    repository=repository.repository_id,
                    role="roles/artifactregistry.reader",
                    member=account.member,
                    opts=child,
                )
            )

        cluster = gcp.container.Cluster(
            f"{name}-control-plane",
            # Fixed, because kubeconfig, kubectl and the provider's identity name it.
            name=stack.name,
            location=stack.region,
            deletion_protection=stack.deletion_protection,
            network=network.network_id,
            subnetwork=network.subnetwork_id,
            networking_mode="VPC_NATIVE",
            ip_allocation_policy=gcp.container.ClusterIpAllocationPolicyArgs(
                cluster_secondary_range_name="pods", services_secondary_range_name="services"
            ),
            datapath_provider="ADVANCED_DATAPATH",
            private_cluster_config=gcp.container.ClusterPrivateClusterConfigArgs(
                enable_private_nodes=True,
                enable_private_endpoint=True,
                master_ipv4_cidr_block=stack.control_plane_range,
            ),
            control_plane_endpoints_config=gcp.container.ClusterControlPlaneEndpointsConfigArgs(
                # Reached from anywhere by whom IAM lets (container.clusters.connect). The private IP endpoint is there
                # for the nodes: with it the control plane has the range that the firewall rule for webhooks names.
                dns_endpoint_config=gcp.container.ClusterControlPlaneEndpointsConfigDnsEndpointConfigArgs(
                    allow_external_traffic=True
                ),
                ip_endpoints_config=gcp.container.ClusterControlPlaneEndpointsConfigIpEndpointsConfigArgs(enabled=True),
            ),
            # No network but the cluster's own may use the IP endpoint.
            master_authorized_networks_config=gcp.container.ClusterMasterAuthorizedNetworksConfigArgs(
                cidr_blocks=[], gcp_public_cidrs_access_enabled=False
            ),
            release_channel=gcp.container.ClusterReleaseChannelArgs(channel=stack.release_channel),
            workload_identity_config=gcp.container.ClusterWorkloadIdentityConfigArgs(
                workload_pool=f"{stack.project}.svc.id.goog"
            ),
            enable_shielded_nodes=True,
            enable_legacy_abac=False,
            master_auth=gcp.container.ClusterMasterAuthArgs(
                client_certificate_config=gcp.container.ClusterMasterAuthClientCertificateConfigArgs(
                    issue_client_certificate=False
                )
            ),
            # Kubernetes Secrets from Secret Manager, so that no token passes through Pulumi.
            secret_sync_config=gcp.container.ClusterSecretSyncConfigArgs(
                enabled=True,
                # A new version of the token reaches the pods that start after it.
                rotation_config=gcp.container.ClusterSecretSyncConfigRotationConfigArgs(
                    enabled=True, rotation_interval="300s"
                ),
            ),
            addons_config=(
                gcp.container.ClusterAddonsConfigArgs(
                    gcs_fuse_csi_driver_config=gcp.container.ClusterAddonsConfigGcsFuseCsiDriverConfigArgs(enabled=True)
                )
                if stack.weights_from is WeightsFrom.BUCKET
                else None
            ),
            security_posture_config=gcp.container.ClusterSecurityPostureConfigArgs(mode="BASIC"),
            # The provider's default labels are the cluster's too, and GKE passes them on to nodes' VMs and disks, so no
            # pool has resource labels: hashicorp/terraform-provider-google#19436 and
            # https://cloud.google.com/kubernetes-engine/docs/how-to/creating-managing-labels#label_propagation
            cost_management_config=gcp.container.ClusterCostManagementConfigArgs(enabled=True),
            cluster_autoscaling=gcp.container.ClusterClusterAutoscalingArgs(
                # No pools behind Pulumi's back; a GPU node that is empty goes quickly.
                enabled=False,
                autoscaling_profile="OPTIMIZE_UTILIZATION",
            ),
            node_pool_defaults=gcp.container.ClusterNodePoolDefaultsArgs(
                node_config_defaults=gcp.container.ClusterNodePoolDefaultsNodeConfigDefaultsArgs(
                    gcfs_config=gcp.container.ClusterNodePoolDefaultsNodeConfigDefaultsGcfsConfigArgs(enabled=True),
                    insecure_kubelet_readonly_port_enabled="FALSE",
                )
            ),
            logging_config=gcp.container.ClusterLoggingConfigArgs(enable_components=["SYSTEM_COMPONENTS", "WORKLOADS"]),
            # kube-prometheus-stack watches the rest; managed collection bills by the sample.
            monitoring_config=gcp.container.ClusterMonitoringConfigArgs(
                enable_components=["SYSTEM_COMPONENTS"],
                managed_prometheus=gcp.container.ClusterMonitoringConfigManagedPrometheusArgs(enabled=False),
            ),
            # GKE insists on a first pool: it is made with our account, which the default one could not replace in an
            # organisation that grants that nothing, and removed at once.
            remove_default_node_pool=True,
            initial_node_count=1,
            node_config=gcp.container.ClusterNodeConfigArgs(
                machine_type=stack.system_machine_type,
                service_account=account.email,
                oauth_scopes=[CLOUD_PLATFORM],
                tags=[network.node_tag],
            ),
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=stack.deletion_protection,
                depends_on=rights,
                # They describe the removed first pool; reading them back would replace the cluster.
                ignore_changes=["initialNodeCount", "nodeConfig", "nodePools"],
                custom_timeouts=pulumi.CustomTimeouts(create="60m", update="60m", delete="60m"),
            ),
        )
        self.cluster_name = cluster.name

        self.system_pool = gcp.container.NodePool(
            f"{name}-system",
            cluster=cluster.name,
            location=stack.region,
            initial_node_count=1,
            autoscaling=gcp.container.NodePoolAutoscalingArgs(
                total_min_node_count=stack.system_min_nodes,
                total_max_node_count=stack.system_max_nodes,
                location_policy="BALANCED",
            ),
            management=gcp.container.NodePoolManagementArgs(auto_repair=True, auto_upgrade=True),
            upgrade_settings=gcp.container.NodePoolUpgradeSettingsArgs(max_surge=1, max_unavailable=0),
            node_config=gcp.container.NodePoolNodeConfigArgs(
                machine_type=stack.system_machine_type,
                disk_type="pd-balanced",
                disk_size_gb=100,
                image_type="COS_CONTAINERD",
                service_account=account.email,
                oauth_scopes=[CLOUD_PLATFORM],
                tags=[network.node_tag],
                gcfs_config=gcp.container.NodePoolNodeConfigGcfsConfigArgs(enabled=True),
                shielded_instance_config=SECURE_NODE,
                workload_metadata_config=WORKLOAD_IDENTITY,
                kubelet_config=gcp.container.NodePoolNodeConfigKubeletConfigArgs(
                    insecure_kubelet_readonly_port_enabled="FALSE"
                ),
            ),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=network.ready,
                ignore_changes=NOT_OURS,
                custom_timeouts=pulumi.CustomTimeouts(create="45m", update="45m", delete="45m"),
            ),
        )

        endpoint = cluster.control_plane_endpoints_config.dns_endpoint_config.endpoint
        self.kubeconfig = pulumi.Output.json_dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": stack.name,
                # No certificate authority: the DNS endpoint has a certificate of a public one.
                "clusters": [{"name": stack.name, "cluster": {"server": pulumi.Output.concat("https://", endpoint)}}],
                "contexts": [{"name": stack.name, "context": {"cluster": stack.name, "user": stack.name}}],
                "users": [
                    {
                        "name": stack.name,
                        "user": {
                            "exec": {
                                "apiVersion": "client.authentication.k8s.io/v1beta1",
                                "command": "gke-gcloud-auth-plugin",
                                # The identity that Pulumi itself uses, not the one that gcloud is logged in as.
                                "args": ["--use_application_default_credentials"],
                                "installHint": "gcloud components install gke-gcloud-auth-plugin",
                                "interactiveMode": "Never",
                                "provideClusterInfo": True,
                            }
                        },
                    }
                ],
            }
        )
        self.register_outputs({"clusterName": self.cluster_name, "nodeServiceAccount": self.node_service_account})
