"""Rules for an engine's container: what it needs, what it does not read, and what it would refuse on a paid GPU.

TGI's are those of its launcher and router, https://github.com/huggingface/text-generation-inference/tree/v3.3.7:
launcher/src/main.rs and backends/v3/src/main.rs.
"""

from collections.abc import Iterator, Mapping

from catalog.architectures import architecture_of
from planning.checks import vllm
from planning.given import Given
from planning.images import DOCKER_HUB, docker_hub, resolve
from planning.refusal import Problem
from planning.schema import Batching, EngineName, Model, TokenSource
from planning.serving import merged

TGI_PORTS = (9000, 29500)
"""Its own Prometheus listener's, and the one by which its shards find each other."""
SIDECAR_PORTS = range(15000, 15100)
"""https://istio.io/latest/docs/ops/deployment/application-requirements/#ports-used-by-istio"""
QUANTISED_BEFORE = ("awq", "compressed-tensors", "exl2", "gptq", "marlin")
"""Ways to quantise that TGI only reads; the others it does itself while it loads weights of 16 bits.

https://huggingface.co/docs/text-generation-inference/conceptual/quantization
"""


LONGEST_REPOSITORY = 63
"""https://docs.cloud.google.com/artifact-registry/docs/repositories/create-repos"""
LEAST_QUESTION = 4
"""Tokens of the question that the start-up probe asks TGI, at the most; the answer is one more."""
_BESIDE_THE_DISK = "would put the weights beside the disk that is set aside for them"
_MEASURED = "does nothing: TGI 3 measures it when it starts"
_TOKEN = "in a stack file is in clear: huggingFaceTokenFrom says where the token comes from"  # noqa: S105  (a sentence)
_OF_ALL = {
    "HF_TOKEN": _TOKEN,
    "HUGGING_FACE_HUB_TOKEN": _TOKEN,
    "LD_LIBRARY_PATH": "is the node's: the driver is found by it",
    "PORT": "is set by port",
}
_OF_A_HUB_MODEL = {
    "CUDA_VISIBLE_DEVICES": "hides GPUs that are paid for: gpu.tensorParallel says how many there are",
    "DTYPE": "is set by dtype",
    "GRACEFUL_TERMINATION_TIMEOUT": "is set by drainSeconds",
    "HF_HOME": _BESIDE_THE_DISK,
    "HF_HUB_CACHE": _BESIDE_THE_DISK,
    "HF_HUB_OFFLINE": "keeps the weights from being downloaded, and there is no other way to them",
    "MAX_BATCH_PREFILL_TOKENS": "is set by batching.maxBatchPrefillTokens",
    "MAX_BATCH_SIZE": "is set by batching.maxBatchSize",
    "MAX_CONCURRENT_REQUESTS": "is set by batching.maxConcurrentRequests",
    "MAX_INPUT_TOKENS": "is set by batching.maxInputTokens",
    "MAX_TOTAL_TOKENS": "is set by batching.maxTotalTokens",
    "MODEL_ID": "is set by repository",
    "NUM_SHARD": "is set by gpu.tensorParallel",
    "NVIDIA_VISIBLE_DEVICES": "hides GPUs that are paid for: gpu.tensorParallel says how many there are",
    "QUANTIZE": "is set by quantize",
    "REVISION": "is set by revision",
}
_OF_TGI = {
    "API_KEY": "in a stack file is in clear, and TGI writes it into its log",
    "HUGGINGFACE_HUB_CACHE": _BESIDE_THE_DISK,
    "MAX_BATCH_TOTAL_TOKENS": _MEASURED,
    "MAX_INPUT_LENGTH": "is the old name of batching.maxInputTokens, and TGI takes only one of them",
    "MAX_WAITING_TOKENS": _MEASURED,
    "PROMETHEUS_PORT": "moves a listener that nobody asks, perhaps onto the engine's own port",
    "SHARDED": "is said by gpu.tensorParallel, and TGI refuses it for one GPU",
    "WAITING_SERVED_RATIO": _MEASURED,
}
_OF_VLLM = {
    "CUDA_MEMORY_FRACTION": "is TGI's: vLLM does not read it",
    "HOME": _BESIDE_THE_DISK,
    "KV_CACHE_DTYPE": "is TGI's: vLLM does not read it",
    "TGI_WIGGLE_ROOM": "is TGI's: vLLM does not read it",
    "VLLM_API_KEY": "in a stack file is in clear",
    "XDG_CACHE_HOME": _BESIDE_THE_DISK,
}
TAKEN_VARIABLES = {
    EngineName.TGI: _OF_ALL | _OF_A_HUB_MODEL | _OF_TGI,
    EngineName.VLLM: _OF_ALL | _OF_A_HUB_MODEL | _OF_VLLM,
    EngineName.CUSTOM: _OF_ALL,
}
"""Variables that a stack may not set, by engine: each with the setting that stands for it, or with the harm."""


def needs(_: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse an engine without what it needs, and settings that it does not read."""
    of_a_hub_model = {name: getattr(model, name) for name in ("repository", "revision", "quantize", "dtype")}
    of_a_hub_model |= {"architecture": model.architecture, "batching": model.batching}
    of_a_hub_model |= {"millisecondsPerToken": model.milliseconds_per_token}
    of_an_image = {"healthPath": model.health_path, "metrics": model.metrics, "runAsRoot": model.run_as_root or None}
    if model.engine is EngineName.CUSTOM:
        wanted = {"image": model.image, "healthPath": model.health_path, "metrics": model.metrics}
        foreign = of_a_hub_model
        for index, version in enumerate(model.rollout.versions):
            name = f"rollout.versions[{index}]"
            foreign |= {f"{name}.revision": version.revision, f"{name}.batching": version.batching}
    else:
        wanted, foreign = {"repository": model.repository}, of_an_image
    missing = [name for name, value in wanted.items() if value is None]
    unused = [name for name, value in foreign.items() if value is not None]
    told = [f"needs {' and '.join(missing)}"] * bool(missing) + [f"does not read {' or '.join(unused)}"] * bool(unused)
    if told:
        fix = ", ".join(
            [f"add {' and '.join(missing)}"] * bool(missing) + [f"leave {' and '.join(unused)} out"] * bool(unused)
        )
        yield Problem(key=key, reason=f"engine {model.engine} {', and '.join(told)}", fix=fix)


def ports(_: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse a port that somebody else in the pod listens on."""
    owner = None
    if model.engine is EngineName.TGI and model.port in TGI_PORTS:
        owner = "one that TGI opens for itself"
    if model.port in SIDECAR_PORTS:
        owner = "one of the sidecar's"
    if owner is not None:
        reason = f"port {model.port} is {owner}"
        yield Problem(key=f"{key}.port", reason=reason, fix="another port, such as 8080", value=str(model.port))


def environments(model: Model, key: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Go through the places where variables are written: the model's, and each version's."""
    yield f"{key}.environment", model.environment
    for index, version in enumerate(model.rollout.versions):
        yield f"{key}.rollout.versions[{index}].environment", version.environment


def variables(_: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse variables that somebody else sets, that the engine does not read, or that would harm."""
    taken = TAKEN_VARIABLES[model.engine]
    for place, environment in environments(model, key):
        for name in sorted(environment.keys() & taken):
            yield Problem(key=f"{place}.{name}", reason=taken[name], fix="leave it out")
        if model.engine is EngineName.TGI and environment.get("VALIDATION_WORKERS") == "0":
            where = f"{place}.VALIDATION_WORKERS"
            yield Problem(key=where, reason="TGI does not start without a worker", fix="at least 1", value="0")


def images(given: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse an image that cannot be found or that may be another one tomorrow."""
    stack = given.stack
    told = set()
    for index, version in enumerate(model.rollout.versions):
        written = given.image(model, version)
        where = f"{key}.rollout.versions[{index}].image" if version.image else f"{key}.image"
        if written is None or where in told:
            continue
        try:
            resolve(written, name=stack.name, project=stack.project, region=stack.region)
        except ValueError as error:
            told.add(where)
            fix = "write registry/repository:tag, or name:tag for the stack's own repository"
            yield Problem(key=where, reason=str(error), fix=fix, value=written)


def registries(given: Given) -> Iterator[Problem]:
    """Refuse two registries that would share one remote repository, and one whose repository's name is too long."""
    stack = given.stack
    hub, _ = docker_hub(name=stack.name, project=stack.project, region=stack.region)
    upstreams = {hub: DOCKER_HUB}
    for index, model in enumerate(stack.models):
        for version in model.rollout.versions:
            try:
                image = resolve(
                    given.image(model, version) or "", name=stack.name, project=stack.project, region=stack.region
                )
            except ValueError:
                continue
            if image.repository is None or image.upstream is None:
                continue
            key, name = f"llmserve:models[{index}].image", image.repository
            first = upstreams.setdefault(name, image.upstream)
            if first != image.upstream:
                reason = f"{image.upstream} and {first} would share the repository {name}"
                yield Problem(key=key, reason=reason, fix="one of the two registries", value=image.upstream)
            if len(name) > LONGEST_REPOSITORY:
                reason = f"its repository would be called {name}, and Google allows {LONGEST_REPOSITORY} characters"
                yield Problem(key=key, reason=reason, fix="a registry with a shorter host", value=image.upstream)


def token(given: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse a model whose weights the hub gives to nobody without a token, on a stack that has none."""
    known = architecture_of(model.repository or "")
    if known is not None and known.gated and given.stack.hugging_face_token_from is TokenSource.NONE:
        yield Problem(
            key="llmserve:huggingFaceTokenFrom",
            reason=f"{model.repository}, which {key} serves, is gated: without a token the hub answers 401",
            fix=f"{TokenSource.SECRET_MANAGER}, with a token whose account has accepted the model's terms",
            value=str(TokenSource.NONE),
        )


def weights(given: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse ways to store a weight that exclude each other or that the repository does not have."""
    wanted, known = model.quantize, given.architecture(model)
    stored = known.quantization.method if known is not None and known.quantization is not None else None
    if model.engine is EngineName.TGI and wanted is not None and model.dtype is not None:
        reason = "quantize and dtype exclude each other in TGI"
        yield Problem(key=f"{key}.dtype", reason=reason, fix="keep one of them", value=model.dtype)
    if model.engine is EngineName.TGI and "exl2" in (wanted, stored) and model.gpu.tensor_parallel > 1:
        yield Problem(
            key=f"{key}.gpu.tensorParallel",
            reason="exl2 cannot be sharded",
            fix="1, or weights quantised another way",
            value=str(model.gpu.tensor_parallel),
        )
    if wanted is None or known is None or (model.engine is EngineName.VLLM and wanted not in vllm.WAYS):
        return
    if stored is not None and wanted != stored and (stored, wanted) != ("gptq", "marlin"):
        yield Problem(
            key=f"{key}.quantize",
            reason=f"the weights are quantised by {stored}, and the engine reads them no other way",
            fix=f"leave it out: the engine finds {stored} in the model's config.json",
            value=wanted,
        )
    sixteen_bits = architecture_of(model.repository or "") is not None or model.architecture in given.architectures
    if stored is None and sixteen_bits and wanted in QUANTISED_BEFORE:
        yield Problem(
            key=f"{key}.quantize",
            reason=f"{model.repository} has weights of 16 bits, and {wanted} needs weights quantised before",
            fix=f"a repository with such weights and its config.json as architecture (or {known.name}), or a quantize "
            f"that is done while loading, such as {'fp8' if model.engine is EngineName.VLLM else 'eetq'}",
            value=wanted,
        )


def written_at(model: Model, index: int, field: str, key: str) -> str:
    """Name the place that decides a limit of a version: its own, or else the model's."""
    own = model.rollout.versions[index].batching
    place = key if own is None or getattr(own, field) is None else f"{key}.rollout.versions[{index}]"
    return f"{place}.batching.{Batching.model_fields[field].alias}"


def batching(_: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse limits of TGI that contradict each other or the start-up probe, as model and version add up."""
    if model.engine is not EngineName.TGI:
        return
    told = set()
    for index, version in enumerate(model.rollout.versions):
        limits = merged(model.batching, version.batching)
        whole, question = limits.max_total_tokens, limits.max_input_tokens
        for field, value, least in (
            ("max_input_tokens", question, LEAST_QUESTION),
            ("max_total_tokens", whole, LEAST_QUESTION + 1),
        ):
            where = written_at(model, index, field, key)
            if value is not None and value < least and where not in told:
                told.add(where)
                reason = "leaves no room for the question by which a replica is known to have started"
                yield Problem(key=where, reason=reason, fix=f"at least {least}", value=str(value))
        where = written_at(model, index, "max_input_tokens", key)
        if whole is not None and question is not None and question >= whole > LEAST_QUESTION and where not in told:
            told.add(where)
            yield Problem(
                key=where,
                reason=f"maxInputTokens {question} leaves nothing of maxTotalTokens {whole} to answer with",
                fix=f"maxInputTokens below {whole}",
                value=str(question),
            )
