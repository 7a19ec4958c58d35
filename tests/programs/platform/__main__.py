"""A small platform, whole enough to exercise every rule of the engine."""

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as kubernetes
import pulumi_random as random
from cluster import Cluster

config = pulumi.Config()
google = gcp.Provider("google", project=pulumi.Config("gcp").require("project"))
cluster = Cluster(
    "main",
    spot=config.require_bool("spot"),
    opts=pulumi.ResourceOptions(providers=[google]),
)
password = random.RandomPassword("password", length=32)
cluster_provider = kubernetes.Provider("cluster", kubeconfig=cluster.kubeconfig)
inside = pulumi.ResourceOptions(provider=cluster_provider)
namespace = kubernetes.core.v1.Namespace("models", opts=inside)
secret = kubernetes.core.v1.Secret(
    "token",
    metadata=kubernetes.meta.v1.ObjectMetaArgs(name="token", namespace=namespace.metadata.name),
    string_data={"token": config.require_secret("token"), "password": password.result},
    opts=inside,
)
kubernetes.apps.v1.Deployment(
    "server",
    metadata=kubernetes.meta.v1.ObjectMetaArgs(name="server", namespace="models"),
    spec=kubernetes.apps.v1.DeploymentSpecArgs(
        replicas=config.require_int("replicas"),
        selector=kubernetes.meta.v1.LabelSelectorArgs(match_labels={"app": "server"}),
        template=kubernetes.core.v1.PodTemplateSpecArgs(
            metadata=kubernetes.meta.v1.ObjectMetaArgs(labels={"app": "server"}),
            spec=kubernetes.core.v1.PodSpecArgs(
                containers=[
                    kubernetes.core.v1.ContainerArgs(
                        name="server",
                        image="registry.example/server:1",
                        env=[
                            kubernetes.core.v1.EnvVarArgs(name="ENDPOINT", value=cluster.endpoint),
                            kubernetes.core.v1.EnvVarArgs(
                                name="NODES", value=cluster.pool.apply(lambda name: f"pool-{name}")
                            ),
                        ],
                    )
                ]
            ),
        ),
    ),
    opts=pulumi.ResourceOptions(
        provider=cluster_provider,
        depends_on=[cluster],
        ignore_changes=["spec.replicas"],
        custom_timeouts=pulumi.CustomTimeouts(create="15m"),
    ),
)
kubernetes.helm.v3.Release(
    "monitoring",
    name="monitoring",
    chart="kube-prometheus-stack",
    version="80.0.0",
    namespace="monitoring",
    values={"grafana": {"adminPassword": password.result, "replicas": 1}},
    opts=inside,
)
random.RandomId(
    "suffix",
    byte_length=4,
    opts=pulumi.ResourceOptions(import_="p-9hUg", aliases=[pulumi.Alias(name="old-suffix")]),
)
network = gcp.compute.Network.get(
    "shared", "projects/example/global/networks/shared", opts=pulumi.ResourceOptions(provider=google)
)
pulumi.log.warn("the token was read", secret)
pulumi.export("endpoint", cluster.endpoint)
pulumi.export("token", config.require_secret("token"))
pulumi.export("replicas", config.require_int("replicas"))
