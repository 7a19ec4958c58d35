"""One object, then one Helm release of the chart beside this file; with `waits` the release is never ready."""

import pulumi
import pulumi_kubernetes as k8s

config = pulumi.Config()
provider = k8s.Provider("kubernetes", kubeconfig=config.require("kubeconfig"))
options = pulumi.ResourceOptions(provider=provider)
first = k8s.core.v1.ConfigMap(
    "first", metadata=k8s.meta.v1.ObjectMetaArgs(name="first", namespace="default"), data={"is": "first"}, opts=options
)
k8s.helm.v3.Release(
    "tiny",
    name="tiny",
    chart="./chart",
    namespace="default",
    values={"greeting": config.require("greeting"), "waits": config.require_bool("waits")},
    atomic=True,
    cleanup_on_fail=True,
    timeout=900,
    opts=pulumi.ResourceOptions(provider=provider, depends_on=[first]),
)
