"""The program: settings, providers, platform, models, outputs. A stack that says `costOf` has outputs only."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as k8s
import pulumi_random

import cost_stack
import settings
import versions
from components.models import Models
from components.monitoring_stack import GRAFANA_SERVICE, NAMESPACE
from components.platform import Platform
from planning.cost.document import cost_of
from planning.explanation import explanation
from planning.plan import Plan, plan
from planning.refusal import Refusal


def serve(decided: Plan, hugging_face_token: pulumi.Output[str] | None) -> None:
    """Make everything that the plan holds."""
    stack = decided.stack

    def kubernetes(kubeconfig: pulumi.Output[str], needs: Sequence[pulumi.Resource]) -> k8s.Provider:
        # A replaced cluster must be told by its generation, or its objects would be taken for alive.
        identity = f"{stack.project}/{stack.region}/{stack.name}#{stack.cluster_generation}"
        options = pulumi.ResourceOptions(depends_on=needs)
        return k8s.Provider("kubernetes", kubeconfig=kubeconfig, cluster_identifier=identity, opts=options)

    google = gcp.Provider("google", project=stack.project, region=stack.region, default_labels={"platform": stack.name})
    random = pulumi_random.Provider("random")
    options = pulumi.ResourceOptions(providers=[google, random])
    platform = Platform("platform", decided, hugging_face_token=hugging_face_token, kubernetes=kubernetes, opts=options)
    options = pulumi.ResourceOptions(providers=[google, platform.kubernetes])
    Models("models", decided, platform.handover, opts=options)
    pulumi.export("cluster", {"name": stack.name, "location": stack.region, "project": stack.project})
    pulumi.export("models", {model.name: model.summary for model in decided.models})
    pulumi.export("grafana", f"kubectl --namespace {NAMESPACE} port-forward service/{GRAFANA_SERVICE} 3000:80")


try:
    if compared := settings.load_cost():
        for name, value in cost_stack.outputs(compared).items():
            pulumi.export(name, value)
    else:
        declared = settings.load()
        decided = plan(declared.given(versions.ENGINE_IMAGES), file=declared.file, found=declared.problems)
        for warning in decided.warnings:
            pulumi.log.warn(warning)
        serve(decided, declared.hugging_face_token)
except Refusal as refusal:
    raise pulumi.RunError(str(refusal)) from refusal


def explain() -> str:
    """Tell the plan in words and numbers; `python -m preview STACK --explain` shows it."""
    return f"It makes nothing: its outputs tell what {compared.cost_of} costs." if compared else explanation(decided)


def cost(states: Sequence[Mapping[str, Any]], simulation: Mapping[str, Any] | None) -> dict[str, Any]:
    """Price what was asked for; `python -m preview STACK --cost` shows it, with `--usage` from a simulation."""
    if compared:
        return cost_stack.recorded_cost(compared)
    return cost_of(decided, states, simulation, today=datetime.now(UTC).date())
