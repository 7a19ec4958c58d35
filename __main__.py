"""The program: settings, providers, platform, models, outputs."""

from collections.abc import Sequence

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as k8s
import pulumi_random

import settings
import versions
from components.models import Models
from components.monitoring_stack import GRAFANA_SERVICE, NAMESPACE
from components.platform import Platform
from planning.explanation import explanation
from planning.plan import plan
from planning.refusal import Refusal

declared = settings.load()
stack = declared.stack
try:
    given = declared.given(versions.ENGINE_IMAGES)
    decided = plan(given, file=declared.file, found=declared.problems)
except Refusal as refusal:
    raise pulumi.RunError(str(refusal)) from refusal
for warning in decided.warnings:
    pulumi.log.warn(warning)


def explain() -> str:
    """Tell the plan in words and numbers; `python -m preview STACK --explain` shows it."""
    return explanation(decided)


def kubernetes(kubeconfig: pulumi.Output[str], needs: Sequence[pulumi.Resource]) -> k8s.Provider:
    """Reach the cluster. A replaced cluster must be told by its generation, or its objects would be taken for alive."""
    identity = f"{stack.project}/{stack.region}/{stack.name}#{stack.cluster_generation}"
    options = pulumi.ResourceOptions(depends_on=needs)
    return k8s.Provider("kubernetes", kubeconfig=kubeconfig, cluster_identifier=identity, opts=options)


google = gcp.Provider("google", project=stack.project, region=stack.region, default_labels={"platform": stack.name})
random = pulumi_random.Provider("random")
platform = Platform(
    "platform",
    decided,
    hugging_face_token=declared.hugging_face_token,
    kubernetes=kubernetes,
    opts=pulumi.ResourceOptions(providers=[google, random]),
)
Models("models", decided, platform.handover, opts=pulumi.ResourceOptions(providers=[google, platform.kubernetes]))

pulumi.export("cluster", {"name": stack.name, "location": stack.region, "project": stack.project})
pulumi.export("models", {model.name: model.summary for model in decided.models})
pulumi.export("grafana", f"kubectl --namespace {NAMESPACE} port-forward service/{GRAFANA_SERVICE} 3000:80")
