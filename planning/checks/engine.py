"""Rules for an engine's container: what it needs, what it does not read, and what it would refuse on a paid GPU.

TGI's are those of its launcher and router, https://github.com/huggingface/text-generation-inference/tree/v3.3.7:
launcher/src/main.rs and backends/v3/src/main.rs.
"""

from collections.abc import Iterator

from planning.given import Given
from planning.images import resolve
from planning.refusal import Problem
from planning.schema import EngineName, Model, TokenSource
from planning.serving import merged

TGI_PORTS = (9000, 29500)
"""Its own Prometheus listener's, and the one by which its shards find each other."""
SIDECAR_PORTS = range(15000, 15100)
"""https://istio.io/latest/docs/ops/deployment/application-requirements/#ports-used-by-istio"""
QUANTISED_BEFORE = ("awq", "compressed-tensors", "exl2", "gptq", "marlin")
"""Ways to quantise that TGI only reads; the others it does itself while it loads weights of 16 bits.

https://huggingface.co/docs/text-generation-inference/conceptual/quantization
"""


_BESIDE_THE_DISK = "would put the weights beside the disk that is set aside for them"
_MEASURED = "does nothing: TGI 3 measures it when it starts"
TGI_VARIABLES = {
    "API_KEY": "in a stack file is in clear, and TGI writes it into its log",
    "HF_HOME": _BESIDE_THE_DISK,
    "HF_HUB_CACHE": _BESIDE_THE_DISK,
    "HUGGINGFACE_HUB_CACHE": _BESIDE_THE_DISK,
    "MAX_BATCH_TOTAL_TOKENS": _MEASURED,
    "MAX_INPUT_LENGTH": "is the old name of batching.maxInputTokens, and TGI takes only one of them",
    "MAX_WAITING_TOKENS": _MEASURED,
    "SHARDED": "is said by gpu.tensorParallel, and TGI refuses it for one GPU",
    "WAITING_SERVED_RATIO": _MEASURED,
}
"""Variables that would do nothing in TGI, or harm."""


def needs(_: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse an engine without what it needs, and settings that it does not read."""
    of_a_hub_model = {name: getattr(model, name) for name in ("repository", "revision", "quantize", "dtype")}
    of_a_hub_model |= {"architecture": model.architecture, "batching": model.batching}
    of_a_hub_model |= {"millisecondsPerToken": model.milliseconds_per_token}
    of_an_image = {"healthPath": model.health_path, "metrics": model.metrics, "runAsRoot": model.run_as_root or None}
    if model.engine is EngineName.CUSTOM:
        wanted = {"image": model.image, "healthPath": model.health_path, "metrics": model.metrics}
        foreign = of_a_hub_model
        for version in model.rollout.versions:
            name = f"rollout.versions[{version.name}]"
            foreign |= {f"{name}.revision": version.revision, f"{name}.batching": version.batching}
    else:
        wanted, foreign = {"repository": model.repository}, of_an_image
    if missing := [name for name, value in wanted.items() if value is None]:
        yield Problem(key=key, reason=f"engine {model.engine} needs {' and '.join(missing)}", fix="add it")
    if unused := [name for name, value in foreign.items() if value is not None]:
        reason = f"engine {model.engine} does not read {' or '.join(unused)}"
        yield Problem(key=key, reason=reason, fix="leave it out")


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


def variables(_: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse variables that TGI does not read, or that would harm."""
    if model.engine is not EngineName.TGI:
        return
    places = {f"{key}.environment": model.environment}
    places |= {f"{key}.rollout.versions[{i}].environment": v.environment for i, v in enumerate(model.rollout.versions)}
    for place, environment in places.items():
        for name in sorted(environment.keys() & TGI_VARIABLES):
            yield Problem(key=f"{place}.{name}", reason=TGI_VARIABLES[name], fix="leave it out")
        if environment.get("VALIDATION_WORKERS") == "0":
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


def token(given: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse a model whose weights the hub gives to nobody without a token, on a stack that has none."""
    known = given.architecture(model)
    if known is None or not known.gated or model.repository not in known.repositories:
        return
    if given.stack.hugging_face_token_from is TokenSource.NONE:
        yield Problem(
            key="llmserve:huggingFaceTokenFrom",
            reason=f"{model.repository}, which {key} serves, is gated: without a token the hub answers 401",
            fix=f"{TokenSource.SECRET_MANAGER}, with a token whose account has accepted the model's terms",
            value=str(TokenSource.NONE),
        )


def weights(given: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse ways to store a weight that exclude each other or that the repository does not have."""
    if model.quantize is None or model.engine is EngineName.CUSTOM:
        return
    if model.engine is EngineName.TGI and model.dtype is not None:
        reason = "quantize and dtype exclude each other in TGI"
        yield Problem(key=f"{key}.dtype", reason=reason, fix="keep one of them", value=model.dtype)
    if model.engine is EngineName.TGI and model.quantize == "exl2" and model.gpu.tensor_parallel > 1:
        reason, fix = "exl2 cannot be sharded", "another quantize, or tensorParallel 1"
        yield Problem(key=f"{key}.quantize", reason=reason, fix=fix, value="exl2")
    known = given.architecture(model)
    if known is not None and model.repository in known.repositories and model.quantize in QUANTISED_BEFORE:
        yield Problem(
            key=f"{key}.quantize",
            reason=f"{model.repository} has weights of 16 bits, and {model.quantize} needs weights quantised before",
            fix=f"a repository with such weights and architecture: {known.name}, or a quantize that is done "
            f"while loading, such as {'fp8' if model.engine is EngineName.VLLM else 'eetq or bitsandbytes-nf4'}",
            value=model.quantize,
        )


def batching(_: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse limits that contradict each other, as the model and each version add up."""
    told = set()
    for version in model.rollout.versions:
        limits = merged(model.batching, version.batching)
        whole, question = limits.max_total_tokens, limits.max_input_tokens
        if whole is not None and question is not None and question >= whole and (question, whole) not in told:
            told.add((question, whole))
            yield Problem(
                key=f"{key}.batching.maxInputTokens",
                reason=f"maxInputTokens {question} leaves nothing of maxTotalTokens {whole} to answer with"
                + ("" if version.batching is None else f", in version {version.name}"),
                fix=f"maxInputTokens below {whole}",
                value=str(question),
            )
