"""The charts take our values, and make what our objects, queries and outputs rely on, under the names that we use."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

import versions
from catalog.retired_hosts import retired_in
from components.monitoring_stack import PROMETHEUS_URL, RELEASE
from components.network import WEBHOOK_PORTS
from monitoring.spend import labels_allowlist
from planning.nodes import PLATFORM_CPUS, PLATFORM_GIB, allocatable_cpu, allocatable_memory_gib
from tests.real import charts, rendered
from tests.real.api_server import ApiServer, running
from tests.real.charts import everything
from tests.real.fake_nodes import NODE_POOL, is_gpu_pool, system_size
from tests.real.kubernetes_yaml import load_all

TIER = "charts"

RELEASES = [pytest.param(release, id=name) for name, release in charts.distinct().items()]
WITH_VALUES = [pytest.param(release, id=name) for name, release in charts.distinct().items() if release.values]
PINNED = {value.name: value for value in vars(versions).values() if isinstance(value, versions.Chart)}
OLDER = {"keda": "2.20.2"}
"""Where the files of the pinned version could not be had, only seen in use: what was held against this instead."""
OPENED_BY_GKE = {"443", "10250"}
"""What the control plane reaches on nodes without a firewall rule of ours."""
GKE_KINDS = {"ComputeClass", "SecretSync", "SecretProviderClass"}
"""Custom resources that GKE itself defines."""

_RESOURCES = r"(.+\.)?resources\.requests(\..+)?"
_VOLUME = r".+\.volumeClaimTemplate(\..+)?"
JUDGED_ELSEWHERE = {
    "base": (),
    # The mesh's own settings, by their names in istio/api, mesh/v1alpha1/config.proto.
    # What it hands to its injector: global.hub, which is asserted below.
    # Its features, by their names in istio/istio, pilot/pkg/features; tests/test_parts.py asserts ours.
    "istiod": (_RESOURCES, r"meshConfig\.(accessLogFile|accessLogEncoding)", r"env\.[A-Z_]+", r"global\.hub"),
    "gateway": (
        _RESOURCES,
        r"service\.annotations\..+",
        r"service\.ports\..+",
        r"podAnnotations\..+",
        r"podDisruptionBudget\..+",
        r"topologySpreadConstraints\..+",
    ),
    "prometheus-operator-crds": (),
    "kube-prometheus-stack": (_RESOURCES, _VOLUME),
    "keda": (_RESOURCES,),
}
"""What a chart hands on as it is. The API server takes no unknown field of it; free names are asserted below."""

Manifest = dict[str, Any]


@pytest.fixture(params=rendered.STACKS)
def stack(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def labels(manifest: Mapping[str, Any]) -> dict[str, str]:
    return manifest.get("metadata", {}).get("labels") or {}


def made(stack: str, kind: str, name: str | None = None) -> list[Manifest]:
    """What the releases of a stack make of a kind."""
    found = [manifest for _, manifest in everything(stack) if manifest["kind"] == kind]
    return [manifest for manifest in found if name in {None, manifest["metadata"]["name"]}]


def one(stack: str, kind: str, name: str) -> Manifest:
    (found,) = made(stack, kind, name)
    return found


def selects(selector: Mapping[str, Any] | None, carried: Mapping[str, str]) -> bool:
    """Kubernetes' label selectors: none selects nothing, an empty one everything."""
    if selector is None:
        return False
    tests: dict[str, Callable[[str, list[str]], bool]] = {
        "In": lambda key, values: carried.get(key) in values,
        "NotIn": lambda key, values: carried.get(key) not in values,
        "Exists": lambda key, _: key in carried,
        "DoesNotExist": lambda key, _: key not in carried,
    }
    return all(carried.get(key) == value for key, value in (selector.get("matchLabels") or {}).items()) and all(
        tests[rule["operator"]](rule["key"], rule.get("values") or [])
        for rule in selector.get("matchExpressions") or ()
    )


def workloads(stack: str) -> Iterator[Manifest]:
    for _, manifest in everything(stack):
        if manifest["kind"] in {"Deployment", "DaemonSet", "StatefulSet"}:
            yield manifest


def containers(manifest: Mapping[str, Any]) -> list[Manifest]:
    spec = manifest["spec"]["template"]["spec"]
    return [*spec["containers"], *(spec.get("initContainers") or ())]


# The values


@pytest.mark.parametrize("release", RELEASES)
def test_the_chart_is_the_one_that_is_pinned(release: rendered.Release) -> None:
    pinned = PINNED[release.chart]
    assert (release.chart, release.version, release.repository) == (pinned.name, pinned.version, pinned.repository)
    chart = charts.about(release)
    assert chart["name"] == pinned.name
    if chart["version"] == "1.0.0" and pinned.repository == versions.ISTIO_BASE.repository:
        pytest.skip(f"{release.chart}: the folder is of Istio's git repository, where every version says 1.0.0")
    if chart["version"] == OLDER.get(pinned.name) != pinned.version:
        pytest.skip(f"{pinned.name}: the folder has {chart['version']}, and {pinned.version} is pinned: get that one")
    assert chart["version"] == pinned.version


@pytest.mark.parametrize("release", RELEASES)
def test_the_values_render(release: rendered.Release) -> None:
    text, said = charts.template(release, release.values, crds=not release.skip_crds)
    assert text, said
    assert "WARNING" not in said.upper(), said


@pytest.mark.parametrize("release", WITH_VALUES)
def test_every_value_has_an_effect(release: rendered.Release) -> None:
    assert charts.without_effect(release, release.values) == []


@pytest.mark.parametrize("release", WITH_VALUES)
def test_a_misspelt_key_has_no_effect_or_is_judged_by_somebody_else(release: rendered.Release) -> None:
    allowed = "|".join(JUDGED_ELSEWHERE[release.chart])
    assert [key for key in charts.passed_through(release) if not re.fullmatch(allowed, key)] == []


@pytest.mark.parametrize("version", ["1.35.0", "1.37.0"])
@pytest.mark.parametrize("release", RELEASES)
def test_the_minors_beside_it_get_the_same(release: rendered.Release, version: str) -> None:
    """Of Kubernetes: a cluster is upgraded without the program."""
    pinned, said = charts.template(release, release.values, crds=False)
    assert pinned, said
    beside, said = charts.template(release, release.values, crds=False, kubernetes=version)
    assert charts.comparable(beside) == charts.comparable(pinned), said


# Where it is from


@pytest.mark.parametrize("release", RELEASES)
def test_nothing_that_a_chart_makes_names_a_retired_host(release: rendered.Release) -> None:
    """Neither our values nor a default of the chart: an image, a hub, the address of anything."""
    text, said = charts.template(release, release.values, crds=False)
    assert text, said
    assert [line.strip() for line in text.splitlines() if retired_in(line)] == []


def test_the_hub_of_istios_own_chart_would() -> None:
    """Where the chart is of a version that pulled from there: of its git repository, or 1.30."""
    istiod = rendered.releases(rendered.STACKS[0])["istiod"]
    text, said = charts.template(istiod, charts.without(istiod.values, ("global", "hub")), crds=False)
    assert text, said
    if "docker.io/istio" in text:
        pytest.skip("this istiod pulls from Docker Hub by itself")
    assert retired_in(text)


def test_nothing_is_pulled_from_docker_hub_by_the_nodes_themselves(stack: str) -> None:
    pulled = {
        container["image"]
        for _, manifest in everything(stack)
        for container in (containers(manifest) if "template" in manifest.get("spec", {}) else ())
    } - {"auto"}
    assert any("-docker.pkg.dev/" in image for image in pulled)
    assert [image for image in pulled if image.startswith("docker.io/") or "." not in image.partition("/")[0]] == []
    injected = json.loads(one(stack, "ConfigMap", "istio-sidecar-injector")["data"]["values"])
    (istiod,) = {image.rpartition("/")[0] for image in pulled if "/pilot:" in image}
    assert injected["global"]["hub"] == istiod


# The names that we use


def test_the_gateway_is_where_our_objects_look_for_it(stack: str) -> None:
    (listener,) = rendered.of_kind(stack, "Gateway")
    namespace = listener["metadata"]["namespace"]
    (deployment,) = [item for item in made(stack, "Deployment") if item["metadata"]["namespace"] == namespace]
    assert deployment["metadata"]["name"] == "istio-ingressgateway"
    template = deployment["spec"]["template"]
    pod_labels = labels(template)
    assert selects({"matchLabels": listener["spec"]["selector"]}, pod_labels)
    (service,) = [item for item in made(stack, "Service") if item["metadata"]["namespace"] == namespace]
    assert service["metadata"]["name"] == "istio-ingressgateway"
    assert selects({"matchLabels": service["spec"]["selector"]}, pod_labels)
    listened = {server["port"]["number"] for server in listener["spec"]["servers"]}
    assert listened <= {port["targetPort"] for port in service["spec"]["ports"]}
    assert service["metadata"]["annotations"]["networking.gke.io/load-balancer-type"] == "Internal"
    assert service["spec"]["loadBalancerIP"] in rendered.VALID.values()
    assert "proxyMetadata" in json.loads(template["metadata"]["annotations"]["proxy.istio.io/config"])
    for rule in template["spec"].get("topologySpreadConstraints") or ():
        assert selects(rule["labelSelector"], pod_labels)
    (policy,) = rendered.of_kind(stack, "AuthorizationPolicy")
    account = template["spec"]["serviceAccountName"]
    assert one(stack, "ServiceAccount", account)["metadata"]["namespace"] == namespace
    principals = policy["spec"]["rules"][0]["from"][0]["source"]["principals"]
    assert principals == [f"cluster.local/ns/{namespace}/sa/{account}"]
    (door,) = rendered.of_kind(stack, "NetworkPolicy")
    allowed = [peer["namespaceSelector"] for rule in door["spec"]["ingress"] for peer in rule["from"]]
    for caller in (namespace, one(stack, "Prometheus", "kube-prometheus-stack-prometheus")["metadata"]["namespace"]):
        assert any(selects(selector, {"kubernetes.io/metadata.name": caller}) for selector in allowed)


def test_istiod_injects_the_models_and_the_gateway(stack: str) -> None:
    """By the namespace's label for the models, by the pod's own for the gateway, whose image is made by the webhook."""
    (namespace,) = [item for item in rendered.of_kind(stack, "Namespace") if item["metadata"]["name"] == "models"]
    pods = {
        item["metadata"]["name"]: (labels(namespace), labels(item["spec"]["template"]))
        for item in rendered.of_kind(stack, "Deployment")
    }
    gateway = one(stack, "Deployment", "istio-ingressgateway")["spec"]["template"]
    assert {container["image"] for container in gateway["spec"]["containers"]} == {"auto"}
    pods["istio-ingressgateway"] = ({}, labels(gateway))
    webhooks = [hook for item in made(stack, "MutatingWebhookConfiguration") for hook in item["webhooks"]]
    for name, (of_namespace, of_pod) in pods.items():
        assert any(
            selects(hook.get("namespaceSelector", {}), of_namespace) and selects(hook.get("objectSelector", {}), of_pod)
            for hook in webhooks
            if "pods" in {resource for rule in hook["rules"] for resource in rule["resources"]}
        ), name


def test_the_control_plane_reaches_every_webhook(stack: str) -> None:
    called = set()
    for _, manifest in everything(stack):
        if manifest["kind"] in {"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"}:
            called |= {_called(hook["clientConfig"].get("service")) for hook in manifest["webhooks"]}
        elif manifest["kind"] == "APIService":
            called.add(_called(manifest["spec"].get("service")))
        elif manifest["kind"] == "CustomResourceDefinition":
            webhook = manifest["spec"].get("conversion", {}).get("webhook", {})
            called.add(_called(webhook.get("clientConfig", {}).get("service")))
    ports = {port for place in called if place is not None for port in _container_ports(stack, *place)}
    assert ports - OPENED_BY_GKE == set(WEBHOOK_PORTS)
    (rule,) = rendered.snapshot(stack).of_type("gcp:compute/firewall:Firewall")
    assert set(rule.inputs["allows"][0]["ports"]) == set(WEBHOOK_PORTS)


def _called(service: Mapping[str, Any] | None) -> tuple[str, str, int] | None:
    return None if service is None else (service["namespace"], service["name"], service.get("port", 443))


def _container_ports(stack: str, namespace: str, name: str, port: int) -> Iterator[str]:
    """Yield the port on the pods behind a Service's port, where a release makes the Service."""
    for service in made(stack, "Service", name):
        if service["metadata"]["namespace"] != namespace:
            continue
        (target,) = {item.get("targetPort", port) for item in service["spec"]["ports"] if item["port"] == port}
        if isinstance(target, int):
            yield str(target)
            continue
        for workload in workloads(stack):
            if selects({"matchLabels": service["spec"]["selector"]}, labels(workload["spec"]["template"])):
                declared = [item for container in containers(workload) for item in container.get("ports") or ()]
                yield from (str(item["containerPort"]) for item in declared if item.get("name") == target)


def test_prometheus_is_where_keda_asks_it(stack: str) -> None:
    """The operator makes `prometheus-operated` beside each Prometheus, with the port `web`, 9090.

    prometheus-operator, pkg/prometheus/server/statefulset.go, makeStatefulSetService
    """
    (prometheus,) = made(stack, "Prometheus")
    namespace = prometheus["metadata"]["namespace"]
    assert f"http://prometheus-operated.{namespace}:9090" == PROMETHEUS_URL
    assert not prometheus["spec"].get("serviceName")
    assert not prometheus["spec"].get("listenLocal")
    assert prometheus["spec"].get("routePrefix", "/") == "/"
    asked = {
        trigger["metadata"]["serverAddress"]
        for scaled in rendered.of_kind(stack, "ScaledObject")
        for trigger in scaled["spec"]["triggers"]
        if trigger["type"] == "prometheus"
    }
    assert asked == {PROMETHEUS_URL}


def test_prometheus_takes_our_monitors_and_rules(stack: str) -> None:
    (prometheus,) = made(stack, "Prometheus")
    namespaces = {item["metadata"]["name"]: item for item in rendered.of_kind(stack, "Namespace")}
    looked_at = {"PodMonitor": "podMonitor", "PrometheusRule": "rule"}
    for kind, field in looked_at.items():
        ours = rendered.of_kind(stack, kind)
        assert ours
        for manifest in ours:
            assert selects(prometheus["spec"].get(f"{field}Selector"), labels(manifest))
            home = manifest["metadata"]["namespace"]
            known = labels(namespaces[home]) | {"kubernetes.io/metadata.name": home}
            assert selects(prometheus["spec"].get(f"{field}NamespaceSelector"), known)


def test_the_pod_monitors_find_the_pods_and_their_port(stack: str) -> None:
    gateway = one(stack, "Deployment", "istio-ingressgateway")
    injected = one(stack, "ConfigMap", "istio-sidecar-injector")["data"]["config"]
    for monitor in rendered.of_kind(stack, "PodMonitor"):
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        candidates = [gateway, *rendered.of_kind(stack, "Deployment")]
        home = monitor["metadata"]["namespace"]
        watched = [item for item in candidates if item["metadata"]["namespace"] == home]
        assert watched
        for workload in watched:
            assert selects(monitor["spec"]["selector"], labels(workload["spec"]["template"])), home
        if home == gateway["metadata"]["namespace"]:
            declared = {port["name"] for container in containers(gateway) for port in container.get("ports") or ()}
            assert endpoint["port"] in declared
        else:
            assert f"name: {endpoint['port']}" in injected


def test_grafana_is_where_the_stack_says(stack: str) -> None:
    said = str(rendered.snapshot(stack).outputs["grafana"])
    command = re.fullmatch(r"kubectl --namespace (\S+) port-forward service/(\S+) \d+:(\d+)", said)
    assert command
    service = one(stack, "Service", command[2])
    assert service["metadata"]["namespace"] == command[1]
    assert int(command[3]) in {port["port"] for port in service["spec"]["ports"]}
    (grafana,) = [
        item
        for item in made(stack, "Deployment")
        if selects({"matchLabels": service["spec"]["selector"]}, labels(item["spec"]["template"]))
    ]
    keys = {
        (reference["name"], reference["key"])
        for container in containers(grafana)
        for variable in container.get("env") or ()
        if (reference := variable.get("valueFrom", {}).get("secretKeyRef"))
    }
    (administrator,) = [
        item for item in rendered.of_kind(stack, "Secret") if item["metadata"]["namespace"] == command[1]
    ]
    assert keys == {(administrator["metadata"]["name"], key) for key in administrator["stringData"]}


def test_grafana_loads_our_dashboards(stack: str) -> None:
    sidecars = [
        {variable["name"]: variable.get("value") for variable in container.get("env") or ()}
        for workload in made(stack, "Deployment")
        for container in containers(workload)
        if "dashboard" in container["name"]
    ]
    (sidecar,) = sidecars
    ours = rendered.of_kind(stack, "ConfigMap")
    assert ours
    for dashboard in ours:
        assert labels(dashboard).get(str(sidecar["LABEL"])) == sidecar["LABEL_VALUE"] == "1"
        assert sidecar["NAMESPACE"] in {"ALL", dashboard["metadata"]["namespace"]}
        assert all(name.endswith(".json") for name in dashboard["data"])


def test_nothing_watches_what_gke_hides(stack: str) -> None:
    hidden = re.compile(r"etcd|scheduler|controller-?manager|kube-?proxy|core-?dns|kube-?dns", re.IGNORECASE)
    alerts = {
        rule["alert"]
        for item in made(stack, "PrometheusRule")
        for group in item["spec"]["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    assert {"KubeAPIDown", "KubeletDown", "KubePodCrashLooping"} <= alerts
    monitors = {item["metadata"]["name"] for item in made(stack, "ServiceMonitor")}
    assert monitors
    services = {item["metadata"]["name"] for item in made(stack, "Service")}
    assert [name for name in alerts | monitors | services if hidden.search(name)] == []
    assert not alerts & {"KubeCPUOvercommit", "KubeMemoryOvercommit"}


def test_no_object_is_made_twice(stack: str) -> None:
    owners: defaultdict[tuple[str, str, str | None, str], list[str]] = defaultdict(list)
    own = (("the program", manifest) for manifest in rendered.objects(stack).values())
    for owner, manifest in (*everything(stack), *own):
        metadata = manifest["metadata"]
        group = manifest["apiVersion"].rpartition("/")[0]
        owners[group, manifest["kind"], metadata.get("namespace"), metadata["name"]].append(owner)
    assert {key: value for key, value in owners.items() if len(value) > 1} == {}


def test_every_custom_resource_is_defined_by_a_release(stack: str) -> None:
    served = {
        (f"{item['spec']['group']}/{version['name']}", item["spec"]["names"]["kind"])
        for item in made(stack, "CustomResourceDefinition")
        for version in item["spec"]["versions"]
        if version["served"]
    }
    used = {
        (manifest["apiVersion"], manifest["kind"])
        for manifest in (*rendered.objects(stack).values(), *(item for _, item in everything(stack)))
        if "." in manifest["apiVersion"].partition("/")[0]
        and not manifest["apiVersion"].partition("/")[0].endswith(".k8s.io")
    }
    assert {kind for _, kind in used - served} <= GKE_KINDS


def test_the_operator_knows_its_own_definitions(stack: str) -> None:
    mark = "operator.prometheus.io/version"
    written = Counter(
        item["metadata"].get("annotations", {}).get(mark) for item in made(stack, "CustomResourceDefinition")
    )
    del written[None]
    (operator,) = {
        container["image"].rpartition(":v")[2]
        for workload in made(stack, "Deployment")
        for container in containers(workload)
        if "/prometheus-operator:" in container["image"]
    }
    assert set(written) == {operator}


# What it all asks for


def test_the_system_pool_at_its_smallest_holds_everything(stack: str) -> None:
    """What the charts' pods ask for, in sum, leaves a quarter of the system nodes to the pods of GKE itself."""
    (pool,) = (pool for pool in rendered.snapshot(stack).of_type(NODE_POOL) if not is_gpu_pool(pool))
    nodes = int(pool.inputs["autoscaling"]["totalMinNodeCount"])
    vcpus, memory = system_size(pool.inputs["nodeConfig"]["machineType"])
    asked: Counter[str] = Counter()
    for workload in workloads(stack):
        replicas = nodes if workload["kind"] == "DaemonSet" else _replicas(stack, workload)
        for container in workload["spec"]["template"]["spec"]["containers"]:
            requests = container.get("resources", {}).get("requests") or {}
            assert requests, f"{workload['metadata']['name']}/{container['name']} asks for nothing"
            _add(asked, requests, replicas)
    for kind, own in (("Prometheus", "prometheus"), ("Alertmanager", "alertmanager")):
        for resource in made(stack, kind):
            assert resource["spec"]["resources"]["requests"], own
            _add(asked, resource["spec"]["resources"]["requests"], resource["spec"]["replicas"])
            _add(asked, _reloader(stack), resource["spec"]["replicas"])
        for claim in (item["spec"].get("storage") or {} for item in made(stack, kind)):
            assert claim["volumeClaimTemplate"]["spec"]["resources"]["requests"]["storage"]
    # What planning refuses system nodes by is this sum, rounded up.
    assert PLATFORM_CPUS * 0.9 <= asked["cpu"] / 1000 <= PLATFORM_CPUS
    assert PLATFORM_GIB * 0.9 <= asked["memory"] / 1024 <= PLATFORM_GIB
    room = {"cpu": allocatable_cpu(vcpus) * nodes, "memory": allocatable_memory_gib(memory) * nodes}
    figures = (
        f"asked {asked['cpu'] / 1000:.2f} CPU and {asked['memory'] / 1024:.1f} GiB "
        f"of {room['cpu']:.2f} CPU and {room['memory']:.1f} GiB"
    )
    assert asked["cpu"] / 1000 <= room["cpu"] * 0.75, figures
    assert asked["memory"] / 1024 <= room["memory"] * 0.75, figures


def _replicas(stack: str, workload: Manifest) -> int:
    name = workload["metadata"]["name"]
    for scaler in made(stack, "HorizontalPodAutoscaler"):
        if scaler["spec"]["scaleTargetRef"]["name"] == name:
            return int(scaler["spec"]["minReplicas"])
    return int(workload["spec"].get("replicas", 1))


def _reloader(stack: str) -> dict[str, str]:
    """What the operator gives the reloader that it puts beside each Prometheus and Alertmanager."""
    found = {}
    for workload in made(stack, "Deployment"):
        for container in containers(workload):
            for argument in container.get("args") or ():
                if matched := re.fullmatch(r"--config-reloader-(cpu|memory)-request=(\S+)", argument):
                    found[matched[1]] = matched[2]
    assert set(found) == {"cpu", "memory"}
    return found


def _add(asked: Counter[str], requests: Mapping[str, str], times: int) -> None:
    """Add in thousandths of a core and MiB."""
    cpu, memory = str(requests["cpu"]), str(requests["memory"])
    asked["cpu"] += times * (int(cpu[:-1]) if cpu.endswith("m") else int(cpu) * 1000)
    asked["memory"] += times * int(memory[:-2]) * {"Mi": 1, "Gi": 1024}[memory[-2:]]


# The API server takes it


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("api-server-for-charts")) as started:
        yield started


def test_the_api_server_takes_what_the_charts_make(server: ApiServer, stack: str) -> None:
    server.make_namespaces(*(item["metadata"]["name"] for item in rendered.of_kind(stack, "Namespace")))
    definitions = made(stack, "CustomResourceDefinition")
    refused = [answer.message for item in definitions if not (answer := server.apply(item)).accepted]
    assert refused == []
    server.wait_for_definitions({item["metadata"]["name"] for item in definitions})
    for release, manifest in everything(stack):
        if manifest["kind"] != "CustomResourceDefinition":
            answer = server.apply(manifest, dry_run=True)
            if not answer.accepted:
                refused.append(f"{release} {manifest['kind']} {manifest['metadata']['name']}: {answer.message}")
    assert refused == []


def test_the_api_server_refuses_what_a_chart_hands_on_misspelt(server: ApiServer) -> None:
    release = rendered.releases(rendered.STACKS[0])["kube-prometheus-stack"]
    values = charts.misspelt(release.values, ("prometheusOperator", "resources", "requests"))
    text, said = charts.template(release, values, crds=False)
    assert text, said
    server.make_namespaces(release.namespace)
    answers = [server.apply(item, dry_run=True) for item in load_all(text) if item["kind"] == "Deployment"]
    (refused,) = [answer.message for answer in answers if not answer.accepted]
    assert "requestsx" in refused


def test_kube_state_metrics_tells_the_labels_that_the_cost_rules_read_and_keeps_its_own(stack: str) -> None:
    name = f"{RELEASE}-kube-state-metrics"
    [container] = one(stack, "Deployment", name)["spec"]["template"]["spec"]["containers"]
    [allowed] = [argument for argument in container["args"] if argument.startswith("--metric-labels-allowlist=")]
    assert allowed.partition("=")[2] == ",".join(labels_allowlist())
    # Else Prometheus would call the node and the pod of a series `exported_node` and `exported_pod`.
    assert all(endpoint["honorLabels"] for endpoint in one(stack, "ServiceMonitor", name)["spec"]["endpoints"])
