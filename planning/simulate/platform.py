"""The platform around the replicas: nodes that are bought, lost and given back, a gateway, a scaler, callers who wait.

A discrete-event simulation: requests and a heap of what is due, in seconds since the start. All chance is drawn from
streams of one seed, so the same seed gives the same run, and one stream's use does not move another.

The start of a pod is bought with its node; a node that has lost its pod stays for a while and can take the next one.
"""

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from random import Random

from monitoring.scaling import POLLING_SECONDS
from planning.cold_start import NO_COLD_START, ColdStart
from planning.drain import PRE_STOP_SECONDS
from planning.recording_rules import RecordingRule
from planning.simulate.arrivals import DAY, HOUR, Request
from planning.simulate.engine import Batching, Limits, Replica, Served, Timing
from planning.simulate.promql import Prometheus
from planning.simulate.results import Cut, Loss, Moment, Provisioning, Results, Use, VersionResults
from planning.simulate.scalers import Scaler, Seen


class Balancing(StrEnum):
    """Which replica gets the next request. Istio's LEAST_REQUEST is the last one.

    https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers
    """

    ROUND_ROBIN = "round-robin"
    LEAST_OUTSTANDING = "least-outstanding"
    LEAST_OF_TWO = "least-of-two"


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """One deployed version: how its replicas compute, its share of the requests, who scales it.

    `floor` replicas are on-demand and always there; the scaler's number includes them.
    """

    name: str
    timing: Timing
    limits: Limits
    scaler: Callable[[], Scaler]
    share: float = 1.0
    floor: int = 0
    initial: int = 0
    """Replicas that are there at the start, the floor included."""
    workload: str = ""
    """The Deployment of those that are scaled."""
    rules: tuple[RecordingRule, ...] = ()
    """What Prometheus records of what it scrapes, after each scrape: what the scaler asks for."""
    batching: Batching = Batching.CONTINUOUS


@dataclass(frozen=True, kw_only=True, slots=True)
class Supply:
    """Where nodes come from: in which order they are tried, and what may go wrong. Losses are of spot nodes only."""

    order: tuple[Provisioning, ...] = (Provisioning.ON_DEMAND,)
    losses_per_day: float = 0.0
    """Of one spot node, at random."""
    losses: tuple[float, ...] = ()
    """Seconds at which all spot nodes of the moment are called back: a trace instead of chance, or beside it."""
    zones: int = 1
    """Among which spot nodes are spread at random."""
    zone_losses_per_day: float = 0.0
    """Times a day, at random, at which a zone loses all its spot nodes at once; of each zone."""
    outages_per_day: float = 0.0
    """Times in which there is no spot node to be had, at random."""
    outage_hours: float = 0.0
    """Their mean length."""
    outages: tuple[tuple[float, float], ...] = ()
    """Such times as a trace: from and to, in seconds."""
    fallback_seconds: float = 0.0
    """How long it takes to see that there is none, until the next in the order is tried."""
    retry_seconds: float = 300.0
    """How long until the first is tried again where there is no other. GKE backs off from 5 to 30 minutes."""
    tail_seconds: float = 0.0
    """How long an empty node stays."""

    def __post_init__(self) -> None:
        """Refuse what would never end: trying again at once, and outages without a length."""
        if self.retry_seconds <= 0:
            raise ValueError(f"retry_seconds must be more than 0: {self.retry_seconds}")
        if self.outages_per_day > 0 and self.outage_hours <= 0:
            raise ValueError(f"outages need a length, and outage_hours is {self.outage_hours}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Stopping:
    """How a replica stops, in seconds: planning.drain. On a spot node all of it has to fit into `spot_window`."""

    pre_stop: float = PRE_STOP_SECONDS
    engine: float = 90.0
    spot_window: float | None = None
    endpoint_lag: float = 1.0
    """Until the gateway has heard that a pod is being deleted."""
    spot_endpoint_lag: float = 10.0
    """Until it has heard that a node shuts down, where the pod stays an endpoint for longer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Callers:
    """What a caller does when nobody is there (503) or the engine is full (429): wait, ask again, and at last give up.

    `retry_after` is what they are told, or do of their own; `spread` of it is drawn anew each time.
    """

    retry_after: float = 10.0
    spread: float = 0.2
    patience: float = 1_800.0
    """Seconds from the first attempt."""

    def __post_init__(self) -> None:
        """Refuse callers who ask again at once, or for ever: a run with nobody there would not end."""
        if self.retry_after <= 0 or not 0 <= self.patience < math.inf:
            raise ValueError(f"callers wait for {self.retry_after} s at a time, and {self.patience} s in all")


@dataclass(frozen=True, kw_only=True, slots=True)
class Gateway:
    """What the gateway does of its own: how often it tries, and which replicas it leaves out for a while."""

    attempts: int = 1
    """A request that no engine has seen is tried on another replica each time."""
    ejected_after: int | None = None
    """Connections refused in a row until a replica is left out; None never leaves one out."""
    ejection_seconds: float = 30.0
    most_ejected: float = 0.1
    """The part of the replicas that may be left out at once; one always may."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """What the scraped series are called, and their labels: Istio's, an engine's, those of kube-state-metrics."""

    namespace: str = "models"
    service: str = "model"
    app: str = "model"
    job: str = "models/merged-metrics"
    gateway_workload: str = "istio-ingressgateway"
    gateway_namespace: str = "istio-ingress"
    gateway_job: str = "istio-ingress/merged-metrics"
    queue: str | None = None
    """The engine's gauge of requests that wait, as `in_flight` is of those that run; None where it tells none."""
    in_flight: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Absences:
    """When Prometheus and KEDA are away: from and to, in seconds."""

    prometheus: tuple[tuple[float, float], ...] = ()
    keda: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Platform:
    """Everything about a model's serving that does not depend on who asks."""

    versions: tuple[Version, ...]
    supply: Supply = Supply()
    cold_start: ColdStart = NO_COLD_START
    stopping: Stopping = Stopping()
    callers: Callers = Callers()
    balancing: Balancing = Balancing.LEAST_OF_TWO
    gateway: Gateway = Gateway()
    series: Series = Series()
    absences: Absences = Absences()
    gpus: int = 1
    """Of one replica."""


KUBE_STATE_METRICS_SECONDS = 30.0
"""How often it is scraped: kube-prometheus-stack's own interval."""

_Sample = tuple[str, Mapping[str, str], float]


class _State(StrEnum):
    PENDING = "pending"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    GONE = "gone"


@dataclass(slots=True, eq=False)
class _Node:
    provisioning: Provisioning
    zone: int = 0
    pod: "_Pod | None" = None
    since: float = 0.0
    """Begin of what it is paid for at present."""
    empty_since: float = 0.0
    gone: bool = False
    called_back: bool = False


@dataclass(slots=True, eq=False)
class _Pod:
    group: "_Group"
    is_floor: bool
    state: _State = _State.PENDING
    node: _Node | None = None
    replica: Replica | None = None
    ready_at: float = math.inf
    name: str = ""
    accepting: bool = False
    failures: int = 0
    ejected_until: float = 0.0
    shut_down: bool = False
    """Whether it stops because its node was called back."""
    busy_booked: float = 0.0
    busy_seen: float = 0.0
    due: float = math.inf
    """When the replica's next event stands in the heap."""


@dataclass(slots=True, eq=False)
class _Group:
    """One version's Deployments."""

    version: Version
    scaler: Scaler
    results: VersionResults
    wanted: int
    pods: list[_Pod] = field(default_factory=list)
    endpoints: list[_Pod] = field(default_factory=list)
    ejected_until: float = 0.0
    """When the last of those that are left out is back."""
    turn: int = 0
    seen: Seen | None = None


class Simulation:
    """One run. `run` may be called once."""

    def __init__(self, platform: Platform, *, seconds: float, seed: int = 0) -> None:
        """Set the platform up as it is at the start; nodes are paid for until `seconds`."""
        self._platform, self._horizon, self._now = platform, seconds, 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self._choice, self._balance, self._starts, self._losses, self._outages, self._waits = (
            Random(f"{seed}/{stream}")  # noqa: S311  (no secret)
            for stream in ("choice", "balance", "starts", "losses", "outages", "waits")
        )
        self._zones, self._zone_losses = (Random(f"{seed}/{stream}") for stream in ("zones", "zone losses"))  # noqa: S311
        self._nodes: list[_Node] = []
        self._inside, self._inside_since, self._area, self._stay = 0, 0.0, 0.0, 0.0
        self._answered = self._ended = self._ended_before = self._pods = 0
        self._prometheus = Prometheus()
        self._told: list[_Sample] = []
        self._told_at = -math.inf
        self._spot_outages = sorted(platform.supply.outages)
        self._out_until = 0.0
        self.results = Results(seconds=seconds, gpus=platform.gpus)
        self._groups = [self._group(version) for version in platform.versions]
        for group in self._groups:
            self._begin(group)
        self._shares = [group.version.share for group in self._groups]
        for at in platform.supply.losses:
            self._at(at, self._lose_all)
        if platform.supply.zone_losses_per_day:
            for zone in range(platform.supply.zones):
                self._draw_zone_loss(zone)
        if platform.supply.outages_per_day:
            self._draw_outage()
        self._at(0.0, self._tick)
        self._at(seconds, self._pay_all)

    def _group(self, version: Version) -> _Group:
        results = VersionResults()
        self.results.versions[version.name] = results
        return _Group(version=version, scaler=version.scaler(), results=results, wanted=version.initial)

    def _begin(self, group: _Group) -> None:
        version = group.version
        for number in range(max(version.initial, version.floor)):
            pod = self._new_pod(group, is_floor=number < version.floor)
            provisioning = Provisioning.ON_DEMAND if pod.is_floor else self._platform.supply.order[0]
            self._place(pod, self._new_node(provisioning))
            self._ready(pod)
        group.wanted = len(group.pods)
        self._note()

    # The loop

    def run(self, requests: Iterable[Request]) -> Results:
        """Serve requests, sorted by time, until the last has gone. Raises ValueError where they are not sorted."""
        heap, arrivals = self._heap, iter(requests)
        following = next(arrivals, None)
        while True:
            if following is not None and (not heap or following.at <= heap[0][0]):
                if following.at < self._now:
                    raise ValueError(f"requests must be sorted by time: {following.at} comes after {self._now}")
                self._now = following.at
                self._count(+1)
                self.results.arrived += 1
                self._ask(following, knocked=False)
                following = next(arrivals, None)
            else:
                if following is None and not self._inside and heap[0][0] > self._horizon:
                    break
                self._now, _, action = heapq.heappop(heap)
                action()
        self._close()
        return self.results

    def _at(self, time: float, action: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (time, self._sequence, action))

    def _count(self, change: int) -> None:
        self._area += self._inside * (self._now - self._inside_since)
        self._inside_since = self._now
        self._inside += change

    def _leave(self, request: Request) -> None:
        self._stay += self._now - request.at
        self._count(-1)

    def _close(self) -> None:
        results = self.results
        results.mean_in_system = self._area / self._now if self._now else 0.0
        counted = results.served + results.refused + results.cut + results.too_long
        if counted != results.arrived or not math.isclose(self._area, self._stay, rel_tol=1e-9, abs_tol=1e-6):
            raise AssertionError(
                f"{results.arrived} requests came and {counted} went; Little's law: {self._area} and {self._stay}"
            )

    # Requests

    def _ask(self, request: Request, *, knocked: bool) -> None:
        """Send a request to a replica, as the gateway does; `knocked`: it has found nobody before."""
        group = self._groups[0]
        if len(self._groups) > 1:
            group = self._choice.choices(self._groups, self._shares)[0]
        refusing: list[_Pod] = []
        for _ in range(self._platform.gateway.attempts):
            pod = self._pick(group, refusing)
            if pod is None:
                break
            if not pod.accepting or pod.replica is None:
                self.results.lingering += 1
                refusing.append(pod)
                self._refused(group, pod)
                continue
            pod.failures = 0
            served = pod.replica.offer(request, self._now)
            if served is not None:
                if knocked:
                    self.results.woken.append(self._now - request.at)
                if pod.replica.next_at < pod.due:
                    self._schedule(pod)
                return
            self._answered += 1
            self._ended += 1
            if not pod.replica.holds(request):
                self.results.too_long += 1
                self._leave(request)
                return
            self.results.overloaded += 1
            self._wait(request, knocked=knocked)
            return
        self._ended += 1
        self.results.knocks += 1
        self._wait(request, knocked=True)

    def _refused(self, group: _Group, pod: _Pod) -> None:
        """Leave out a replica that has refused too often, unless too many are left out already."""
        gateway = self._platform.gateway
        pod.failures += 1
        if gateway.ejected_after is None or pod.failures < gateway.ejected_after:
            return
        out = sum(other.ejected_until > self._now for other in group.endpoints)
        if out == 0 or (out + 1) / len(group.endpoints) <= gateway.most_ejected:
            pod.ejected_until = group.ejected_until = self._now + gateway.ejection_seconds
            pod.failures = 0

    def _pick(self, group: _Group, refusing: Sequence[_Pod]) -> _Pod | None:
        endpoints = group.endpoints
        if refusing or self._now < group.ejected_until:
            endpoints = [pod for pod in endpoints if pod not in refusing and pod.ejected_until <= self._now]
        count = len(endpoints)
        if count < 2:
            return endpoints[0] if endpoints else None
        match self._platform.balancing:
            case Balancing.ROUND_ROBIN:
                group.turn += 1
                return endpoints[group.turn % count]
            case Balancing.LEAST_OUTSTANDING:
                return min(endpoints, key=_outstanding)
            case Balancing.LEAST_OF_TWO:
                # Envoy draws both from all: they may be the same.
                first, second = (int(self._balance.random() * count) for _ in range(2))
                return min(endpoints[first], endpoints[second], key=_outstanding)

    def _wait(self, request: Request, *, knocked: bool) -> None:
        """Let the caller try again later, unless that would be too late."""
        callers = self._platform.callers
        after = callers.retry_after * (1 + callers.spread * self._waits.random())
        if self._now + after - request.at > callers.patience:
            self.results.refused += 1
            self._leave(request)
            return
        self._at(self._now + after, partial(self._ask, request, knocked=knocked))

    def _schedule(self, pod: _Pod) -> None:
        if pod.replica is not None and pod.replica.next_at < math.inf:
            pod.due = pod.replica.next_at
            self._at(pod.due, partial(self._advance, pod, pod.due))

    def _advance(self, pod: _Pod, due: float) -> None:
        if pod.due != due or pod.replica is None:
            return  # Something came first, and stands in the heap itself.
        pod.due = math.inf
        for served in pod.replica.advance():
            self._serve(pod.group, served)
        self._schedule(pod)
        if pod.state is _State.STOPPING and not pod.accepting and not pod.replica.outstanding:
            self._end(pod)

    def _serve(self, group: _Group, served: Served) -> None:
        request, results = served.request, self.results
        if served.begun is None or served.first_token is None:
            raise AssertionError("an answer that never began has ended")
        results.came.append(request.at)
        results.queue.append(served.begun - served.offered)
        results.first_token.append(served.first_token - request.at)
        results.whole.append(self._now - request.at)
        results.tokens += request.output_tokens
        results.at_first += served.offered == request.at
        group.results.served += 1
        self._answered += 1
        self._ended += 1
        self._leave(request)

    # Pods

    def _scale(self, group: _Group, wanted: int) -> None:
        """Add or take pods so that there are as many as wanted, those that were told to stop already left out."""
        group.wanted = max(wanted, group.version.floor)
        present = [pod for pod in group.pods if pod.state in (_State.PENDING, _State.STARTING, _State.READY)]
        floor = sum(pod.is_floor for pod in present)
        for _ in range(group.version.floor - floor):
            self._add(group, is_floor=True)
        elastic = [pod for pod in present if not pod.is_floor]
        missing = group.wanted - group.version.floor - len(elastic)
        # A pod on a node that was called back counts until it has ended, and only then has a successor.
        for _ in range(missing - sum(pod.shut_down for pod in group.pods)):
            self._add(group, is_floor=False)
        # Kubernetes takes first what does not serve yet, then what has served for the shortest time.
        elastic.sort(key=lambda pod: pod.ready_at, reverse=True)
        for pod in elastic[: max(0, -missing)]:
            self._stop(pod)
        self._note()

    def _add(self, group: _Group, *, is_floor: bool) -> None:
        self._find_node(self._new_pod(group, is_floor=is_floor), 0)

    def _new_pod(self, group: _Group, *, is_floor: bool) -> _Pod:
        self._pods += 1
        pod = _Pod(group=group, is_floor=is_floor, name=f"{group.version.workload}-{self._pods}")
        group.pods.append(pod)
        return pod

    def _find_node(self, pod: _Pod, place: int) -> None:
        """Put a pod onto an empty node, or buy one: the first kind in the order that is to be had."""
        if pod.state is not _State.PENDING:
            return
        supply = self._platform.supply
        order = (Provisioning.ON_DEMAND,) if pod.is_floor else supply.order
        for node in self._nodes:
            if node.pod is None and not node.gone and not node.called_back and node.provisioning in order:
                self._place(pod, node)
                self._start(pod, new_node=False)
                return
        wanted = order[place]
        if wanted is Provisioning.SPOT and self._spot_is_out():
            if place + 1 < len(order):
                self._at(self._now + supply.fallback_seconds, partial(self._find_node, pod, place + 1))
            else:
                self._at(self._now + supply.retry_seconds, partial(self._find_node, pod, 0))
            self.results.stock_outs += 1
            return
        self._place(pod, self._new_node(wanted))
        self._start(pod, new_node=True)

    def _new_node(self, provisioning: Provisioning) -> _Node:
        node = _Node(provisioning=provisioning, since=self._now)
        self._nodes.append(node)
        self.results.nodes += 1
        supply = self._platform.supply
        losses = supply.losses_per_day
        if provisioning is Provisioning.SPOT and supply.zones > 1:
            node.zone = self._zones.randrange(supply.zones)
        if provisioning is Provisioning.SPOT and losses:
            self._at(self._now + self._losses.expovariate(losses / DAY), partial(self._call_back, node))
        return node

    def _place(self, pod: _Pod, node: _Node) -> None:
        if node.pod is not None:
            raise AssertionError("two replicas on one node")
        self._pay(node)
        node.pod, pod.node, pod.state = pod, node, _State.STARTING

    def _start(self, pod: _Pod, *, new_node: bool) -> None:
        parts = self._platform.cold_start.draw(self._starts, new_node=new_node)
        self.results.starts.append(sum(parts.values()))
        self._note()
        self._at(self._now + self.results.starts[-1], partial(self._ready, pod))

    def _ready(self, pod: _Pod) -> None:
        if pod.state is not _State.STARTING or pod.node is None:
            return
        self._pay(pod.node)
        pod.state, pod.ready_at, pod.accepting = _State.READY, self._now, True
        pod.replica = Replica(pod.group.version.timing, pod.group.version.limits, pod.group.version.batching)
        pod.group.endpoints.append(pod)
        self._note()

    def _stop(self, pod: _Pod, *, window: float | None = None) -> None:
        """Tell a pod to stop; `window` is what a node that is called back leaves it."""
        stopping = self._platform.stopping
        if pod.state is _State.PENDING:
            pod.state = _State.GONE
            pod.group.pods.remove(pod)
            return
        if pod.state is _State.STARTING:
            self._end(pod)
            return
        if pod.node is None:
            raise AssertionError("a pod that serves has no node")
        self._pay(pod.node)
        pod.state, pod.shut_down = _State.STOPPING, window is not None
        self.results.stops += window is None
        self._note()
        lag = stopping.endpoint_lag if window is None else stopping.spot_endpoint_lag
        self._at(self._now + lag, partial(self._leave_out, pod))
        budget = stopping.pre_stop + stopping.engine
        kill = self._now + (budget if window is None else min(budget, window))
        self._at(min(self._now + stopping.pre_stop, kill), partial(self._refuse, pod))
        self._at(kill, partial(self._kill, pod))

    def _leave_out(self, pod: _Pod) -> None:
        if pod in pod.group.endpoints:
            pod.group.endpoints.remove(pod)

    def _refuse(self, pod: _Pod) -> None:
        """The engine closes its port and goes on with what it has."""
        if pod.state is _State.STOPPING and pod.replica is not None:
            pod.accepting = False
            if not pod.replica.outstanding:
                self._end(pod)

    def _kill(self, pod: _Pod) -> None:
        if pod.state is not _State.STOPPING or pod.replica is None:
            return
        for served in pod.replica.stop(self._now):
            if served.first_token is None:
                # Nothing of an answer has gone out: the caller asks again.
                self._answered += 1
                self._ended += 1
                self.results.reset += 1
                self._wait(served.request, knocked=False)
                continue
            self.results.cut += 1
            self.results.cut_after.append(self._now - served.offered)
            self.results.cuts.append(self._cut(pod, served))
            self._answered += 1
            self._ended += 1
            self._leave(served.request)
        self._end(pod)

    def _cut(self, pod: _Pod, served: Served) -> Cut:
        return Cut(
            at=self._now,
            version=pod.group.version.name,
            seconds=self._now - served.offered,
            called_back=pod.node is not None and pod.node.called_back,
        )

    def _end(self, pod: _Pod) -> None:
        node = pod.node
        if node is None:
            raise AssertionError("a pod that ran has no node")
        self._pay(node)
        self._leave_out(pod)
        pod.state, pod.accepting, pod.node, node.pod, pod.due = _State.GONE, False, None, None, math.inf
        pod.group.pods.remove(pod)
        self._note()
        if node.called_back:
            # Its pod is replaced now: while it was shutting down, it still counted.
            self._drop(node)
            self._scale(pod.group, pod.group.wanted)
        else:
            node.empty_since = self._now
            self._at(self._now + self._platform.supply.tail_seconds, partial(self._drop, node, self._now))

    # Nodes

    def _drop(self, node: _Node, empty_since: float | None = None) -> None:
        """Give a node back, unless it has a pod again."""
        if node.gone or node.pod is not None or empty_since not in {None, node.empty_since}:
            return
        self._pay(node)
        node.gone = True
        self._nodes.remove(node)

    def _call_back(self, node: _Node) -> None:
        """Google takes a spot node: its pod has the window, and then both are gone."""
        if node.gone or node.called_back:
            return
        node.called_back = True
        self.results.losses += self._now <= self._horizon
        self.results.lost.append(self._loss(node.pod))
        pod, window = node.pod, self._platform.stopping.spot_window or 0.0
        if pod is None:
            self._drop(node)
        elif pod.state is _State.STOPPING:
            self._at(self._now + window, partial(self._kill, pod))
        else:
            self._stop(pod, window=window)

    def _loss(self, pod: _Pod | None) -> Loss:
        if pod is None:
            return Loss(at=self._now, version=None, serving=False, ready=0)
        return Loss(
            at=self._now,
            version=pod.group.version.name,
            serving=pod.state is _State.READY,
            ready=sum(other.state is _State.READY for other in pod.group.pods),
        )

    def _draw_zone_loss(self, zone: int) -> None:
        after = self._zone_losses.expovariate(self._platform.supply.zone_losses_per_day / DAY)
        self._at(self._now + after, partial(self._lose_zone, zone))

    def _lose_zone(self, zone: int) -> None:
        for node in [node for node in self._nodes if node.provisioning is Provisioning.SPOT and node.zone == zone]:
            self._call_back(node)
        self._draw_zone_loss(zone)

    def _lose_all(self) -> None:
        for node in [node for node in self._nodes if node.provisioning is Provisioning.SPOT]:
            self._call_back(node)

    def _draw_outage(self) -> None:
        begin = self._now + self._outages.expovariate(self._platform.supply.outages_per_day / DAY)
        self._at(begin, self._begin_outage)

    def _begin_outage(self) -> None:
        length = self._outages.expovariate(1 / (self._platform.supply.outage_hours * HOUR))
        self._out_until = self._now + length
        self._at(self._out_until, self._draw_outage)

    def _spot_is_out(self) -> bool:
        return self._now < self._out_until or _within(self._spot_outages, self._now)

    def _pay_all(self) -> None:
        for node in self._nodes:
            self._pay(node)

    def _pay(self, node: _Node) -> None:
        """Book a node's time since it was booked last, by what it was used for, up to the horizon."""
        seconds, node.since = min(self._now, self._horizon) - node.since, self._now
        if seconds <= 0:
            return
        pod, booked = node.pod, self.results.node_seconds
        if pod is None:
            booked[node.provisioning, Use.EMPTY] += seconds
        elif pod.state is _State.STOPPING:
            booked[node.provisioning, Use.DRAINING] += seconds
        elif pod.replica is None:
            booked[node.provisioning, Use.STARTING] += seconds
        else:
            busy = pod.replica.busy_by(self._now)
            serving, pod.busy_booked = min(busy - pod.busy_booked, seconds), busy
            booked[node.provisioning, Use.SERVING] += serving
            booked[node.provisioning, Use.IDLE] += seconds - serving

    def _note(self) -> None:
        """Write down how many replicas there are, for the picture."""
        for group in self._groups:
            ready = sum(pod.state is _State.READY for pod in group.pods)
            starting = sum(pod.state in (_State.STARTING, _State.PENDING) for pod in group.pods)
            moment = Moment(at=self._now, wanted=group.wanted, ready=ready, starting=starting)
            if not group.results.moments or group.results.moments[-1][1:] != moment[1:]:
                group.results.moments.append(moment)

    # Measuring and deciding

    def _tick(self) -> None:
        """Decide by the last scrape, then scrape."""
        absences = self._platform.absences
        if not _within(absences.keda, self._now):
            for group in self._groups:
                if group.seen is not None:
                    self._decide(group, group.seen)
        answers = not _within(absences.prometheus, self._now)
        if answers:
            self._prometheus.scrape(self._now, self._samples())
            for group in self._groups:
                self._prometheus.record(self._now, group.version.rules)
        active = self._ended > self._ended_before or any(
            pod.replica.outstanding for group in self._groups for pod in group.pods if pod.replica is not None
        )
        self._ended_before = self._ended
        for group in self._groups:
            self._see(group, self._prometheus if answers else None, active=active)
        self._at(self._now + POLLING_SECONDS, self._tick)

    def _samples(self) -> Iterator[_Sample]:
        """Give what is scraped: of the gateway, of the pods, and of the Deployments by kube-state-metrics."""
        if self._now >= self._told_at + KUBE_STATE_METRICS_SECONDS:
            self._told, self._told_at = list(self._deployments()), self._now
        yield from self._told
        series = self._platform.series
        yield "up", {"job": series.gateway_job, "namespace": series.gateway_namespace, "pod": "gateway"}, 1.0
        for flags, code, count in (("-", "200", self._answered), ("UH", "503", self._ended - self._answered)):
            if count:
                yield "istio_requests_total", _at_gateway(series, flags, code), float(count)
        for group in self._groups:
            version = group.version
            for pod in group.pods:
                of = {"namespace": series.namespace, "app": series.app, "version": version.name, "pod": pod.name}
                if pod.state is not _State.PENDING:
                    yield "up", {"job": series.job, **of}, 1.0
                if pod.replica is not None:
                    if series.queue is not None:
                        yield series.queue, of, float(len(pod.replica.waiting))
                    if series.in_flight is not None:
                        yield series.in_flight, of, float(pod.replica.in_flight)

    def _deployments(self) -> Iterator[_Sample]:
        for group in self._groups:
            version, namespace = group.version, self._platform.series.namespace
            deployment = {"namespace": namespace, "deployment": version.workload}
            wanted = group.wanted - version.floor
            ready = sum(pod.state is _State.READY and not pod.is_floor for pod in group.pods)
            yield "kube_deployment_spec_replicas", deployment, float(wanted)
            yield "kube_deployment_status_replicas_unavailable", deployment, float(max(0, wanted - ready))

    def _see(self, group: _Group, prometheus: Prometheus | None, *, active: bool) -> None:
        ready, gained = 0, 0.0
        for pod in group.pods:
            if pod.state is _State.READY and pod.replica is not None:
                ready += 1
                before, pod.busy_seen = pod.busy_seen, pod.replica.busy_by(self._now)
                gained += pod.busy_seen - before
        share = min(1.0, gained / (POLLING_SECONDS * ready)) if ready else 0.0
        before = group.seen.utilization if group.seen is not None else 0.0
        group.seen = Seen(
            now=self._now,
            replicas=group.wanted,
            ready=ready,
            active=active,
            # A mean over about a minute, without keeping the minute.
            utilization=before + (share - before) / 4,
            prometheus=prometheus,
        )

    def _decide(self, group: _Group, seen: Seen) -> None:
        wanted = group.scaler.wanted(seen)
        if wanted != group.wanted:
            self._scale(group, wanted)


def _within(times: Iterable[tuple[float, float]], now: float) -> bool:
    return any(begin <= now < end for begin, end in times)


def _at_gateway(series: Series, flags: str, code: str) -> Mapping[str, str]:
    """Label what Istio's gateway counts of its requests."""
    return {
        "reporter": "source",
        "source_workload": series.gateway_workload,
        "source_workload_namespace": series.gateway_namespace,
        "destination_service_name": series.service,
        "destination_service_namespace": series.namespace,
        "response_flags": flags,
        "response_code": code,
        "pod": "gateway",
    }


def _outstanding(pod: _Pod) -> int:
    return pod.replica.outstanding if pod.replica is not None else 0


def simulate(platform: Platform, requests: Iterable[Request], *, seconds: float, seed: int = 0) -> Results:
    """Run a platform once against requests that are sorted by time; cost is counted for `seconds`."""
    return Simulation(platform, seconds=seconds, seed=seed).run(requests)
