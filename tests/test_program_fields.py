"""Fields whose loss nothing else would show: each was taken away or changed once, and no other test noticed."""

import json
from typing import Any

import pulumi_gcp as gcp
import pytest
import yaml

from monitoring.queries import GATEWAY, MODELS_NAMESPACE
from preview import Snapshot
from tests.recording import Record
from tests.test_program import DEPLOYMENT, POOL, SCALED_OBJECT, environment, gpu_pools, pods, spec
from tests.test_structure import everything_before

ROUTES = "kubernetes:networking.istio.io/v1:VirtualService"
RULES = "kubernetes:networking.istio.io/v1:DestinationRule"


# Network and cluster


def test_the_webhook_rule_lets_in_and_the_subnet_reaches_google_without_the_nat(program: Snapshot) -> None:
    assert program.named("network-webhooks").inputs["direction"] == "INGRESS"
    assert program.named("network-nodes").inputs["privateIpGoogleAccess"] is True
    assert program.named("network-vpc").inputs["autoCreateSubnetworks"] is False


def test_the_nat_has_ports_for_a_download_over_many_connections(program: Snapshot) -> None:
    nat = program.named("network-nat").inputs
    assert nat["enableDynamicPortAllocation"] is True
    for ports in (nat["minPortsPerVm"], nat["maxPortsPerVm"]):
        assert ports >= 64
        assert ports & (ports - 1) == 0, "Google takes powers of two only"


def test_the_cluster_waits_for_the_rights_of_its_nodes(program: Snapshot) -> None:
    before = everything_before(program, program.named("cluster-control-plane").urn)
    assert {"cluster-nodes-role", "cluster-nodes-pull-images-own"} <= before


def test_the_first_pool_is_removed_and_never_compared(program: Snapshot) -> None:
    cluster = program.named("cluster-control-plane")
    assert cluster.inputs["removeDefaultNodePool"] is True
    assert {"initialNodeCount", "nodeConfig", "nodePools"} <= set(cluster.options["ignoreChanges"])


def test_all_nodes_run_as_one_account_under_one_tag(record: Record) -> None:
    program = record("prod", up=True)
    first = program.named("cluster-control-plane").inputs["nodeConfig"]
    assert first["serviceAccount"] == program.named("cluster-nodes").outputs["email"]
    for pool in program.of_type(POOL):
        node = pool.inputs["nodeConfig"]
        for key in ("serviceAccount", "oauthScopes", "tags"):
            assert node[key] == first[key], (pool.name, key)
        # The driver's installer is part of this image alone.
        assert node["imageType"] == "COS_CONTAINERD", pool.name
        assert pool.inputs["location"] == program.named("cluster-control-plane").inputs["location"], pool.name
        assert pool.inputs["management"] == {"autoRepair": True, "autoUpgrade": True}, pool.name


def test_no_pool_is_made_behind_pulumi_and_the_control_plane_has_a_range(program: Snapshot) -> None:
    cluster = program.named("cluster-control-plane").inputs
    assert cluster["clusterAutoscaling"] == {"enabled": False, "autoscalingProfile": "OPTIMIZE_UTILIZATION"}
    assert cluster["controlPlaneEndpointsConfig"]["ipEndpointsConfig"] == {"enabled": True}
    # An empty list is sent as none, which some clusters refuse.
    assert cluster["monitoringConfig"]["enableComponents"] == ["SYSTEM_COMPONENTS"]
    for compute_class in (r for r in program.resources if r.name.startswith("compute-class-")):
        assert spec(compute_class)["nodePoolAutoCreation"] == {"enabled": False}
        assert spec(compute_class)["whenUnsatisfiable"] == "DoNotScaleUp"


def test_no_kubelet_has_an_open_port(program: Snapshot) -> None:
    """The system pool takes it from the cluster's defaults."""
    defaults = program.named("cluster-control-plane").inputs["nodePoolDefaults"]["nodeConfigDefaults"]
    assert defaults["insecureKubeletReadonlyPortEnabled"] == "FALSE"
    for pool in gpu_pools(program):
        assert pool.inputs["nodeConfig"]["kubeletConfig"]["insecureKubeletReadonlyPortEnabled"] == "FALSE", pool.name


def test_an_ordinary_pod_has_most_of_a_spot_nodes_notice(program: Snapshot) -> None:
    for pool in gpu_pools(program):
        kubelet = pool.inputs["nodeConfig"]["kubeletConfig"]
        if pool.inputs["nodeConfig"]["spot"]:
            assert kubelet["shutdownGracePeriodCriticalPodsSeconds"] == 15, pool.name


def test_what_gke_writes_on_a_pool_is_no_difference(program: Snapshot) -> None:
    for pool in gpu_pools(program):
        assert "nodeConfig.resourceLabels" in pool.options["ignoreChanges"], pool.name


def test_all_that_can_bear_a_label_says_which_platform_it_belongs_to(record: Record) -> None:
    """Nodes take it from their cluster: GKE passes a cluster's labels on to their VMs and disks."""
    program = record("prod", config={"weightsFrom": "bucket"})
    providers = {r.urn: r.inputs.get("defaultLabels") for r in program.resources if r.is_provider}
    labelled = set()
    for resource in program.resources:
        if not resource.type.startswith("gcp:"):
            continue
        module, _, name = resource.type.removeprefix("gcp:").replace(":", "/").split("/")
        # What has these labels takes the provider's into its own.
        if hasattr(getattr(getattr(gcp, module), name), "effective_labels"):
            default = providers[resource.provider.rpartition("::")[0]]
            assert default in ({"platform": "llmserve-prod"}, '{"platform": "llmserve-prod"}'), resource.name
            assert "platform" not in resource.inputs.get("labels", {}), resource.name
            labelled.add(resource.type)
    assert {"gcp:container/cluster:Cluster", "gcp:storage/bucket:Bucket", "gcp:compute/address:Address"} <= labelled
    for pool in program.of_type(POOL):
        assert "resourceLabels" not in pool.inputs["nodeConfig"], pool.name


def test_costs_are_allocated_by_the_labels_of_pods(program: Snapshot) -> None:
    assert program.named("cluster-control-plane").inputs["costManagementConfig"] == {"enabled": True}
    for name, pod in pods(program).items():
        labels = pod["metadata"]["labels"]
        assert name.removesuffix("-floor") == f"{labels['app']}-{labels['version']}"


def test_kubectl_and_pulumi_go_as_the_same_caller(record: Record) -> None:
    [user] = json.loads(record("prod", placeholders=True).named("kubernetes").inputs["kubeconfig"])["users"]
    plugin = user["user"]["exec"]
    assert plugin["apiVersion"] == "client.authentication.k8s.io/v1beta1"
    assert plugin["args"] == ["--use_application_default_credentials"]
    assert plugin["provideClusterInfo"] is True


# The driver, field by field as in Google's manifest

DRIVER_PATHS = {
    "dev": "/dev",
    "vulkan-icd-mount": "/home/kubernetes/bin/nvidia/vulkan/icd.d",
    "nvidia-install-dir-host": "/home/kubernetes/bin/nvidia",
    "root-mount": "/",
    "cos-tools": "/var/lib/cos-tools",
    "nvidia-config": "/etc/nvidia",
}


def test_the_driver_daemonset_is_googles(program: Snapshot) -> None:
    daemonset = spec(program.named("gpu-driver-installer"))
    template = daemonset["template"]
    pod = template["spec"]
    assert daemonset["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert {v["name"]: v["hostPath"]["path"] for v in pod["volumes"]} == DRIVER_PATHS
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert (pod["hostNetwork"], pod["hostPID"], pod["priorityClassName"]) == (True, True, "system-node-critical")
    installer, partition = pod["initContainers"]
    assert installer["imagePullPolicy"] == "Never"
    assert installer["command"][-1].startswith("if lsmod | grep -q nvidia; then exit 0; fi; /cos-gpu-installer install")
    assert all(container["securityContext"] == {"privileged": True} for container in (installer, partition))
    mounts = {m["mountPath"]: m["name"] for m in installer["volumeMounts"]}
    for variable in installer["env"]:
        if variable["name"].endswith("_HOST"):
            inside = {v["name"]: v["value"] for v in installer["env"]}[variable["name"].replace("_HOST", "_CONTAINER")]
            assert DRIVER_PATHS[mounts[inside]] == variable["value"], variable["name"]
    assert mounts["/root"] == "root-mount"
    assert {v["name"]: v["value"] for v in installer["env"]}["ROOT_MOUNT_DIR"] == "/root"


def test_an_update_waits_for_no_gpu_node(program: Snapshot) -> None:
    assert program.named("gpu-driver-installer").inputs["metadata"]["annotations"]["pulumi.com/skipAwait"] == "true"


# Mesh and gateway


def test_there_are_two_of_what_every_request_or_pod_needs(program: Snapshot) -> None:
    assert program.named("mesh-istiod").inputs["values"]["autoscaleMin"] == 2
    gateway = program.named("gateway-release").inputs["values"]
    assert gateway["autoscaling"]["minReplicas"] == 2
    assert gateway["podDisruptionBudget"] == {"maxUnavailable": 1}
    assert gateway["resources"]["requests"]["cpu"] == "500m"
    assert [(p["port"], p["targetPort"]) for p in gateway["service"]["ports"]] == [(15021, 15021), (80, 80)]


def test_a_release_comes_after_what_it_cannot_start_without(program: Snapshot) -> None:
    for later, earlier in (
        ("mesh-istiod", "mesh-base"),
        ("gateway-release", "mesh-istiod"),
        ("gateway-listener", "gateway-release"),
        ("monitoring-release", "monitoring-definitions"),
        ("monitoring-release", "monitoring-grafana-administrator"),
    ):
        assert earlier in everything_before(program, program.named(later).urn), later


def test_no_release_brings_definitions_that_another_one_upgrades(program: Snapshot) -> None:
    assert program.named("monitoring-release").inputs["skipCrds"] is True


def test_models_are_in_the_mesh_and_closed(program: Snapshot) -> None:
    assert program.named("model-namespace-namespace").inputs["metadata"]["labels"] == {"istio-injection": "enabled"}
    assert spec(program.named("model-namespace-gateway-only"))["action"] == "ALLOW"
    policy = spec(program.named("model-namespace-callers"))
    # Weights come from the internet: nothing is said about what goes out.
    assert policy["policyTypes"] == ["Ingress"]
    [_, monitoring] = policy["ingress"]
    [monitor] = spec(program.named("monitoring-pods-models"))["podMetricsEndpoints"]
    assert monitor["relabelings"][0]["replacement"] == f"$1:{monitoring['ports'][0]['port']}"


def test_a_host_that_fails_is_left_alone_for_a_while_and_zones_do_not_matter(program: Snapshot) -> None:
    for rule in program.of_type(RULES):
        policy = spec(rule)["trafficPolicy"]
        assert policy["outlierDetection"] == {
            "splitExternalLocalOriginErrors": True,
            "consecutiveLocalOriginFailures": 2,
            "consecutiveGatewayErrors": 2,
            "consecutive5xxErrors": 0,
            "interval": "5s",
            "baseEjectionTime": "30s",
            "maxEjectionPercent": 50,
        }
        assert policy["loadBalancer"]["localityLbSetting"] == {"enabled": False}
        assert policy["connectionPool"] == {"http": {"h2UpgradePolicy": "DO_NOT_UPGRADE"}}


def test_a_route_ends_at_a_port_of_its_service_and_that_at_the_engine(program: Snapshot) -> None:
    services = {s.inputs["metadata"]["name"]: spec(s) for s in program.of_type("kubernetes:core/v1:Service")}
    for routes in program.of_type(ROUTES):
        assert spec(routes)["http"][-1]["retries"]["attempts"] == 2
        for route in spec(routes)["http"][-1]["route"]:
            [port] = services[route["destination"]["host"].split(".")[0]]["ports"]
            assert route["destination"]["port"] == {"number": port["port"]}
            # Istio reads the protocol here, or guesses.
            assert (port["name"], port["appProtocol"]) == ("http", "http")
            for pod in pods(program).values():
                assert port["targetPort"] in {p["name"] for p in pod["spec"]["containers"][0]["ports"]}


# Model pods


def effects_tolerated(taint: dict[str, Any], pod: dict[str, Any]) -> bool:
    effect = {"NO_SCHEDULE": "NoSchedule"}[taint["effect"]]
    return any(
        t.get("key") == taint["key"] and t.get("value", taint["value"]) == taint["value"] and t.get("effect") == effect
        for t in pod["spec"]["tolerations"]
    )


def test_pods_tolerate_their_taints_with_the_taints_own_effect(program: Snapshot) -> None:
    for name, pod in pods(program).items():
        [(key, machine)] = pod["spec"]["nodeSelector"].items()
        for pool in gpu_pools(program):
            if pool.inputs["nodeConfig"]["labels"].get(key) == machine:
                assert all(effects_tolerated(taint, pod) for taint in pool.inputs["nodeConfig"]["taints"]), name


def test_a_busy_engine_is_neither_restarted_nor_left_out_at_once(program: Snapshot) -> None:
    for name, pod in pods(program).items():
        container = pod["spec"]["containers"][0]
        readiness, liveness = container["readinessProbe"], container["livenessProbe"]
        assert readiness["httpGet"] == liveness["httpGet"] == {"path": "/health", "port": "http"}, name
        assert min(readiness["timeoutSeconds"], liveness["timeoutSeconds"]) >= 10, name
        assert liveness["periodSeconds"] * liveness["failureThreshold"] >= 300, name
        assert readiness["failureThreshold"] >= 3, name


def test_a_start_may_take_as_long_as_the_model_says(program: Snapshot) -> None:
    minutes = {
        "arr-coc-0-1-stable": 30,
        "llama-3-3-70b-stable": 30,
        "llama-3-3-70b-stable-floor": 30,
        "llama-3-3-70b-canary": 30,
        "qwen2-5-7b-stable": 15,
    }
    for name, pod in pods(program).items():
        probe = pod["spec"]["containers"][0]["startupProbe"]
        assert probe["periodSeconds"] * probe["failureThreshold"] == minutes[name] * 60, name


def test_priming_waits_for_the_first_generation_and_sees_its_failure(prod: Snapshot) -> None:
    probe = pods(prod)["llama-3-3-70b-stable"]["spec"]["containers"][0]["startupProbe"]
    assert "--fail" in probe["exec"]["command"]
    assert probe["timeoutSeconds"] >= 60


def test_weights_have_a_cache_within_the_pods_share_of_the_disk(prod: Snapshot) -> None:
    pod = pods(prod)["llama-3-3-70b-stable"]["spec"]
    [cache] = [v for v in pod["volumes"] if v["name"] == "model-cache"]
    limits = pod["containers"][0]["resources"]["limits"]
    assert cache["emptyDir"]["sizeLimit"] == limits["ephemeral-storage"]
    assert {m["mountPath"]: m["name"] for m in pod["containers"][0]["volumeMounts"]}["/data"] == "model-cache"
    assert limits.keys() == {"memory", "ephemeral-storage", "nvidia.com/gpu"}


def test_tgi_is_root_without_rights_and_calls_nobody(prod: Snapshot) -> None:
    pod = pods(prod)["llama-3-3-70b-stable"]
    security = pod["spec"]["containers"][0]["securityContext"]
    assert (security["runAsUser"], security["seccompProfile"]) == (0, {"type": "RuntimeDefault"})
    assert environment(pod)["USAGE_STATS"] == "off"


def test_a_pod_has_its_models_account_spreads_if_it_can_and_downloads_past_the_sidecar(program: Snapshot) -> None:
    accounts = {a.inputs["metadata"]["name"] for a in program.of_type("kubernetes:core/v1:ServiceAccount")}
    for name, pod in pods(program).items():
        assert pod["spec"]["serviceAccountName"] == pod["metadata"]["labels"]["app"], name
        assert pod["spec"]["serviceAccountName"] in accounts
        # The autoscaler does not understand DoNotSchedule.
        assert {c["whenUnsatisfiable"] for c in pod["spec"]["topologySpreadConstraints"]} == {"ScheduleAnyway"}, name
        assert pod["metadata"]["annotations"]["traffic.sidecar.istio.io/excludeOutboundPorts"] == "443", name


def test_a_rollout_never_has_fewer_replicas_than_before(program: Snapshot) -> None:
    for deployment in program.of_type(DEPLOYMENT):
        assert spec(deployment)["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
        assert spec(deployment)["progressDeadlineSeconds"] > 15 * 60


@pytest.mark.parametrize(("model", "name"), [(0, "arr-coc-0-1-stable"), (1, "llama-3-3-70b-stable")])
def test_the_engine_listens_where_everybody_asks(record: Record, model: int, name: str) -> None:
    pod = pods(record("prod", paths={f"models[{model}].port": "8123"}))[name]
    container = pod["spec"]["containers"][0]
    assert environment(pod)["PORT"] == "8123"
    assert container["ports"] == [{"containerPort": 8123, "name": "http"}]
    assert pod["metadata"]["annotations"]["prometheus.io/port"] == "8123"
    assert "8123" in json.dumps(container["startupProbe"]) or container["startupProbe"]["httpGet"]["port"] == "http"


# The order on the way up and down


def test_a_model_comes_after_all_of_the_platform(program: Snapshot) -> None:
    wanted = {"gpu-driver-installer", "gateway-listener", "model-namespace-namespace", "monitoring-release"}
    wanted |= {"autoscaling-release"} | {r.name for r in program.resources if r.name.startswith("compute-class-")}
    wanted |= {r.name for r in program.resources if r.name == "hugging-face-token-sync"}
    for deployment in program.of_type(DEPLOYMENT):
        assert wanted <= everything_before(program, deployment.urn), deployment.name
    for scaled in program.of_type(SCALED_OBJECT):
        target = spec(scaled)["scaleTargetRef"]["name"]
        assert target in everything_before(program, scaled.urn), "KEDA lets go before its target does"


# Scaling


def test_scaling_is_slow_to_buy_and_slower_to_give_away(program: Snapshot) -> None:
    for scaled in program.of_type(SCALED_OBJECT):
        made = spec(scaled)
        assert made["pollingInterval"] == 15
        behavior = made["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        assert behavior["scaleUp"]["policies"] == [{"type": "Pods", "value": 2, "periodSeconds": 60}]
        assert behavior["scaleDown"]["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 60}]
        probe = pods(program)[made["scaleTargetRef"]["name"]]["spec"]["containers"][0]["startupProbe"]
        start = probe["periodSeconds"] * probe["failureThreshold"]
        assert behavior["scaleDown"]["stabilizationWindowSeconds"] == min(start, 3600)


def test_a_blind_autoscaler_changes_nothing(program: Snapshot) -> None:
    """Without a fallback KEDA and the HPA keep what there is while the trigger fails; an active one would wake.

    A poll that KEDA drops without an error counts as activity: it does so only where there are replicas.
    """
    made = program.of_type(SCALED_OBJECT)
    assert made
    for scaled in made:
        assert "fallback" not in spec(scaled)
        [trigger] = spec(scaled)["triggers"]
        assert spec(scaled)["advanced"]["scalingModifiers"]["formula"] == f"{trigger['name']} ?? 1"


def test_prometheus_is_scraped_as_often_as_keda_asks(program: Snapshot) -> None:
    for name in ("monitoring-pods-models", "monitoring-pods-istio-ingress"):
        made = spec(program.named(name))
        [endpoint] = made["podMetricsEndpoints"]
        assert endpoint["interval"] == "15s"
        assert made["podTargetLabels"] == ["app", "version"], "rules and triggers select by them"
        assert endpoint["metricRelabelings"] == [
            {"action": "drop", "sourceLabels": ["__name__"], "regex": "tgi_batch_next_size_bucket"}
        ]


def test_queries_name_the_gateway_and_the_namespace_that_are_made(prod: Snapshot) -> None:
    release = prod.named("gateway-release").inputs
    assert f'source_workload="{release["name"]}",source_workload_namespace="{release["namespace"]}"' in GATEWAY
    assert prod.named("model-namespace-namespace").inputs["metadata"]["name"] == MODELS_NAMESPACE


# Monitoring


def test_grafanas_password_is_long_and_under_the_keys_that_the_chart_reads(record: Record) -> None:
    program = record("prod", up=True)
    drawn = program.named("monitoring-grafana-password").inputs
    assert drawn["length"] >= 32
    assert drawn["special"] is False
    admin = program.named("monitoring-release").inputs["values"]["grafana"]["admin"]
    data = program.named("monitoring-grafana-administrator").inputs["stringData"]
    assert set(getattr(data, "value", data)) == {admin["userKey"], admin["passwordKey"]}


def test_prometheus_keeps_less_than_its_volume_holds(program: Snapshot) -> None:
    prometheus = program.named("monitoring-release").inputs["values"]["prometheus"]["prometheusSpec"]
    claim = prometheus["storageSpec"]["volumeClaimTemplate"]["spec"]["resources"]["requests"]["storage"]
    kept = int(prometheus["retentionSize"].removesuffix("GB")) * 10**9
    assert kept <= 0.9 * int(claim.removesuffix("Gi")) * 2**30
    assert prometheus["resources"]["requests"]


def test_keda_is_there_twice(program: Snapshot) -> None:
    values = program.named("autoscaling-release").inputs["values"]
    assert [values[part]["replicaCount"] for part in ("operator", "metricsServer", "webhooks")] == [2, 2, 2]


def test_no_chart_reads_the_secrets_of_the_models(program: Snapshot) -> None:
    keda = program.named("autoscaling-release").inputs["values"]["permissions"]
    assert all(keda[part]["restrict"]["secret"] is True for part in ("operator", "metricServer"))
    stack = program.named("monitoring-release").inputs["values"]
    assert stack["grafana"]["rbac"] == {"namespaced": True}
    assert stack["kube-state-metrics"]["collectorsExclude"] == ["secrets"]
    dashboards = program.named("models-dashboard").inputs["metadata"]["namespace"]
    assert stack["grafana"]["sidecar"]["dashboards"]["searchNamespace"] == dashboards == "monitoring"


def test_a_spot_node_is_no_backend_of_the_load_balancer(program: Snapshot) -> None:
    for pool in gpu_pools(program):
        label = "node.kubernetes.io/exclude-from-external-load-balancers"
        assert pool.inputs["nodeConfig"]["labels"][label] == "true", pool.name


def test_a_grant_to_a_pod_waits_for_the_clusters_identity_pool(prod: Snapshot) -> None:
    assert "cluster-control-plane" in everything_before(prod, prod.named("hugging-face-token-access").urn)


def test_nodes_wait_for_the_way_out_and_the_way_to_webhooks(program: Snapshot) -> None:
    assert {"network-nat", "network-webhooks"} <= everything_before(program, program.named("cluster-system").urn)


def test_an_upgrade_of_any_pool_can_go_on(program: Snapshot) -> None:
    for pool in program.of_type(POOL):
        assert max(pool.inputs["upgradeSettings"].values()) > 0, pool.name


def test_every_pods_disk_is_on_its_node(program: Snapshot) -> None:
    for name, pod in pods(program).items():
        asked = int(pod["spec"]["containers"][0]["resources"]["requests"]["ephemeral-storage"].removesuffix("Gi"))
        [machine] = pod["spec"]["nodeSelector"].values()
        node = program.named(f"{machine}-spot", POOL).inputs["nodeConfig"]
        disks = node.get("ephemeralStorageLocalSsdConfig", {}).get("localSsdCount", 0)
        assert asked < (disks * 375 if disks else node["diskSizeGb"]) * 0.8, name


def test_a_model_comes_after_what_closes_its_namespace(program: Snapshot) -> None:
    closing = {"model-namespace-callers", "model-namespace-gateway-only", "mesh-mutual-tls"}
    for deployment in program.of_type(DEPLOYMENT):
        assert closing <= everything_before(program, deployment.urn)


# The token


def test_the_token_is_read_by_its_own_account_and_only_after_that_may(prod: Snapshot) -> None:
    sync = prod.named("hugging-face-token-sync")
    reader = prod.named("hugging-face-token-reader").inputs
    assert spec(sync)["serviceAccountName"] == reader["metadata"]["name"]
    assert reader["automountServiceAccountToken"] is False
    source = prod.named("hugging-face-token-source")
    assert spec(sync)["secretProviderClassName"] == source.inputs["metadata"]["name"]
    assert spec(source)["provider"] == "gke"
    [secret] = yaml.safe_load(spec(source)["parameters"]["secrets"])
    assert secret == {
        "resourceName": "projects/example-project/secrets/hugging-face-token/versions/latest",
        "path": spec(sync)["secretObject"]["data"][0]["sourcePath"],
    }
    assert spec(sync)["secretObject"]["type"] == "Opaque"
    before = everything_before(prod, sync.urn)
    assert {"hugging-face-token-access", "hugging-face-token-source", "hugging-face-token-reader"} <= before


# Images


def test_docker_hub_has_another_address_than_name(record: Record) -> None:
    program = record("prod", paths={"models[0].image": "docker.io/ours/engine:1"})
    remote = program.named("images-docker-io").inputs
    assert remote["remoteRepositoryConfig"]["commonRepository"] == {"uri": "https://registry-1.docker.io"}
    assert remote["location"] == program.named("images-own").inputs["location"] == "us-east5"
