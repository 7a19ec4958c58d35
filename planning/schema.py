"""What a stack may declare: the types of every setting, with their limits and, inside `models[]`, their defaults.

The scalars' defaults are in `Pulumi.yaml`, where the Pulumi engine applies them, and nowhere else. Names in a stack
file are camelCase. Every object refuses a key that it does not know.
"""

import ipaddress
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from catalog.gpu_machines import GpuType


class Capacity(StrEnum):
    """Which kinds of GPU machine a pod may land on, and in which order."""

    SPOT = "spot"
    ON_DEMAND = "on-demand"
    SPOT_WITH_FALLBACK = "spot-with-fallback"


class EngineName(StrEnum):
    """The inference server of a model: Text Generation Inference, or any image that serves HTTP."""

    TGI = "tgi"
    CUSTOM = "custom"


class TokenSource(StrEnum):
    """Where the Hugging Face token comes from."""

    SECRET_MANAGER = "secret-manager"  # noqa: S105  (a source, not a secret)
    CONFIG = "config"
    NONE = "none"


class Wrong(ValueError):  # noqa: N818  (it is the value that is wrong)
    """A value that cannot be, with what to write instead."""

    def __init__(self, reason: str, fix: str) -> None:
        """Say both for a person."""
        super().__init__(reason)
        self.fix = fix


def _network(text: str) -> str:
    try:
        ipaddress.IPv4Network(text)
    except ValueError as error:
        raise Wrong(
            f"is not an IPv4 range: {error}", "write one as 10.0.0.0/20, with zeros where hosts would be"
        ) from error
    return text


def _label(maximum: int) -> StringConstraints:
    return StringConstraints(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=maximum)


Network = Annotated[str, AfterValidator(_network)]
"""An IPv4 range in CIDR notation, host bits zero."""

# A pod is called `<model>-<version>-` and 16 characters more, and 63 is the limit of a name that is also a host's.
ModelName = Annotated[str, _label(30)]
VersionName = Annotated[str, _label(12)]
MetricName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]
LabelName = MetricName
Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
HttpPath = Annotated[str, StringConstraints(pattern=r"^/[!-~]*$")]
Image = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][!-~]*$")]


def _free(name: str) -> str:
    if name in TAKEN_VARIABLES:
        raise Wrong(f"{name} is set by llmserve or by the node: {TAKEN_VARIABLES[name]}", "leave it out")
    return name


TAKEN_VARIABLES = {
    "HF_TOKEN": "a token in a stack file is in clear; huggingFaceTokenFrom says where it comes from",
    "HUGGING_FACE_HUB_TOKEN": "a token in a stack file is in clear; huggingFaceTokenFrom says where it comes from",
    "LD_LIBRARY_PATH": "the driver is found by it",
    "MODEL_ID": "repository",
    "REVISION": "revision",
    "PORT": "port",
    "NUM_SHARD": "gpu.tensorParallel",
    "QUANTIZE": "quantize",
    "DTYPE": "dtype",
    "GRACEFUL_TERMINATION_TIMEOUT": "drainSeconds",
    "MAX_CONCURRENT_REQUESTS": "batching.maxConcurrentRequests",
    "MAX_INPUT_TOKENS": "batching.maxInputTokens",
    "MAX_TOTAL_TOKENS": "batching.maxTotalTokens",
    "MAX_BATCH_PREFILL_TOKENS": "batching.maxBatchPrefillTokens",
    "MAX_BATCH_SIZE": "batching.maxBatchSize",
}
"""Environment variables that a stack may not set, each with the setting or the reason that stands for it."""

EnvironmentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$"), AfterValidator(_free)]


def _no_truth(value: object) -> object:
    if isinstance(value, bool):
        raise Wrong("is true or false", "a number")
    return value


# Not strict: `pulumi config set --path` writes 2.5 as text. But `true` is not 1.
_Number = Annotated[float, Field(strict=False, allow_inf_nan=False), BeforeValidator(_no_truth)]
Share = Annotated[_Number, Field(gt=0, lt=100)]
Seconds = Annotated[_Number, Field(gt=0)]
# KEDA counts in thousandths.
Rate = Annotated[_Number, Field(ge=0.001)]


class Declared(BaseModel):
    """A part of a stack's settings: frozen, camelCase outside, no unknown key, no silent change of type."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, strict=True)


class Gpu(Declared):
    """The cards of one replica, all in one machine. TGI shards the model over exactly so many GPUs."""

    type: Annotated[GpuType, Field(strict=False)]
    tensor_parallel: Annotated[int, Field(ge=1, le=16)] = 1


class Objective(Declared):
    """What callers are promised: the share of requests answered without an error of ours, and the 95th percentile."""

    availability: Share
    p95_seconds: Seconds


class Scaling(Declared):
    """How many replicas, on which signal: requests a second at the gateway, or requests waiting in the engine."""

    driver: Literal["keda"] = "keda"
    min: Annotated[int, Field(ge=0)] = 0
    max: Annotated[int, Field(ge=1)]
    idle_minutes: Annotated[int, Field(ge=1)] = 15
    requests_per_second_per_replica: Rate | None = None
    normal_requests_per_second: Rate | None = None
    queue_per_replica: Annotated[int | None, Field(ge=1)] = None

    @model_validator(mode="after")
    def _one_signal(self) -> Self:
        by_rate = self.requests_per_second_per_replica is not None
        if by_rate == (self.queue_per_replica is not None):
            raise Wrong(
                "needs exactly one of requestsPerSecondPerReplica and queuePerReplica", "keep the signal to scale on"
            )
        if by_rate != (self.normal_requests_per_second is not None):
            raise Wrong(
                "requestsPerSecondPerReplica and normalRequestsPerSecond go together: neither says much alone",
                "write both, or neither",
            )
        if self.min > self.max:
            raise Wrong(f"min {self.min} is above max {self.max}", f"min at most {self.max}")
        return self


class Batching(Declared):
    """TGI's limits. Left out, TGI measures the card at start and chooses: that is the advice of its own documentation.

    What TGI 3 ignores is no setting: waiting_served_ratio, max_waiting_tokens, max_batch_total_tokens.

    https://github.com/huggingface/text-generation-inference/blob/main/docs/source/reference/launcher.md
    """

    max_concurrent_requests: Annotated[int | None, Field(ge=1)] = None
    max_input_tokens: Annotated[int | None, Field(ge=1)] = None
    max_total_tokens: Annotated[int | None, Field(ge=1)] = None
    max_batch_prefill_tokens: Annotated[int | None, Field(ge=1)] = None
    max_batch_size: Annotated[int | None, Field(ge=1)] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        """What TGI's launcher itself refuses, minutes later and on a GPU."""
        whole, question = self.max_total_tokens, self.max_input_tokens
        if whole is not None and question is not None and question >= whole:
            reason = f"maxInputTokens {question} leaves nothing of maxTotalTokens {whole} to answer with"
            raise Wrong(reason, f"maxInputTokens below {whole}")
        return self


class Metrics(Declared):
    """The series of a custom engine, by name. `latencySeconds` is a histogram, named without `_bucket`."""

    path: HttpPath = "/metrics"
    requests: MetricName
    latency_seconds: MetricName
    in_flight: MetricName | None = None
    queue: MetricName | None = None
    averages: dict[MetricName, LabelName] = Field(default_factory=dict)
    """Gauges to show as an average, each with the label to split it by."""


class Version(Declared):
    """One deployed version of a model: what differs from the model itself, and its share of the traffic in percent."""

    name: VersionName
    weight: Annotated[int, Field(ge=0, le=100)]
    image: Image | None = None
    revision: Commit | None = None
    batching: Batching | None = None
    environment: dict[EnvironmentName, str] = Field(default_factory=dict)


class Rollout(Declared):
    """Which versions run, and how the gateway shares the traffic among them."""

    mode: Literal["canary"] = "canary"
    versions: Annotated[tuple[Version, ...], Field(min_length=1, strict=False)] = (Version(name="stable", weight=100),)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (total := sum(version.weight for version in self.versions)) != 100:
            raise Wrong(f"the weights of the versions add up to {total}, not to 100", "change the weights")
        names = [version.name for version in self.versions]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise Wrong(f"version {', '.join(repeated)} is named more than once", "give each its own name")
        return self


class Model(Declared):
    """One model that callers can ask, by whatever engine and on whatever cards."""

    name: ModelName
    engine: Annotated[EngineName, Field(strict=False)] = EngineName.TGI
    repository: Annotated[str | None, StringConstraints(pattern=r"^[\w.-]+/[\w.-]+$")] = None
    revision: Commit | None = None
    quantize: (
        Literal[
            "awq",
            "compressed-tensors",
            "eetq",
            "exl2",
            "fp8",
            "gptq",
            "marlin",
            "bitsandbytes-nf4",
            "bitsandbytes-fp4",
        ]
        | None
    ) = None
    dtype: Literal["float16", "bfloat16"] | None = None
    batching: Batching | None = None
    image: Image | None = None
    port: Annotated[int, Field(ge=1024, le=65535)] = 8080
    health_path: HttpPath | None = None
    run_as_root: bool = False
    metrics: Metrics | None = None
    environment: dict[EnvironmentName, str] = Field(default_factory=dict)
    gpu: Gpu
    slo: Objective | None = None
    scaling: Scaling
    rollout: Rollout = Rollout()
    startup_minutes: Annotated[int, Field(ge=1, le=120)] = 30
    """How long loading the weights may take before Kubernetes restarts the container."""
    drain_seconds: Annotated[int, Field(ge=0, le=3600)] = 90
    """How long running generations may go on after a replica was told to stop. TGI's own default is 90."""

    @model_validator(mode="after")
    def _engine_fits(self) -> Self:
        if self.engine is EngineName.TGI:
            wanted: dict[str, object] = {"repository": self.repository}
            foreign: dict[str, object] = {
                "healthPath": self.health_path,
                "metrics": self.metrics,
                "runAsRoot": self.run_as_root or None,
            }
        else:
            wanted = {"image": self.image, "healthPath": self.health_path, "metrics": self.metrics}
            foreign = {key: getattr(self, key) for key in ("repository", "revision", "quantize", "dtype", "batching")}
            for version in self.rollout.versions:
                name = f"rollout.versions[{version.name}]"
                foreign |= {f"{name}.revision": version.revision, f"{name}.batching": version.batching}
        missing = [key for key, value in wanted.items() if value is None]
        unused = [key for key, value in foreign.items() if value is not None]
        if self.scaling.queue_per_replica is not None and self.metrics is not None and self.metrics.queue is None:
            raise Wrong("scaling.queuePerReplica needs metrics.queue: KEDA has nothing else to ask", "name the gauge")
        if missing:
            raise Wrong(f"engine {self.engine} needs {' and '.join(missing)}", "add it")
        if unused:
            raise Wrong(f"engine {self.engine} does not read {' or '.join(unused)}", "leave it out")
        return self

    @model_validator(mode="after")
    def _tgi_starts(self) -> Self:
        """What would not start: the sidecar has the port, or TGI says no (launcher/src/main.rs at v3.3.7)."""
        if self.engine is EngineName.TGI and self.port in _TGI_PORTS:
            raise Wrong(f"port {self.port} is one that TGI opens for itself", "another port, such as 8080")
        if 15000 <= self.port <= 15099:
            raise Wrong(f"port {self.port} is one of the sidecar's", "another port, such as 8080")
        if self.quantize is not None and self.dtype is not None:
            raise Wrong("quantize and dtype exclude each other in TGI", "keep one of them")
        if self.quantize == "exl2" and self.gpu.tensor_parallel > 1:
            raise Wrong("exl2 cannot be sharded", "another quantize, or tensorParallel 1")
        return self


_TGI_PORTS = (9000, 29500)
"""Its own Prometheus listener's, and the one by which its shards find each other."""


class Stack(Declared):
    """All that one stack declares, but for the value of a secret."""

    # From Pulumi's own namespace `gcp`.
    project: Annotated[str, StringConstraints(pattern=r"^[a-z][-a-z0-9]{4,28}[a-z0-9]$")]
    region: Annotated[str, StringConstraints(pattern=r"^[a-z]+-[a-z]+[0-9]+$")]
    # From ours, `llmserve`. 20: a service account's name is `<name>-nodes`, and Google allows 30.
    name: Annotated[str, _label(20)]
    capacity: Annotated[Capacity, Field(strict=False)]
    zones: Annotated[tuple[str, ...], Field(strict=False)]
    deletion_protection: bool
    cluster_generation: Annotated[int, Field(ge=1)]
    release_channel: Literal["RAPID", "REGULAR", "STABLE", "EXTENDED"]
    gpu_driver_version: Literal["default", "latest"]
    spot_shutdown_grace_seconds: Literal[30, 120]
    node_range: Network
    pod_range: Network
    service_range: Network
    control_plane_range: Network
    system_machine_type: Annotated[str, StringConstraints(pattern=r"^[a-z][0-9a-z]*(-[0-9a-z]+)+$")]
    system_min_nodes: Annotated[int, Field(ge=1)]
    system_max_nodes: Annotated[int, Field(ge=1)]
    gateway_exposure: Literal["internal", "external"]
    domain: Annotated[str, StringConstraints(pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?\.)+[a-z]{2,}$", max_length=200)]
    hugging_face_token_from: Annotated[TokenSource, Field(strict=False)]
    hugging_face_token_secret: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,255}$")]
    models: Annotated[tuple[Model, ...], Field(strict=False)]
