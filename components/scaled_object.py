"""How KEDA scales one version of a model."""

import pulumi
import pulumi_kubernetes as k8s

from components.handover import Handover
from planning.observed import scaled_version
from planning.serving import ModelPlan, Version


def scaled_object(
    logical_name: str,
    model: ModelPlan,
    version: Version,
    *,
    handover: Handover,
    opts: pulumi.ResourceOptions,
) -> k8s.apiextensions.CustomResource:
    """Make the ScaledObject of the Deployment beside a version's floor."""
    scaled = scaled_version(model, version, handover.namespace)
    annotations = {"autoscaling.keda.sh/paused-replicas": "0"} if version.replicas.elastic_paused else None
    return k8s.apiextensions.CustomResource(
        logical_name,
        api_version="keda.sh/v1alpha1",
        kind="ScaledObject",
        metadata=k8s.meta.v1.ObjectMetaArgs(
            name=scaled.workload, namespace=handover.namespace, annotations=annotations
        ),
        spec=scaled.scaled_object(handover.prometheus_url),
        opts=opts,
    )
