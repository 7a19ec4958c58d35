"""Prometheus, Alertmanager and Grafana, and what they look at."""

import pulumi
import pulumi_kubernetes as k8s
import pulumi_random as random

import versions
from components import gateway, model_namespace
from components.helm import namespace, release
from monitoring.spend import labels_allowlist

NAMESPACE = "monitoring"
RELEASE = "kube-prometheus-stack"
GRAFANA_SERVICE = f"{RELEASE}-grafana"
GRAFANA_COMMAND = f"kubectl --namespace {NAMESPACE} port-forward service/{GRAFANA_SERVICE} 3000:80"
ADMINISTRATOR = "grafana-administrator"
"""The Secret with Grafana's user name and password."""

PROMETHEUS_URL = f"http://prometheus-operated.{NAMESPACE}:9090"
"""The Service that the operator itself makes: no chart's naming rule changes it."""


class MonitoringStack(pulumi.ComponentResource):
    """kube-prometheus-stack, the definitions of its custom resources, and a PodMonitor for models and for gateways.

    It is outside the mesh, so that KEDA can ask it and a broken mesh does not blind it. Nothing of it is reachable from
    outside the cluster: Grafana is opened with `kubectl port-forward`. It watches no control plane: GKE hides that.
    """

    prometheus_url: str
    """Prometheus inside the cluster."""
    ready: pulumi.Resource
    """The stack, with the webhook that looks at every rule."""

    def __init__(
        self,
        name: str,
        *,
        docker_hub: str,
        models_ready: pulumi.Resource,
        gateway_ready: pulumi.Resource,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Install the stack and watch the models' and the gateway's pods.

        `docker_hub` is where the cluster gets the images of docker.io from.
        """
        super().__init__("llmserve:index:MonitoringStack", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        own = namespace(f"{name}-namespace", NAMESPACE, child)
        password = random.RandomPassword(f"{name}-grafana-password", length=32, special=False, opts=child)
        administrator = k8s.core.v1.Secret(
            f"{name}-grafana-administrator",
            metadata=k8s.meta.v1.ObjectMetaArgs(name=ADMINISTRATOR, namespace=NAMESPACE),
            string_data={"username": "admin", "password": password.result},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[own]),
        )
        # Helm never upgrades what a chart keeps in its crds/ folder; in a release of their own they follow the version.
        definitions = release(
            f"{name}-definitions",
            versions.PROMETHEUS_OPERATOR_CRDS,
            release_name="prometheus-operator-crds",
            namespace=NAMESPACE,
            values={},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[own]),
        )
        installed = release(
            f"{name}-release",
            versions.KUBE_PROMETHEUS_STACK,
            release_name=RELEASE,
            namespace=NAMESPACE,
            values=_values(docker_hub),
            skip_crds=True,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[definitions, administrator]),
        )
        for watched, labels, ready in (
            (model_namespace.NAMESPACE, model_namespace.SERVER_LABELS, models_ready),
            (gateway.NAMESPACE, {"istio": gateway.RELEASE.removeprefix("istio-")}, gateway_ready),
        ):
            k8s.apiextensions.CustomResource(
                f"{name}-pods-{watched}",
                api_version="monitoring.coreos.com/v1",
                kind="PodMonitor",
                metadata=k8s.meta.v1.ObjectMetaArgs(name="merged-metrics", namespace=watched),
                spec=_pod_monitor(watched, labels),
                opts=pulumi.ResourceOptions(parent=self, depends_on=[definitions, ready]),
            )
        self.prometheus_url, self.ready = PROMETHEUS_URL, installed
        self.register_outputs({"prometheusUrl": self.prometheus_url})


def _pod_monitor(watched: str, labels: dict[str, str]) -> dict[str, object]:
    """Scrape each pod once, at its sidecar. No container declares the agent's port, so Envoy's stands in for it."""
    return {
        "selector": {"matchLabels": labels},
        "namespaceSelector": {"matchNames": [watched]},
        "podTargetLabels": ["app", "version"],
        "podMetricsEndpoints": [
            {
                "port": "http-envoy-prom",
                "path": "/stats/prometheus",
                "interval": "15s",
                "relabelings": [
                    {
                        "sourceLabels": ["__meta_kubernetes_pod_ip"],
                        "targetLabel": "__address__",
                        "replacement": f"$1:{model_namespace.MERGED_METRICS_PORT}",
                    }
                ],
                # A thousand series of each TGI pod that nothing reads.
                "metricRelabelings": [
                    {"action": "drop", "sourceLabels": ["__name__"], "regex": "tgi_batch_next_size_bucket"}
                ],
            }
        ],
    }


def _values(docker_hub: str) -> dict[str, object]:
    def claim(size: str) -> dict[str, object]:
        return {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}}

    hidden_by_gke = ("kubeControllerManager", "kubeScheduler", "kubeEtcd", "kubeProxy", "coreDns")
    monitors_and_rules = ("serviceMonitor", "podMonitor", "rule", "probe", "scrapeConfig")
    return {
        **{part: {"enabled": False} for part in hidden_by_gke},
        "defaultRules": {
            # They ask whether the cluster could lose its largest node, which is a GPU node that comes and goes.
            "disabled": {"KubeCPUOvercommit": True, "KubeMemoryOvercommit": True},
            # A model that loads for a quarter of an hour, or waits for a GPU, is not broken.
            "appNamespacesOperator": "!~",
            "appNamespacesTarget": model_namespace.NAMESPACE,
        },
        "prometheus": {
            "prometheusSpec": {
                # Every monitor and rule in the cluster, not only those labelled as this release's.
                **{f"{kind}SelectorNilUsesHelmValues": False for kind in monitors_and_rules},
                "retention": "15d",
                # 90 % of the volume: the head block and compaction come on top.
                "retentionSize": "45GB",
                "storageSpec": {"volumeClaimTemplate": claim("50Gi")},
                "resources": _requests("500m", "2Gi"),
            }
        },
        "alertmanager": {
            "alertmanagerSpec": {
                "storage": {"volumeClaimTemplate": claim("2Gi")},
                "resources": _requests("10m", "64Mi"),
            }
        },
        "grafana": {
            # The one image of the stack that is on Docker Hub.
            "image": {"registry": docker_hub},
            # Without it the chart draws a new password at every update.
            "admin": {"existingSecret": ADMINISTRATOR, "userKey": "username", "passwordKey": "password"},
            # Its sidecar reads Secrets wherever it looks for dashboards: so here alone.
            "rbac": {"namespaced": True},
            "sidecar": {
                "dashboards": {"searchNamespace": NAMESPACE},
                "datasources": {"searchNamespace": NAMESPACE},
                "resources": _requests("10m", "96Mi"),
            },
            "resources": _requests("50m", "256Mi"),
            "testFramework": {"enabled": False},
        },
        "prometheusOperator": {
            "resources": _requests("50m", "128Mi"),
            "prometheusConfigReloader": {"resources": _requests("10m", "32Mi")},
        },
        "kube-state-metrics": {
            "collectorsExclude": ["secrets"],
            # By default it tells no label of nodes and pods.
            "metricLabelsAllowlist": labels_allowlist(),
            "resources": _requests("10m", "64Mi"),
        },
        "prometheus-node-exporter": {"resources": _requests("20m", "32Mi")},
    }


def _requests(cpu: str, memory: str) -> dict[str, object]:
    """What the autoscaler counts with: the chart's pods ask for nothing, and would crowd a node that looks empty."""
    return {"requests": {"cpu": cpu, "memory": memory}}
