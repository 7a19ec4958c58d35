"""What a stack may declare: the types of every setting, with their limits and, inside `models[]`, their defaults.

The scalars' defaults are in `Pulumi.yaml`, where the Pulumi engine applies them, and nowhere else. Names in a stack
file are camelCase. Every object refuses a key that it does not know.
"""

import ipaddress
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from catalog.gpu_machines import GpuType
from monitoring.engine_metrics import WORDS
from planning.policies import EVERY, Level, Policy


class Capacity(StrEnum):
    """Which kinds of GPU machine a pod may land on, and in which order."""

    SPOT = "spot"
    ON_DEMAND = "on-demand"
    SPOT_WITH_FALLBACK = "spot-with-fallback"


class Migration(StrEnum):
    """What a changed `capacity` does with pods that run."""

    NONE = "none"
    ROLLING = "rolling"


class EngineName(StrEnum):
    """The inference server of a model: Text Generation Inference, vLLM, or any image that serves HTTP."""

    TGI = "tgi"
    VLLM = "vllm"
    CUSTOM = "custom"


class TokenSource(StrEnum):
    """Where the Hugging Face token comes from."""

    SECRET_MANAGER = "secret-manager"  # noqa: S105  (a source, not a secret)
    CONFIG = "config"
    NONE = "none"


class WeightsFrom(StrEnum):
    """Where a model's replicas read its weights: each from the hub, or all from a bucket of the stack's own."""

    HUB = "hub"
    BUCKET = "bucket"


class Wrong(ValueError):  # noqa: N818  (it is the value that is wrong)
    """A value that cannot be, with what to write instead."""

    def __init__(self, reason: str, fix: str) -> None:
        """Say both for a person."""
        super().__init__(reason)
        self.fix = fix


def _network(text: str) -> str:
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as error:
        raise Wrong(
            f"is not an IPv4 range: {error}", "write one as 10.0.0.0/20, with zeros where hosts would be"
        ) from error
    if network.is_loopback or network.is_multicast or network.is_link_local or network.is_unspecified:
        raise Wrong("is a range that no network of Google's takes", "a private range, such as 10.0.0.0/20")
    return text


def _label(maximum: int) -> StringConstraints:
    return StringConstraints(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=maximum)


Network = Annotated[str, AfterValidator(_network)]
"""An IPv4 range in CIDR notation, host bits zero."""

# A pod is called `<model>-<version>-` and 16 characters more, and 63 is the limit of a name that is also a host's.
ModelName = Annotated[str, _label(30)]
VersionName = Annotated[str, _label(12)]
LabelName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]
Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
MachineType = Annotated[str, StringConstraints(pattern=r"^[a-z][0-9a-z]*(-[0-9a-z]+)+$")]
ReservationName = Annotated[
    str,
    StringConstraints(
        pattern=r"^(projects/[a-z][-a-z0-9]{4,28}[a-z0-9]/reservations/)?[a-z]([-a-z0-9]{0,61}[a-z0-9])?$"
    ),
]
HttpPath = Annotated[str, StringConstraints(pattern=r"^/[!-~]*$")]
Image = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][!-~]*$")]


def _no_word(name: str) -> str:
    if name.lower() in WORDS:
        raise Wrong("is a word of PromQL", "another name")
    return name


MetricName = Annotated[LabelName, AfterValidator(_no_word)]


EnvironmentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


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


class NotRead(Exception):  # noqa: N818  (it is a state, not an error)
    """A setting that could not be read was asked for: what depends on it cannot be judged."""


WHAT_CAN_BE_READ = {"what can be read": True}
"""Validation context that leaves out what is wrong instead of refusing the whole; asking for it raises NotRead.

So that the rules between settings are judged beside a mistake somewhere else, and all problems are told at once.
"""
_LEFT_OUT = object()


class Declared(BaseModel):
    """A part of a stack's settings: frozen, camelCase outside, no unknown key, no silent change of type."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _with_gaps(cls, written: Any, info: ValidationInfo) -> Any:
        if info.context is not WHAT_CAN_BE_READ or isinstance(written, cls):
            return written
        keys = {field.alias or name: field for name, field in cls.model_fields.items()}
        if not isinstance(written, dict):
            return dict.fromkeys(keys, _LEFT_OUT)
        return {
            key: written.get(key, _LEFT_OUT) for key, field in keys.items() if key in written or field.is_required()
        }

    @field_validator("*", mode="wrap")
    @classmethod
    def _or_left_out(cls, written: Any, read: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        if info.context is not WHAT_CAN_BE_READ:
            return read(written)
        try:
            return read(written)
        except ValidationError:
            return _LEFT_OUT

    @model_validator(mode="after")
    def _without_gaps(self) -> Self:
        for name in [name for name, value in self.__dict__.items() if value is _LEFT_OUT]:
            del self.__dict__[name]
        return self

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in type(self).model_fields:
                raise NotRead(name)
            return super().__getattr__(name)


def read(declared: Declared, field: str) -> object:
    """Get a setting, or None where it could not be read."""
    try:
        value: object = getattr(declared, field)
    except NotRead:
        return None
    return value


class Gpu(Declared):
    """The cards of one replica, all in one machine. The engine shards the model over exactly so many GPUs."""

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
    idle_minutes: Annotated[int, Field(ge=2, le=1440)] = 15
    """At least the window over which requests are counted; at most a day, so far Prometheus looks back at each poll."""
    base_on_demand_replicas: Annotated[int, Field(ge=0)] = 0
    """The floor: so many of them are on on-demand nodes and always there, whatever `capacity` says."""
    dynamic_on_demand_fallback: bool | None = None
    """Whether on-demand nodes stand in while there is no spot node; unset, as `capacity` says."""
    requests_per_second_per_replica: Rate | None = None
    normal_requests_per_second: Rate | None = None
    queue_per_replica: Annotated[int | None, Field(ge=1)] = None


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


class Model(Declared):
    """One model that callers can ask, by whatever engine and on whatever cards."""

    name: ModelName
    engine: Annotated[EngineName, Field(strict=False)] = EngineName.TGI
    repository: Annotated[str | None, StringConstraints(pattern=r"^[\w.-]+/[\w.-]+$")] = None
    revision: Commit | None = None
    architecture: Annotated[str | None, StringConstraints(pattern=r"^[\w./-]+$")] = None
    """The shape of the network, for the memory check: a name in the catalogue, or the path of a `config.json`."""
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
    batch_tolerant: bool = False
    """Whether callers can wait or ask again when replicas go away: it may live on spot nodes alone."""
    slo: Objective | None = None
    scaling: Scaling
    rollout: Rollout = Rollout()
    startup_minutes: Annotated[int, Field(ge=1, le=120)] = 30
    """How long loading the weights may take before Kubernetes restarts the container."""
    milliseconds_per_token: Annotated[_Number | None, Field(gt=0)] = None
    """How long one token of an answer takes under load, as measured: with the token limits, the longest generation."""
    drain_seconds: Annotated[int | None, Field(ge=0, le=3600)] = None
    """How long running generations may go on after a replica was told to stop; unset, as long as the longest takes."""


class Usage(Declared):
    """When models are used, and how spot behaves: what a price rests on, for the report, the forecast and its alert.

    The defaults are those of the task that this project was made for, 200 hours a month in days of eight; how often
    spot is not to be had and is called back nobody publishes, so those two are assumptions, and yours to correct.
    """

    hours_a_day: Annotated[float, Field(ge=0, le=24, allow_inf_nan=False)] = 8.0
    """On a day of use."""
    days_a_month: Annotated[float, Field(ge=0, le=30, allow_inf_nan=False)] = 25.0
    on_demand_share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.1
    """Of the hours in which on-demand nodes stand in for spot ones, where they may."""
    losses_per_day: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] = 1.0
    """How often a spot node is called back."""


def _ascending(thresholds: tuple[float, ...]) -> tuple[float, ...]:
    if any(one >= following for one, following in pairwise(thresholds)):
        raise Wrong("is not in ascending order", "each threshold once, the smallest first")
    return thresholds


class MonthlyBudget(Declared):
    """What the project should cost in a calendar month at the most, and when its billing account is told."""

    billing_account: Annotated[str, StringConstraints(pattern=r"^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$")]
    monthly_usd: Annotated[int, Field(gt=0)]
    """In whole US dollars, which has to be the billing account's currency."""
    thresholds: Annotated[
        tuple[Annotated[_Number, Field(gt=0)], ...], Field(strict=False, min_length=1), AfterValidator(_ascending)
    ] = (0.5, 0.9, 1.0)
    """Parts of the amount; 1 is all of it."""


def _rule(name: str) -> str:
    if name not in (EVERY, *Policy):
        raise Wrong("is no rule of the policy pack", f"one of {', '.join((EVERY, *Policy))}")
    return name


PolicyName = Annotated[str, AfterValidator(_rule)]


def _no_budget(written: object) -> object:
    return None if written == {} else written


class Stack(Declared):
    """All that one stack declares, but for the value of a secret."""

    # From Pulumi's own namespace `gcp`.
    project: Annotated[str, StringConstraints(pattern=r"^[a-z][-a-z0-9]{4,28}[a-z0-9]$")]
    region: Annotated[str, StringConstraints(pattern=r"^[a-z]+-[a-z]+[0-9]+$")]
    # From ours, `llmserve`. 20: a service account's name is `<name>-nodes`, and Google allows 30.
    name: Annotated[str, _label(20)]
    capacity: Annotated[Capacity, Field(strict=False)]
    migrate: Annotated[Migration, Field(strict=False)]
    flex_start: bool
    reservations: dict[MachineType, ReservationName]
    """By machine type: nodes that are paid for already, and tried first."""
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
    system_machine_type: MachineType
    system_min_nodes: Annotated[int, Field(ge=1)]
    system_max_nodes: Annotated[int, Field(ge=1)]
    gateway_exposure: Literal["internal", "external"]
    domain: Annotated[
        str, StringConstraints(pattern=r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$", max_length=200)
    ]
    hugging_face_token_from: Annotated[TokenSource, Field(strict=False)]
    hugging_face_token_secret: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,255}$")]
    weights_from: Annotated[WeightsFrom, Field(strict=False)]
    usage: Usage
    budget: Annotated[MonthlyBudget | None, BeforeValidator(_no_budget)]
    """None, where the setting is an empty object."""
    policies: dict[PolicyName, Annotated[Level, Field(strict=False)]]
    """Levels of the policy pack's rules by name, and by `default` of the others; mandatory where nothing is said."""
    max_usd_per_hour: Annotated[int, Field(ge=0)]
    """Of expected spending on GPU nodes, in whole US dollars; 0 sets no maximum."""
    models: Annotated[tuple[Model, ...], Field(strict=False)]
