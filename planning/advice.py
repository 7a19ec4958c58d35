"""What is no mistake and should be known all the same: the warnings of a plan."""

from collections.abc import Iterator, Sequence

from catalog.retired_hosts import retired_in
from planning.given import Given
from planning.memory import Verdict
from planning.nodes import system_room
from planning.observed import scaled_version
from planning.schema import Capacity, EngineName, WeightsFrom
from planning.serving import ModelPlan
from planning.support import ended

EXAMPLE_PROJECT = "example-project"
TGI_FAMILIES = ("gemma2", "gemma3_text", "llama", "mistral", "mixtral", "phi3", "qwen2")
"""Of our families those with code of their own in TGI, which is what shards.

https://github.com/huggingface/text-generation-inference/blob/v3.3.7/server/text_generation_server/models/__init__.py
"""


def warnings(given: Given, models: Sequence[ModelPlan]) -> Iterator[str]:
    """Say what a person who pays for this stack would want to know before."""
    yield from _of_the_stack(given)
    engines = {m.engine for m in given.stack.models if m.image is None and not all(v.image for v in m.rollout.versions)}
    yield from ended(given.parts, engines=engines, today=given.today)
    yield from _of_images(given, models)
    for model in models:
        yield from _of_memory(model)
        yield from _of_engine(model)
        yield from _of_drain(model)
        yield from _of_capacity(given, model)
        yield from _of_versions(model)


def _of_the_stack(given: Given) -> Iterator[str]:
    stack = given.stack
    if stack.project == EXAMPLE_PROJECT:
        yield (
            f"gcp:project is {EXAMPLE_PROJECT}, which is nobody's, and `make up` refuses it: "
            "pulumi config set gcp:project YOUR-PROJECT"
        )
    vllm = [
        model.name
        for model in stack.models
        if model.engine is EngineName.VLLM
        and model.image is None
        and model.environment.get("VLLM_ENABLE_CUDA_COMPATIBILITY") != "1"
    ]
    if stack.weights_from is WeightsFrom.BUCKET:
        if all(model.engine is EngineName.CUSTOM for model in stack.models):
            yield "llmserve:weightsFrom does nothing: a custom engine has its weights in its image, or fetches them"
        elif stack.release_channel == "EXTENDED":
            yield (
                "llmserve:weightsFrom is bucket, whose parallel downloads GKE has from 1.30.2-gke.1394000 on and whose "
                "streaming writes from 1.33.2-gke.4655000 on, and the channel EXTENDED may be older: gcloud container "
                f"get-server-config --region {stack.region}"
            )
    if stack.gpu_driver_version == "default" and vllm:
        yield (
            f"llmserve:gpuDriverVersion is default, R535 up to GKE 1.33, and vLLM's image, which {vllm[0]} runs, needs "
            'R580: latest, or VLLM_ENABLE_CUDA_COMPATIBILITY: "1" in the model\'s environment'
        )
    if system_room(stack.system_machine_type) is None:
        yield (
            f"llmserve:systemMachineType: whether {stack.system_machine_type} holds the platform was not checked: "
            "its size is not known here"
        )
    if stack.spot_shutdown_grace_seconds == 120 and stack.release_channel in {"STABLE", "EXTENDED"}:
        yield (
            f"llmserve:spotShutdownGraceSeconds is 120, which GKE has from 1.35.0-gke.1171000 on, and the channel "
            f"{stack.release_channel} may be older: gcloud container get-server-config --region {stack.region}"
        )


def _of_images(given: Given, models: Sequence[ModelPlan]) -> Iterator[str]:
    stack = given.stack
    written = (given.image(model, version) for model in stack.models for version in model.rollout.versions)
    for reference in dict.fromkeys(written):
        if reference is not None and (gone := retired_in(reference)):
            yield (
                f"image {reference} is at {gone.host}, which cannot be relied on from {gone.retired_from} on: instead "
                f"{gone.replacement} ({gone.source})"
            )
    images = {version.image.reference: version.image for model in models for version in model.versions}
    for reference, image in images.items():
        if not image.pinned:
            yield f"image {reference} is not pinned by digest (make pin): {image.pin_command}"
    for reference, image in sorted(images.items()):
        if image.repository is None and "-docker.pkg.dev/" in reference:
            yield (
                f"image {reference} is in a repository that the nodes may not read yet: gcloud artifacts repositories "
                "add-iam-policy-binding REPOSITORY --role roles/artifactregistry.reader "
                f"--member serviceAccount:{stack.name}-nodes@{stack.project}.iam.gserviceaccount.com"
            )


def _of_memory(model: ModelPlan) -> Iterator[str]:
    declared = model.declared
    if declared.engine is EngineName.CUSTOM:
        return
    if model.architecture is None:
        yield (
            f"model {model.name}: whether {declared.repository} fits {model.machine.machine_type} was not checked, its "
            "architecture is not in the catalogue: set architecture to a name in docs/memory.md or to the path of "
            "its config.json"
        )
    elif any(version.fit is None for version in model.versions):
        yield (
            f"model {model.name}: whether it fits {model.machine.machine_type} was not checked, because the size of "
            f"its weights under {declared.quantize} is not known: set architecture to the path of its config.json"
        )
    for fit in dict.fromkeys(version.fit for version in model.versions if version.fit is not None):
        if fit.verdict is Verdict.TIGHT:
            yield f"model {model.name} fits tightly, and what the engine measures at start decides: {fit.arithmetic()}"


def _of_engine(model: ModelPlan) -> Iterator[str]:
    known, gpus = model.architecture, model.machine.gpus
    if model.declared.engine is EngineName.TGI and known is not None and known.model_type not in TGI_FAMILIES:
        yield (
            f"model {model.name}: TGI 3.3.7 has no code of its own for {known.model_type} and runs it through "
            f"Transformers: whether that works, and on {gpus} GPU{'s' * (gpus > 1)}, is not known here; vllm has it"
        )
    most = sum(version.replicas.maximum for version in model.versions if not version.replicas.paused)
    if most > 2 * model.declared.scaling.max:
        yield (
            f"model {model.name}: its versions may have {most} replicas together, though scaling.max is "
            f"{model.declared.scaling.max}: each with traffic has one at least"
        )


def _of_drain(model: ModelPlan) -> Iterator[str]:
    drain, declared = model.drain, model.declared
    longest = drain.longest_generation_seconds
    needed = declared.drain_seconds if longest is None else longest
    if longest is not None and drain.engine_seconds < longest:
        yield (
            f"model {model.name}: an answer may have {drain.answer_tokens:,} tokens and take {longest:,.0f} seconds, "
            f"and drainSeconds is {drain.engine_seconds}: every rollout and scale-down cuts what is longer than "
            f"{drain.voluntary_answer_tokens:,} tokens"
        )
    window = drain.spot_generation_seconds
    if window is not None and (needed or drain.engine_seconds) > window:
        tokens = drain.spot_answer_tokens
        survives = f"{window} seconds" if tokens is None else f"about {tokens:,} tokens"
        yield (
            f"model {model.name}: a spot node leaves a generation {window} seconds, and the longest may take "
            f"{needed or drain.engine_seconds:,.0f}: what is longer than {survives} is cut when the node is called back"
        )


def _of_capacity(given: Given, model: ModelPlan) -> Iterator[str]:
    stack, scaling = given.stack, model.declared.scaling
    floor = scaling.base_on_demand_replicas
    if stack.capacity is Capacity.ON_DEMAND:
        if scaling.dynamic_on_demand_fallback is not None:
            yield (
                f"model {model.name}: scaling.dynamicOnDemandFallback does nothing, with capacity on-demand there is "
                "no spot to stand in for"
            )
    elif floor == 0 and not model.declared.batch_tolerant:
        yield (
            f"model {model.name} lives on spot nodes first and has no floor: one call from Google may leave it without "
            "a replica until another has started: set scaling.baseOnDemandReplicas (and min) to 1 or more, or "
            "batchTolerant: true where callers can wait"
        )


def _of_versions(model: ModelPlan) -> Iterator[str]:
    declared = model.declared
    sleeping = [found for version in model.versions if (found := scaled_version(model, version)).sleeps]
    idle = declared.scaling.idle_minutes
    if "idle_minutes" in declared.scaling.model_fields_set and all(v.sleep_seconds > idle * 60 for v in sleeping):
        least = min((-(-version.sleep_seconds // 60) for version in sleeping), default=None)
        yield f"model {model.name}: scaling.idleMinutes does nothing, " + (
            f"with min {declared.scaling.min} it never sleeps"
            if least is None
            else f"the replicas beside the floor go one by one, the last after {least} minutes"
        )
    if declared.engine is not EngineName.CUSTOM and any(version.revision is None for version in model.versions):
        yield (
            f"model {model.name} runs whatever revision of {declared.repository} is newest: set revision to the "
            f"commit that this prints: git ls-remote https://huggingface.co/{declared.repository} HEAD"
        )
    seen: dict[object, str] = {}
    for version in model.versions:
        what = (version.image.reference, version.revision, tuple(version.batching), version.environment)
        if what in seen:
            yield (
                f"model {model.name}: version {version.name} differs in nothing from {seen[what]}, "
                "and each has GPUs of its own"
            )
        seen.setdefault(what, version.name)
