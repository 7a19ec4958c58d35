"""What the stacks make: the recorded resources of the real program, part by part."""

import ipaddress
import json
import re
from typing import Any

import pytest

from monitoring.scaling import ASKED, HELD, LOAD, WANTED
from planning.cold_start import DRIVER, IMAGE, NODE
from planning.recording_rules import look_back_seconds, rests_on
from preview import Refused, Resource, Snapshot
from preview.values import plain
from tests.recording import PROJECT_NUMBER, Record, rule_in, rules_in

POOL = "gcp:container/nodePool:NodePool"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
SCALED_OBJECT = "kubernetes:keda.sh/v1alpha1:ScaledObject"


def spec(resource: Resource) -> dict[str, Any]:
    return dict(resource.inputs["spec"])


def gpu_pools(program: Snapshot) -> list[Resource]:
    return [pool for pool in program.of_type(POOL) if "guestAccelerators" in pool.inputs["nodeConfig"]]


def pods(program: Snapshot) -> dict[str, dict[str, Any]]:
    """The pod of every Deployment, by the Deployment's name."""
    return {d.inputs["metadata"]["name"]: spec(d)["template"] for d in program.of_type(DEPLOYMENT)}


def tolerated(taint: dict[str, Any], pod: dict[str, Any]) -> bool:
    return any(
        toleration.get("key") in {taint["key"], None}
        and (toleration["operator"] == "Exists" or toleration.get("value") == taint["value"])
        for toleration in pod["spec"]["tolerations"]
    )


def environment(pod: dict[str, Any]) -> dict[str, Any]:
    return {v["name"]: v.get("value", v.get("valueFrom")) for v in pod["spec"]["containers"][0]["env"]}


# Network


def test_the_control_plane_reaches_every_webhook(program: Snapshot) -> None:
    rule = program.named("network-webhooks").inputs
    nodes = [pool.inputs["nodeConfig"]["tags"] for pool in program.of_type(POOL)]
    assert rule["allows"] == [{"protocol": "tcp", "ports": ["15017", "9443", "6443"]}]
    assert rule["sourceRanges"] == [
        program.named("cluster-control-plane").inputs["privateClusterConfig"]["masterIpv4CidrBlock"]
    ]
    assert all(rule["targetTags"] == tags for tags in nodes)


def test_nothing_is_let_in_from_the_internet(program: Snapshot) -> None:
    for rule in program.of_type("gcp:compute/firewall:Firewall"):
        assert all(ipaddress.ip_network(source).is_private for source in rule.inputs["sourceRanges"]), rule.name


def test_pods_and_services_have_ranges_of_their_own(program: Snapshot) -> None:
    ranges = {r["rangeName"] for r in program.named("network-nodes").inputs["secondaryIpRanges"]}
    used = program.named("cluster-control-plane").inputs["ipAllocationPolicy"]
    assert ranges == {used["clusterSecondaryRangeName"], used["servicesSecondaryRangeName"]}


def test_private_nodes_reach_the_internet_by_nat(program: Snapshot) -> None:
    nat = program.named("network-nat").inputs
    assert nat["sourceSubnetworkIpRangesToNat"] == "ALL_SUBNETWORKS_ALL_IP_RANGES"
    assert nat["region"] == program.named("cluster-control-plane").inputs["location"]


# Cluster


def test_the_cluster_is_private_regional_and_reached_by_identity_alone(program: Snapshot) -> None:
    cluster = program.named("cluster-control-plane").inputs
    assert cluster["location"].count("-") == 1
    assert cluster["privateClusterConfig"]["enablePrivateNodes"] is True
    assert cluster["privateClusterConfig"]["enablePrivateEndpoint"] is True
    assert cluster["masterAuthorizedNetworksConfig"] == {"cidrBlocks": [], "gcpPublicCidrsAccessEnabled": False}
    assert cluster["controlPlaneEndpointsConfig"]["dnsEndpointConfig"]["allowExternalTraffic"] is True
    assert cluster["masterAuth"]["clientCertificateConfig"]["issueClientCertificate"] is False
    assert cluster["enableLegacyAbac"] is False


def test_the_cluster_has_what_the_rest_builds_on(program: Snapshot) -> None:
    cluster = program.named("cluster-control-plane").inputs
    assert cluster["workloadIdentityConfig"]["workloadPool"] == "example-project.svc.id.goog"
    assert cluster["datapathProvider"] == "ADVANCED_DATAPATH"
    assert cluster["releaseChannel"]["channel"] == "REGULAR"
    assert cluster["enableShieldedNodes"] is True
    assert cluster["secretSyncConfig"]["enabled"] is True
    assert cluster["nodePoolDefaults"]["nodeConfigDefaults"]["gcfsConfig"]["enabled"] is True
    assert cluster["monitoringConfig"]["managedPrometheus"]["enabled"] is False


def test_nodes_run_as_an_account_that_may_log_measure_and_pull_and_nothing_else(program: Snapshot) -> None:
    projects = program.of_type("gcp:projects/iAMMember:IAMMember")
    repositories = program.of_type("gcp:artifactregistry/repositoryIamMember:RepositoryIamMember")
    assert [grant.inputs["role"] for grant in projects] == ["roles/container.defaultNodeServiceAccount"]
    assert {grant.inputs["role"] for grant in repositories} == {"roles/artifactregistry.reader"}
    made = program.of_type("gcp:artifactregistry/repository:Repository")
    assert len(repositories) == len(made)


def test_every_node_is_shielded_keyless_and_without_a_readable_kubelet(program: Snapshot) -> None:
    for pool in program.of_type(POOL):
        node = pool.inputs["nodeConfig"]
        assert node["shieldedInstanceConfig"] == {"enableSecureBoot": True, "enableIntegrityMonitoring": True}, (
            pool.name
        )
        assert node["workloadMetadataConfig"]["mode"] == "GKE_METADATA", pool.name
        assert node["gcfsConfig"]["enabled"] is True, pool.name


def test_the_kubeconfig_holds_no_secret_and_asks_google_who_you_are(record: Record) -> None:
    provider = record("prod", placeholders=True).named("kubernetes")
    kubeconfig = json.loads(provider.inputs["kubeconfig"])
    [cluster], [user] = kubeconfig["clusters"], kubeconfig["users"]
    assert cluster["cluster"] == {
        "server": "https://⟦Cluster/cluster-control-plane.controlPlaneEndpointsConfig.dnsEndpointConfig.endpoint⟧"
    }
    assert set(user["user"]) == {"exec"}
    assert user["user"]["exec"]["command"] == "gke-gcloud-auth-plugin"


def test_the_provider_knows_its_cluster_by_name_and_generation(prod: Snapshot) -> None:
    assert prod.named("kubernetes").inputs["clusterIdentifier"] == "example-project/us-east5/llmserve-prod#1"


def test_the_cluster_outlives_everything_in_it(program: Snapshot) -> None:
    """Deleting nodes first would leave load balancers and disks that nobody deletes."""
    assert program.named("cluster-system").urn in program.named("kubernetes").dependencies


def test_protection_is_googles_and_pulumis(prod: Snapshot, dev: Snapshot) -> None:
    for program, protected in ((prod, True), (dev, False)):
        cluster = program.named("cluster-control-plane")
        assert cluster.inputs["deletionProtection"] is protected
        assert cluster.options["protect"] is protected


# GPU nodes


def test_gpu_pools_start_from_nothing_and_take_a_gpu_wherever_there_is_one(program: Snapshot) -> None:
    for pool in gpu_pools(program):
        scaling = pool.inputs["autoscaling"]
        assert scaling["totalMinNodeCount"] == pool.inputs["initialNodeCount"] == 0, pool.name
        assert scaling["totalMaxNodeCount"] > 0, pool.name
        assert scaling["locationPolicy"] == "ANY", pool.name
        assert pool.inputs["upgradeSettings"] == {"maxSurge": 0, "maxUnavailable": 1}, pool.name


def test_every_machine_can_be_had_as_spot_and_on_demand(program: Snapshot) -> None:
    kinds: dict[str, set[bool]] = {}
    for pool in gpu_pools(program):
        kinds.setdefault(pool.inputs["nodeConfig"]["machineType"], set()).add(pool.inputs["nodeConfig"]["spot"])
    assert kinds
    assert all(both == {True, False} for both in kinds.values())


def test_spot_nodes_use_all_the_notice_there_is(program: Snapshot) -> None:
    for pool in gpu_pools(program):
        node = pool.inputs["nodeConfig"]
        assert node["kubeletConfig"].get("shutdownGracePeriodSeconds") == (120 if node["spot"] else None), pool.name


def test_the_driver_daemonset_runs_on_every_gpu_node_and_on_no_other(program: Snapshot) -> None:
    affinity = spec(program.named("gpu-driver-installer"))["template"]["spec"]["affinity"]
    [term] = affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]

    def runs_on(labels: dict[str, str]) -> bool:
        return all((e["key"] in labels) is (e["operator"] == "Exists") for e in term["matchExpressions"])

    for pool in program.of_type(POOL):
        [accelerator] = pool.inputs["nodeConfig"].get("guestAccelerators", [None])
        labels = dict(pool.inputs["nodeConfig"].get("labels", {}))
        if accelerator:
            labels["cloud.google.com/gke-accelerator"] = accelerator["type"]
            if (version := accelerator["gpuDriverInstallationConfig"]["gpuDriverVersion"]) != "INSTALLATION_DISABLED":
                labels["cloud.google.com/gke-gpu-driver-version"] = version.lower()
        assert runs_on(labels) is bool(accelerator), pool.name


def test_local_ssds_hold_what_pods_write(prod: Snapshot) -> None:
    assert prod.named("a2-ultragpu-4g-spot", POOL).inputs["nodeConfig"]["ephemeralStorageLocalSsdConfig"] == {
        "localSsdCount": 4
    }


def test_gpu_pools_wait_for_the_system_pool(program: Snapshot) -> None:
    """GKE taints GPU nodes only in a cluster that has others."""
    for pool in gpu_pools(program):
        assert program.named("cluster-system").urn in pool.dependencies, pool.name


@pytest.mark.parametrize(
    ("capacity", "order"),
    [("spot", ["spot"]), ("on-demand", ["on-demand"]), ("spot-with-fallback", ["spot", "on-demand"])],
)
def test_capacity_changes_the_order_of_pools_and_nothing_else(record: Record, capacity: str, order: list[str]) -> None:
    base = record("prod", up=True, config={"capacity": "spot-with-fallback"})
    changed = record("prod", up=True, config={"capacity": capacity})
    for machine in ("a2-ultragpu-1g", "a2-ultragpu-4g"):
        priorities = spec(changed.named(f"compute-class-{machine}"))["priorities"]
        wanted = [[changed.named(f"{machine}-{kind}", POOL).outputs["name"]] for kind in order]
        assert [priority["nodepools"] for priority in priorities] == wanted
    before, after = ({r.urn: r for r in program.resources} for program in (base, changed))
    assert before.keys() == after.keys()
    different = {before[urn].name for urn in before if before[urn].inputs != after[urn].inputs}
    # The rules hold the forecast of what that costs.
    assert different <= {"compute-class-a2-ultragpu-1g", "compute-class-a2-ultragpu-4g", "models-rules"}


# Models


def test_every_model_pod_fits_on_its_nodes_and_on_no_others(program: Snapshot) -> None:
    for name, pod in pods(program).items():
        [(key, machine)] = pod["spec"]["nodeSelector"].items()
        pools = [p for p in gpu_pools(program) if p.inputs["nodeConfig"]["labels"].get(key) == machine]
        kinds = {pool.inputs["nodeConfig"]["spot"] for pool in pools}
        assert (len(pools), kinds) == ((1, {False}) if name.endswith("-floor") else (2, {False, True})), name
        others = [pool for pool in gpu_pools(program) if pool not in pools]
        assert not any(tolerated(taint, pod) for pool in others for taint in pool.inputs["nodeConfig"]["taints"]), name
        resources = pod["spec"]["containers"][0]["resources"]
        for pool in pools:
            node = pool.inputs["nodeConfig"]
            assert resources["limits"]["nvidia.com/gpu"] == str(node["guestAccelerators"][0]["count"]), name
            assert all(tolerated(taint, pod) for taint in node["taints"]), name
        assert tolerated({"key": "nvidia.com/gpu", "value": "present"}, pod), name


def test_tensor_parallelism_is_said_and_has_exactly_as_many_gpus(prod: Snapshot) -> None:
    for name in ("llama-3-3-70b-stable", "llama-3-3-70b-canary"):
        container = pods(prod)[name]["spec"]["containers"][0]
        assert environment(pods(prod)[name])["NUM_SHARD"] == "4"
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "4"
        assert container["resources"]["requests"]["nvidia.com/gpu"] == "4"


def test_nccl_has_a_gibibyte_of_shared_memory(program: Snapshot) -> None:
    for name, pod in pods(program).items():
        [volume] = [v for v in pod["spec"]["volumes"] if v["name"] == "shared-memory"]
        assert volume["emptyDir"] == {"medium": "Memory", "sizeLimit": "2Gi"}, name
        mounts = {m["mountPath"]: m["name"] for m in pod["spec"]["containers"][0]["volumeMounts"]}
        assert mounts["/dev/shm"] == "shared-memory", name


def test_tgi_is_told_nothing_that_it_chooses_better_by_itself(dev: Snapshot) -> None:
    assert set(environment(pods(dev)["qwen2-5-7b-stable"])) == {
        "MODEL_ID",
        "REVISION",
        "PORT",
        "NUM_SHARD",
        "GRACEFUL_TERMINATION_TIMEOUT",
        "JSON_OUTPUT",
        "USAGE_STATS",
    }


def test_tgi_is_started_when_it_has_generated_a_token(prod: Snapshot) -> None:
    probe = pods(prod)["llama-3-3-70b-stable"]["spec"]["containers"][0]["startupProbe"]
    command = probe["exec"]["command"]
    assert command[0] == "curl"
    assert command[-1] == "http://127.0.0.1:8080/generate"
    assert json.loads(command[command.index("--data") + 1])["parameters"] == {"max_new_tokens": 1}
    assert probe["periodSeconds"] * probe["failureThreshold"] == 30 * 60


def test_running_generations_end_before_the_pod_does(program: Snapshot) -> None:
    for name, pod in pods(program).items():
        container = pod["spec"]["containers"][0]
        # 8,191 tokens at 40 milliseconds; where the limits do not tell, what TGI takes itself.
        drain = 328 if name.startswith("llama") else 90
        pre_stop = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert pre_stop <= 5, "it comes out of a spot node's notice"
        assert pod["spec"]["terminationGracePeriodSeconds"] > pre_stop + drain, name
        assert pod["metadata"]["annotations"]["sidecar.istio.io/nativeSidecar"] == "true", "the sidecar must outlive it"
        if "GRACEFUL_TERMINATION_TIMEOUT" in environment(pod):
            assert environment(pod)["GRACEFUL_TERMINATION_TIMEOUT"] == str(drain)


def test_an_update_waits_for_no_gpu(program: Snapshot) -> None:
    for deployment in program.of_type(DEPLOYMENT):
        assert deployment.inputs["metadata"]["annotations"]["pulumi.com/skipAwait"] == "true"


def test_a_pod_gets_no_right_that_it_does_not_need(program: Snapshot) -> None:
    for name, pod in pods(program).items():
        security = pod["spec"]["containers"][0]["securityContext"]
        assert security["capabilities"] == {"drop": ["ALL"]}, name
        assert security["allowPrivilegeEscalation"] is False, name
        assert pod["spec"]["automountServiceAccountToken"] is False, name
        assert pod["spec"]["enableServiceLinks"] is False, name


def test_a_disruption_takes_one_replica_and_never_blocks_a_node(program: Snapshot) -> None:
    budgets = program.of_type("kubernetes:policy/v1:PodDisruptionBudget")
    versions = {name.removesuffix("-floor") for name in pods(program)}
    assert {b.inputs["metadata"]["name"] for b in budgets} == versions
    for budget in budgets:
        # Of floor and others together.
        chosen = spec(budget)["selector"]["matchLabels"].items()
        covered = {name for name, pod in pods(program).items() if chosen <= pod["metadata"]["labels"].items()}
        assert {name.removesuffix("-floor") for name in covered} == {budget.inputs["metadata"]["name"]}
        assert covered == {n for n in pods(program) if n.removesuffix("-floor") in {budget.inputs["metadata"]["name"]}}
    assert all(spec(b)["maxUnavailable"] == 1 and "minAvailable" not in spec(b) for b in budgets)


def test_selectors_match_the_pods_they_are_meant_for(program: Snapshot) -> None:
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(program).items()}
    for deployment in program.of_type(DEPLOYMENT):
        wanted = spec(deployment)["selector"]["matchLabels"]
        matched = {name for name, have in labels.items() if wanted.items() <= have.items()}
        assert matched == {deployment.inputs["metadata"]["name"]}
    for service in program.of_type("kubernetes:core/v1:Service"):
        wanted = spec(service)["selector"]
        matched = {have["app"] for have in labels.values() if wanted.items() <= have.items()}
        assert matched == {service.inputs["metadata"]["name"]}
    [monitor] = [m for m in program.resources if m.name == "monitoring-pods-models"]
    assert all(spec(monitor)["selector"]["matchLabels"].items() <= have.items() for have in labels.values())


def test_the_pod_monitor_scrapes_the_sidecars_merged_page_where_the_pods_are(program: Snapshot) -> None:
    monitor = spec(program.named("monitoring-pods-models"))
    assert monitor["namespaceSelector"] == {"matchNames": ["models"]}
    [endpoint] = monitor["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("http-envoy-prom", "/stats/prometheus")
    assert endpoint["relabelings"][0]["replacement"] == "$1:15020"
    for name, pod in pods(program).items():
        annotations = pod["metadata"]["annotations"]
        [port] = pod["spec"]["containers"][0]["ports"]
        assert annotations["prometheus.io/scrape"] == "true", name
        assert annotations["prometheus.io/port"] == str(port["containerPort"]), name
        assert annotations["prometheus.io/path"] == "/metrics", name


# Traffic


def test_a_tenth_of_the_requests_tries_the_canary(prod: Snapshot) -> None:
    routes = spec(prod.named("llama-3-3-70b-traffic-routes"))
    rule = spec(prod.named("llama-3-3-70b-traffic-rule"))
    shares = {r["destination"]["subset"]: r["weight"] for r in routes["http"][-1]["route"]}
    assert shares == {"stable": 90, "canary": 10}
    assert {s["name"]: s["labels"] for s in rule["subsets"]} == {name: {"version": name} for name in shares}
    assert prod.named("llama-3-3-70b-traffic-rule").urn in prod.named("llama-3-3-70b-traffic-routes").dependencies


def test_requests_go_to_whoever_has_the_fewest(program: Snapshot) -> None:
    for rule in program.of_type("kubernetes:networking.istio.io/v1:DestinationRule"):
        assert spec(rule)["trafficPolicy"]["loadBalancer"]["simple"] == "LEAST_REQUEST"


def test_a_generation_is_never_asked_for_twice(program: Snapshot) -> None:
    for routes in program.of_type("kubernetes:networking.istio.io/v1:VirtualService"):
        certainly_not_begun = "connect-failure,refused-stream,reset-before-request,retriable-headers"
        assert spec(routes)["http"][-1]["retries"] == {"attempts": 2, "retryOn": certainly_not_begun}
        assert "timeout" not in spec(routes)["http"][-1]


def test_the_engines_metrics_are_not_for_callers(program: Snapshot) -> None:
    for routes in program.of_type("kubernetes:networking.istio.io/v1:VirtualService"):
        first = spec(routes)["http"][0]
        assert first["match"] == [{"uri": {"exact": "/metrics"}}]
        assert first["directResponse"] == {"status": 404}


def test_the_gateway_has_no_public_address(program: Snapshot) -> None:
    values = program.named("gateway-release").inputs["values"]
    assert values["service"]["annotations"] == {"networking.gke.io/load-balancer-type": "Internal"}
    assert program.named("gateway-address").inputs["addressType"] == "INTERNAL"


def test_the_models_hosts_are_known_in_the_vpc_alone(record: Record) -> None:
    program = record("prod", up=True)
    zone, hosts = program.named("gateway-zone"), program.named("gateway-hosts")
    assert zone.inputs["visibility"] == "private"
    assert hosts.inputs["name"] == f"*.{zone.inputs['dnsName']}"
    address = program.named("gateway-address").outputs["address"]
    assert hosts.inputs["rrdatas"] == [address]
    assert program.named("gateway-release").inputs["values"]["service"]["loadBalancerIP"] == address
    for model in program.outputs["models"].values():
        assert f"{model['host']}.".endswith(zone.inputs["dnsName"])


def test_the_listener_selects_the_gateways_own_pods(program: Snapshot) -> None:
    """The chart makes the label from the release's name; a random one would match nothing."""
    name = program.named("gateway-release").inputs["name"]
    listener = spec(program.named("gateway-listener"))
    assert listener["selector"] == {"istio": name.removeprefix("istio-")}
    bound = {
        gateway
        for r in program.of_type("kubernetes:networking.istio.io/v1:VirtualService")
        for gateway in spec(r)["gateways"]
    }
    assert bound == {"istio-ingress/models"}
    [server] = listener["servers"]
    assert server["hosts"] == ["models/*.llm.internal"]


def test_models_answer_the_gateway_and_prometheus_alone(program: Snapshot) -> None:
    policy = spec(program.named("model-namespace-callers"))
    callers = [p["namespaceSelector"]["matchLabels"] for rule in policy["ingress"] for p in rule["from"]]
    assert callers == [{"kubernetes.io/metadata.name": "istio-ingress"}, {"kubernetes.io/metadata.name": "monitoring"}]
    assert policy["podSelector"] == {}
    identity = spec(program.named("model-namespace-gateway-only"))["rules"][0]["from"][0]["source"]["principals"]
    assert identity == ["cluster.local/ns/istio-ingress/sa/istio-ingressgateway"]
    assert spec(program.named("mesh-mutual-tls")) == {"mtls": {"mode": "STRICT"}}


# Scaling


def test_arr_coc_sleeps_after_a_quarter_of_an_hour_and_grows_to_ten_on_its_request_rate(prod: Snapshot) -> None:
    scaled = spec(prod.named("arr-coc-0-1-stable-scaling"))
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"], scaled["cooldownPeriod"]) == (0, 10, 60)
    [trigger] = scaled["triggers"]
    # Fourteen minutes in which nobody asked, and a minute of KEDA's own.
    assert look_back_seconds(trigger["metadata"]["query"], rules_in(prod)) == 14 * 60
    assert rule_in(prod, LOAD, "arr-coc-0-1").endswith(") / 2")
    assert prod.outputs["models"]["arr-coc-0-1"]["replicas"] == {"minimum": 0, "normal": 3, "maximum": 10}


def test_tgi_scales_on_its_queue(prod: Snapshot) -> None:
    for version in ("stable", "canary"):
        load, held = (rule_in(prod, name, "llama-3-3-70b", version) for name in (LOAD, HELD))
        assert f'tgi_queue_size{{namespace="models",app="llama-3-3-70b",version="{version}"}}' in load
        assert "tgi_batch_current_size" in held, "an empty queue is no reason to take a replica"


def test_all_versions_of_a_model_wake_on_one_signal(record: Record) -> None:
    asleep = {"models[1].scaling.min": "0", "models[1].scaling.baseOnDemandReplicas": "0"}
    program = record("prod", paths=asleep)
    stable, canary = (rule_in(program, ASKED, "llama-3-3-70b", version) for version in ("stable", "canary"))
    assert stable == canary
    assert 'destination_service_name="llama-3-3-70b"' in stable


def test_a_version_without_traffic_stays_asleep(record: Record) -> None:
    weights = {"models[1].rollout.versions[0].weight": "100", "models[1].rollout.versions[1].weight": "0"}
    program = record("prod", paths=weights)
    parked = program.named("llama-3-3-70b-canary-scaling").inputs
    assert parked["metadata"]["annotations"] == {"autoscaling.keda.sh/paused-replicas": "0"}
    assert parked["spec"]["minReplicaCount"] == 0
    assert ASKED + "{" not in rule_in(program, WANTED, "llama-3-3-70b", "canary")


def test_a_model_is_not_put_to_sleep_while_it_loads(program: Snapshot) -> None:
    """A replica that is missing counts as activity for as long as a start may take: node, image, the probe's limit."""
    sleepers = [scaled for scaled in program.of_type(SCALED_OBJECT) if spec(scaled)["minReplicaCount"] == 0]
    assert sleepers
    for scaled in sleepers:
        target = spec(scaled)["scaleTargetRef"]["name"]
        probe = pods(program)[target]["spec"]["containers"][0]["startupProbe"]
        model, _, version = target.rpartition("-")
        asked = rule_in(program, ASKED, model, version)
        missing = r'min_over_time\(kube_deployment_spec_replicas{[^}]*deployment=~"([^"]*)"}\[(\d+)s\]'
        [names, seconds] = re.search(missing, asked).groups()  # type: ignore[union-attr]
        assert target in names.split("|")
        assert int(seconds) >= probe["periodSeconds"] * probe["failureThreshold"] + NODE.most + DRIVER.most + IMAGE.most


def test_the_queries_select_what_is_scraped(program: Snapshot) -> None:
    """Jobs are called after the PodMonitors, Deployments as they are recorded, the gateway after its release."""
    monitors = program.of_type("kubernetes:monitoring.coreos.com/v1:PodMonitor")
    jobs = {f"{made.inputs['metadata']['namespace']}/{made.inputs['metadata']['name']}" for made in monitors}
    deployments = {made.inputs["metadata"]["name"] for made in program.of_type("kubernetes:apps/v1:Deployment")}
    scaled = program.of_type(SCALED_OBJECT)
    queries = [
        rule.expression
        for made in scaled
        for trigger in spec(made)["triggers"]
        for rule in rests_on(trigger["metadata"]["query"], rules_in(program))
    ]
    assert len(queries) == 6 * len(scaled)
    selected = {(label, value) for query in queries for label, value in re.findall(r'(\w+)=~?"([^"]*)"', query)}
    assert {value for label, value in selected if label == "job"} == jobs
    named = {name for label, value in selected if label == "deployment" for name in value.split("|")}
    assert named == {spec(made)["scaleTargetRef"]["name"] for made in scaled} <= deployments
    gateway = next(r for r in program.resources if r.inputs.get("chart") == "gateway").inputs
    workloads = {value for label, value in selected if label == "source_workload"}
    assert workloads <= {gateway["name"]}
    assert {value for label, value in selected if label == "source_workload_namespace"} <= {gateway["namespace"]}


def test_scaling_asks_the_prometheus_that_is_there(program: Snapshot) -> None:
    for scaled in program.of_type(SCALED_OBJECT):
        for trigger in spec(scaled)["triggers"]:
            assert trigger["metadata"]["serverAddress"] == "http://prometheus-operated.monitoring:9090"
            assert trigger["metadata"]["ignoreNullValues"] == "false"


# Monitoring


def test_what_gke_hides_raises_no_alarm(program: Snapshot) -> None:
    values = program.named("monitoring-release").inputs["values"]
    for part in ("kubeControllerManager", "kubeScheduler", "kubeEtcd", "kubeProxy", "coreDns"):
        assert values[part] == {"enabled": False}


def test_a_gpu_node_that_comes_and_goes_raises_no_alarm(program: Snapshot) -> None:
    rules = program.named("monitoring-release").inputs["values"]["defaultRules"]
    assert rules["disabled"] == {"KubeCPUOvercommit": True, "KubeMemoryOvercommit": True}
    assert (rules["appNamespacesOperator"], rules["appNamespacesTarget"]) == ("!~", "models")


def test_a_gateway_stops_when_its_last_stream_has_ended(program: Snapshot) -> None:
    values = program.named("gateway-release").inputs["values"]
    proxy = json.loads(values["podAnnotations"]["proxy.istio.io/config"])
    assert proxy == {"proxyMetadata": {"EXIT_ON_ZERO_ACTIVE_CONNECTIONS": "true"}}
    most_patient = max(pod["spec"]["terminationGracePeriodSeconds"] for pod in pods(program).values())
    assert values["terminationGracePeriodSeconds"] == max(300, most_patient)


def test_prometheus_sees_every_monitor_and_rule(program: Snapshot) -> None:
    settings = program.named("monitoring-release").inputs["values"]["prometheus"]["prometheusSpec"]
    for kind in ("podMonitor", "serviceMonitor", "rule"):
        assert settings[f"{kind}SelectorNilUsesHelmValues"] is False


def test_grafana_finds_its_password_and_the_dashboard(program: Snapshot) -> None:
    secret = program.named("monitoring-grafana-administrator")
    admin = program.named("monitoring-release").inputs["values"]["grafana"]["admin"]
    assert admin["existingSecret"] == secret.inputs["metadata"]["name"]
    board = program.named("models-dashboard").inputs
    assert board["metadata"]["labels"] == {"grafana_dashboard": "1"}
    [(file, text)] = board["data"].items()
    assert file.endswith(".json")
    assert json.loads(text)["panels"]
    assert len(text) < 1024 * 1024


# The token


def test_the_token_passes_through_no_state(prod: Snapshot) -> None:
    sync = spec(prod.named("hugging-face-token-sync"))
    assert sync["secretObject"]["data"] == [{"sourcePath": "HF_TOKEN", "targetKey": "HF_TOKEN"}]
    token = environment(pods(prod)["llama-3-3-70b-stable"])["HF_TOKEN"]
    assert token == {"secretKeyRef": {"name": "hugging-face-token", "key": "HF_TOKEN"}}
    assert prod.named("hugging-face-token-sync").inputs["metadata"]["name"] == "hugging-face-token"
    assert not [r for r in prod.of_type("kubernetes:core/v1:Secret") if "hugging" in r.name]


def test_one_account_reads_one_secret(record: Record) -> None:
    grant = record("prod", up=True).named("hugging-face-token-access").inputs
    assert grant["role"] == "roles/secretmanager.secretAccessor"
    assert grant["secretId"] == "hugging-face-token"
    assert grant["member"] == (
        f"principal://iam.googleapis.com/projects/{PROJECT_NUMBER}/locations/global/workloadIdentityPools/"
        "example-project.svc.id.goog/subject/ns/models/sa/hugging-face-token"
    )


def test_a_stack_of_ones_own_needs_no_token(dev: Snapshot) -> None:
    assert not [r.name for r in dev.resources if "hugging-face" in r.name]
    assert "HF_TOKEN" not in environment(pods(dev)["qwen2-5-7b-stable"])


# Images


def test_models_pull_through_artifact_registry(program: Snapshot) -> None:
    own = {r.inputs["repositoryId"] for r in program.of_type("gcp:artifactregistry/repository:Repository")}
    for name, pod in pods(program).items():
        host, project, repository, *_ = pod["spec"]["containers"][0]["image"].split("/")
        assert host == f"{program.named('cluster-control-plane').inputs['location']}-docker.pkg.dev", name
        assert project == "example-project"
        assert repository in own, name


def test_arr_coc_comes_from_the_repository_that_the_program_makes(prod: Snapshot) -> None:
    image = pods(prod)["arr-coc-0-1-stable"]["spec"]["containers"][0]["image"]
    assert image == "us-east5-docker.pkg.dev/example-project/llmserve-prod-images/arr-coc-0-1:0.1.0"
    assert prod.named("images-own").inputs["repositoryId"] == "llmserve-prod-images"


def test_public_images_have_a_remote_repository(prod: Snapshot) -> None:
    remote = prod.named("images-ghcr-io").inputs
    assert remote["mode"] == "REMOTE_REPOSITORY"
    assert plain(remote["remoteRepositoryConfig"]) == {"commonRepository": {"uri": "https://ghcr.io"}}


# The stacks as committed


def test_the_committed_project_is_nobodys_and_every_preview_says_so(program: Snapshot) -> None:
    assert any("gcp:project is example-project" in d.message for d in program.diagnostics if d.severity == "warning")


def test_dev_is_one_small_model_on_one_spot_card_from_nothing(dev: Snapshot) -> None:
    [name] = pods(dev)
    scaled = spec(dev.named(f"{name}-scaling"))
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (0, 1)
    [compute_class] = [r for r in dev.resources if r.name.startswith("compute-class-")]
    assert len(spec(compute_class)["priorities"]) == 1
    assert dev.named("a2-highgpu-1g-spot", POOL).inputs["nodeConfig"]["spot"] is True


def test_prod_serves_arr_coc_and_llama(prod: Snapshot) -> None:
    assert prod.outputs["models"] == {
        "arr-coc-0-1": {
            "host": "arr-coc-0-1.llm.internal",
            "engine": "custom",
            "healthPath": "/health",
            "replicas": {"minimum": 0, "normal": 3, "maximum": 10},
        },
        "llama-3-3-70b": {
            "host": "llama-3-3-70b.llm.internal",
            "engine": "tgi",
            "healthPath": "/health",
            "replicas": {"minimum": 2, "normal": None, "maximum": 5},
        },
    }


def test_a_refused_stack_makes_nothing(record: Record) -> None:
    with pytest.raises(Refused) as refused:
        record("prod", config={"gcp:region": "europe-west9", "gatewayExposure": "external"})
    assert "gcp:region = europe-west9" in str(refused.value)
    assert "llmserve:gatewayExposure = external" in str(refused.value)
