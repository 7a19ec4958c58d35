"""How KEDA scales one version of a model."""

import pulumi
import pulumi_kubernetes as k8s

from components.handover import Handover
from monitoring.scaling import (
    POLLING_SECONDS,
    SCALE_DOWN_PODS,
    SCALE_DOWN_SECONDS,
    SCALE_UP_PODS,
    SCALE_UP_SECONDS,
    stabilization_seconds,
    triggers,
)
from planning.observed import engine_metrics
from planning.serving import ModelPlan, Version


def scaled_object(
    logical_name: str,
    workload: str,
    model: ModelPlan,
    version: Version,
    *,
    handover: Handover,
    opts: pulumi.ResourceOptions,
) -> k8s.apiextensions.CustomResource:
    """Make the ScaledObject of the Deployment beside a version's floor.

    Between 1 and the maximum the HPA that KEDA writes decides; between 0 and 1 KEDA does, on `activity`, which is the
    same for all versions of a model. https://keda.sh/docs/2.20/reference/scaledobject-spec/
    """
    scaling = model.declared.scaling
    startup_seconds = model.declared.startup_minutes * 60
    replicas = version.replicas
    annotations = {"autoscaling.keda.sh/paused-replicas": "0"} if replicas.elastic_paused else None
    return k8s.apiextensions.CustomResource(
        logical_name,
        api_version="keda.sh/v1alpha1",
        kind="ScaledObject",
        metadata=k8s.meta.v1.ObjectMetaArgs(name=workload, namespace=handover.namespace, annotations=annotations),
        spec={
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": workload},
            "minReplicaCount": replicas.elastic_minimum,
            "maxReplicaCount": replicas.elastic_maximum,
            "pollingInterval": POLLING_SECONDS,
            **(_sleep(scaling.idle_minutes * 60, startup_seconds) if replicas.elastic_minimum == 0 else {}),
            # Blind is no reason to stop serving. From 0 nothing can wake it: a sleeping model stays asleep.
            "fallback": {
                "failureThreshold": 3,
                "replicas": max(1, replicas.elastic_minimum),
                "behavior": "currentReplicasIfHigher",
            },
            "advanced": {
                "horizontalPodAutoscalerConfig": {
                    "behavior": {
                        "scaleUp": {
                            "policies": [{"type": "Pods", "value": SCALE_UP_PODS, "periodSeconds": SCALE_UP_SECONDS}]
                        },
                        "scaleDown": {
                            "stabilizationWindowSeconds": stabilization_seconds(startup_seconds),
                            "policies": [
                                {"type": "Pods", "value": SCALE_DOWN_PODS, "periodSeconds": SCALE_DOWN_SECONDS}
                            ],
                        },
                    }
                }
            },
            "triggers": [
                trigger.spec(handover.prometheus_url)
                for trigger in triggers(
                    model=model.name,
                    version=version.name,
                    share=version.weight / 100,
                    engine=engine_metrics(model.declared),
                    minimum=replicas.elastic_minimum,
                    floor=replicas.floor,
                    requests_per_second_per_replica=scaling.requests_per_second_per_replica,
                    queue_per_replica=scaling.queue_per_replica,
                    namespace=handover.namespace,
                )
            ],
        },
        opts=opts,
    )


def _sleep(idle_seconds: int, startup_seconds: int) -> dict[str, int]:
    """When a version that may sleep does. KEDA reads both only on the way to 0."""
    # KEDA scales a new target straight to its minimum: a model would vanish while it loads for the first time.
    return {"cooldownPeriod": idle_seconds, "initialCooldownPeriod": startup_seconds}
