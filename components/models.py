"""The models on a platform."""

import pulumi
import pulumi_kubernetes as k8s

from components.handover import Handover
from components.model_server import ModelServer
from components.model_weights import ModelWeights
from monitoring.dashboard import SERVING_UID, serving_dashboard
from monitoring.rules import rule_groups
from monitoring.scaling import scaling_groups
from monitoring.spend import spend_groups
from planning.cost.forecast import forecast
from planning.observed import node_prices, scaled_version, served_model
from planning.plan import Plan


class Models(pulumi.ComponentResource):
    """Every model of a stack, the rules that give engines one vocabulary and say what they cost, and the dashboard.

    It knows the platform by its handover only, so that models can become a stack, and a team's right, of their own.
    """

    def __init__(
        self,
        name: str,
        plan: Plan,
        handover: Handover,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Serve the planned models on the platform."""
        super().__init__("llmserve:index:Models", name, None, opts)
        models = plan.models
        after_platform = pulumi.ResourceOptions(parent=self, depends_on=list(handover.ready))
        served = [served_model(model) for model in models]
        expected = forecast(plan)
        rules = [
            *rule_groups(served, handover.namespace),
            *scaling_groups(
                scaled_version(model, version, handover.namespace) for model in models for version in model.versions
            ),
            *spend_groups(
                served,
                node_prices(plan.pools),
                expected_usd_per_hour=expected.expected_usd_per_hour,
                most_usd_per_hour=expected.most_usd_per_hour,
                namespace=handover.namespace,
            ),
        ]
        k8s.apiextensions.CustomResource(
            f"{name}-rules",
            api_version="monitoring.coreos.com/v1",
            kind="PrometheusRule",
            metadata=k8s.meta.v1.ObjectMetaArgs(name="llm", namespace=handover.namespace),
            spec={"groups": rules},
            opts=after_platform,
        )
        k8s.core.v1.ConfigMap(
            f"{name}-dashboard",
            metadata=k8s.meta.v1.ObjectMetaArgs(
                name=SERVING_UID, namespace=handover.dashboard_namespace, labels={"grafana_dashboard": "1"}
            ),
            data={f"{SERVING_UID}.json": serving_dashboard(served)},
            opts=after_platform,
        )
        weights: list[pulumi.Resource] = []
        if plan.fills:
            weights = ModelWeights(
                f"{name}-weights",
                plan.fills,
                models,
                handover,
                project=plan.stack.project,
                opts=pulumi.ResourceOptions(parent=self),
            ).ready
        for model in models:
            ModelServer(model.name, model, handover, weights=weights, opts=pulumi.ResourceOptions(parent=self))
        self.register_outputs({"hosts": {model.name: model.host for model in models}})
