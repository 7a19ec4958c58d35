"""KEDA: it wakes models, puts them to sleep, and writes the HPA that does the rest."""

import pulumi

import versions
from components.helm import namespace, release

NAMESPACE = "keda"


class Autoscaling(pulumi.ComponentResource):
    """The KEDA operator, its metrics API and its admission webhooks, two of each.

    It is outside the mesh: Kubernetes calls its APIs without the mesh's identity. It scales nothing by itself: each
    model brings its ScaledObjects.
    """

    ready: pulumi.Resource
    """The release, with the definitions of KEDA's custom resources and its webhooks."""

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        """Install KEDA."""
        super().__init__("llmserve:index:Autoscaling", name, None, opts)
        own = namespace(f"{name}-namespace", NAMESPACE, pulumi.ResourceOptions(parent=self))
        self.ready = release(
            f"{name}-release",
            versions.KEDA,
            release_name="keda",
            namespace=NAMESPACE,
            values={
                "operator": {"replicaCount": 2},
                "metricsServer": {"replicaCount": 2},
                "webhooks": {"replicaCount": 2},
                # No trigger here needs a Secret of another namespace, such as the Hugging Face token.
                "permissions": {
                    "operator": {"restrict": {"secret": True}},
                    "metricServer": {"restrict": {"secret": True}},
                },
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[own]),
        )
        self.register_outputs({"namespace": NAMESPACE})
