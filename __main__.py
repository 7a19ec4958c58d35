"""The program: settings, providers, platform, models, outputs. A stack that says `costOf` has outputs only."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as k8s
import pulumi_random

import cost_stack
import settings
from components.budget import Budget
from components.models import Models
from components.platform import Platform
from planning.cost.document import cost_of
from planning.explanation import explanation
from planning.plan import Plan
from planning.refusal import Refusal


def serve(decided: Plan, hugging_face_token: pulumi.Output[str] | None) -> None:
    """Make all that is planned."""
    stack = decided.stack
    google = gcp.Provider("google", project=stack.project, region=stack.region, default_labels={"platform": stack.name})
    random = pulumi_random.Provider("random")

    def kubernetes(kubeconfig: pulumi.Output[str], needs: Sequence[pulumi.Resource]) -> k8s.Provider:
        # A replaced cluster must be told by its generation, or its objects would be taken for alive.
        identity = f"{stack.project}/{stack.region}/{stack.name}#{stack.cluster_generation}"
        # Mutable: else a new dashboard or token deletes the object that pods read, and makes another.
        reached = k8s.ProviderArgs(
            kubeconfig=kubeconfig,
            cluster_identifier=identity,
            enable_config_map_mutable=True,
            enable_secret_mutable=True,
        )
        return k8s.Provider("kubernetes", reached, pulumi.ResourceOptions(depends_on=needs))

    options = pulumi.ResourceOptions(providers=[google, random])
    platform = Platform("platform", decided, hugging_face_token=hugging_face_token, kubernetes=kubernetes, opts=options)
    options = pulumi.ResourceOptions(providers=[google, platform.kubernetes])
    Models("models", decided, platform.handover, opts=options)
    if stack.budget is not None:
        billing = gcp.Provider("google-billing", billing_project=stack.project, user_project_override=True)
        Budget("budget", stack.budget, project=stack.project, opts=pulumi.ResourceOptions(providers=[billing]))
    pulumi.export("cluster", {"name": stack.name, "location": stack.region, "project": stack.project})
    pulumi.export("models", {model.name: model.summary for model in decided.models})
    pulumi.export("grafana", platform.grafana)


try:
    if compared := settings.load_cost():
        cost_stack.export(compared)
    else:
        declared = settings.load()
        decided = declared.plan()
        for warning in decided.warnings:
            pulumi.log.warn(warning)
        serve(decided, declared.hugging_face_token)
except Refusal as refusal:
    raise pulumi.RunError(str(refusal)) from refusal


def explain() -> str:
    """Tell the plan in words and numbers; `python -m preview STACK --explain` shows it."""
    return cost_stack.ABOUT if compared else explanation(decided)


def cost(states: Sequence[Mapping[str, Any]], simulation: Mapping[str, Any] | None) -> dict[str, Any]:
    """Price what was asked for; `python -m preview STACK --cost` shows it."""
    return cost_stack.recorded_cost(compared) if compared else cost_of(decided, states, simulation)
