"""Everything that models run on, from the network to monitoring."""

from collections.abc import Callable, Sequence

import pulumi
import pulumi_kubernetes as k8s

from components import gateway, model_namespace, monitoring_stack
from components.autoscaling import Autoscaling
from components.cluster import Cluster
from components.failed_pods import FailedPods
from components.gateway import Gateway
from components.gpu_driver import GpuDriver
from components.gpu_node_pool import GpuNodePool
from components.handover import Handover
from components.hugging_face_token import HuggingFaceToken
from components.image_registry import ImageRegistry
from components.mesh import NAMESPACE as MESH_NAMESPACE
from components.mesh import Mesh
from components.model_namespace import ModelNamespace
from components.monitoring_stack import MonitoringStack
from components.network import Network
from components.not_begun import NotBegun
from components.weights_bucket import PRIVATE_GOOGLE_RANGE, WeightsBucket
from planning.plan import Plan
from planning.schema import TokenSource
from planning.weights import bucket_name


class Platform(pulumi.ComponentResource):
    """An empty but complete platform: it knows from the plan which GPUs to offer, and no model.

    The program makes its Kubernetes provider, because a provider is the program's to configure; the platform says when:
    as soon as there is a cluster, and so that it goes only after everything in the cluster.
    """

    handover: Handover
    """All that models may know of it."""
    kubernetes: k8s.Provider
    """The provider for objects in its cluster."""
    grafana: str
    """The command by which Grafana is reached."""

    def __init__(
        self,
        name: str,
        plan: Plan,
        *,
        hugging_face_token: pulumi.Output[str] | None,
        kubernetes: Callable[[pulumi.Output[str], Sequence[pulumi.Resource]], k8s.Provider],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Make the platform. `kubernetes` makes the provider from a kubeconfig and what it has to wait for."""
        super().__init__("llmserve:index:Platform", name, None, opts)
        stack, inside = plan.stack, pulumi.ResourceOptions(parent=self)
        network = Network("network", stack, opts=inside)
        registry = ImageRegistry("images", plan, opts=inside)
        cluster = Cluster("cluster", stack, network, registry.repositories, opts=inside)
        pools = {
            pool.name: GpuNodePool(pool.name, pool, stack=stack, cluster=cluster, network=network, opts=inside)
            for pool in plan.pools
        }

        self.kubernetes = kubernetes(cluster.kubeconfig, [cluster.system_pool])
        in_cluster = pulumi.ResourceOptions(parent=self, providers=[self.kubernetes])
        driver = GpuDriver("gpu-driver", stack.gpu_driver_version, opts=in_cluster)
        classes = [
            k8s.apiextensions.CustomResource(
                f"compute-class-{compute_class.name}",
                api_version="cloud.google.com/v1",
                kind="ComputeClass",
                metadata=k8s.meta.v1.ObjectMetaArgs(name=compute_class.name),
                spec={
                    "priorities": [{"nodepools": [pools[pool].pool_name]} for pool in compute_class.priorities],
                    # Never a pool that Pulumi does not know.
                    "nodePoolAutoCreation": {"enabled": False},
                    "whenUnsatisfiable": "DoNotScaleUp",
                    # Moving a pod back as soon as spot is there again would be one more disruption.
                    "activeMigration": {"optimizeRulePriority": False},
                },
                opts=in_cluster,
            )
            for compute_class in plan.compute_classes
        ]
        mesh = Mesh("mesh", docker_hub=plan.docker_hub, opts=in_cluster)
        ingress = Gateway(
            "gateway",
            stack=stack,
            network=network,
            models_namespace=model_namespace.NAMESPACE,
            drain_seconds=plan.gateway_drain_seconds,
            mesh_ready=mesh.ready,
            opts=in_cluster,
        )
        models = ModelNamespace(
            "model-namespace",
            gateway_namespace=gateway.NAMESPACE,
            gateway_principal=ingress.principal,
            monitoring_namespace=monitoring_stack.NAMESPACE,
            mesh_namespace=MESH_NAMESPACE,
            mesh_ready=mesh.ready,
            storage_range=PRIVATE_GOOGLE_RANGE if plan.fills else None,
            opts=in_cluster,
        )
        not_begun = NotBegun(
            "not-begun",
            namespace=model_namespace.NAMESPACE,
            namespace_ready=models.ready,
            mesh_ready=mesh.ready,
            opts=in_cluster,
        )
        FailedPods("failed-pods", namespace=model_namespace.NAMESPACE, namespace_ready=models.ready, opts=in_cluster)
        monitoring = MonitoringStack(
            "monitoring",
            docker_hub=plan.docker_hub,
            models_ready=models.ready,
            gateway_ready=ingress.ready,
            opts=in_cluster,
        )
        autoscaling = Autoscaling("autoscaling", opts=in_cluster)
        ready: list[pulumi.Resource] = [
            *(driver, *classes, mesh.closed, ingress.ready, models.ready, *models.closed, not_begun.ready),
            *(monitoring.ready, autoscaling.ready),
        ]
        if plan.fills:
            ready += WeightsBucket(
                "weights", stack, bucket=bucket_name(stack), network_id=network.network_id, opts=inside
            ).ready
        token: HuggingFaceToken | None = None
        if stack.hugging_face_token_from is not TokenSource.NONE:
            token = HuggingFaceToken(
                "hugging-face-token",
                stack,
                hugging_face_token,
                namespace=model_namespace.NAMESPACE,
                namespace_ready=models.ready,
                opts=in_cluster,
            )
            ready.append(token.ready)
        self.handover = Handover(
            namespace=model_namespace.NAMESPACE,
            gateway=ingress.gateway,
            prometheus_url=monitoring.prometheus_url,
            dashboard_namespace=monitoring_stack.NAMESPACE,
            token_secret=token.secret_name if token is not None else None,
            ready=tuple(ready),
        )
        self.grafana = monitoring_stack.GRAFANA_COMMAND
        self.register_outputs({"cluster": cluster.cluster_name, "gateway": ingress.gateway})
