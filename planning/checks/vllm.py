"""Rules for vLLM: what it would refuse on a paid GPU, and settings of TGI that it has nothing for.

As in https://github.com/vllm-project/vllm/tree/v0.31.0: vllm/config/model.py (`_verify_quantization`),
vllm/config/scheduler.py (`verify_max_model_len`) and vllm/engine/arg_utils.py (`get_batch_defaults`). A context that is
longer than the model's, and heads that cannot be shared out, are refused for every engine.
"""

from collections.abc import Iterator

from catalog.gpu_machines import sizes_of
from planning.given import Given
from planning.refusal import Problem
from planning.schema import Batching, EngineName, Model
from planning.serving import merged

WAYS = ("awq", "compressed-tensors", "fp8", "gptq")
"""Ways to quantise that TGI and vLLM both know."""
NOT_IN_THE_IMAGE = ("bitsandbytes", "eetq", "exl2", "marlin")
"""As a `config.json` names them. bitsandbytes is a plugin that the image has not; the others are TGI's.

https://github.com/vllm-project/vllm/blob/v0.31.0/docs/features/quantization/bnb.md
"""
BATCH_TOKENS = 2048
"""What vLLM takes for --max-num-batched-tokens on an A100."""
UNREAD_LIMITS = {
    "max_input_tokens": ("vLLM limits question and answer together", "maxTotalTokens alone"),
    "max_concurrent_requests": (
        "vLLM says 503 where TGI says 429, and the gateway takes a replica that says 503 for a broken one",
        "leave it out: vLLM lets requests wait",
    ),
}


def limits(_: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse settings that would do nothing, or harm."""
    if model.engine is not EngineName.VLLM:
        return
    places = {key: model.batching}
    places |= {f"{key}.rollout.versions[{i}]": v.batching for i, v in enumerate(model.rollout.versions)}
    for place, written in places.items():
        for name, (reason, fix) in UNREAD_LIMITS.items():
            if written is not None and (value := getattr(written, name)) is not None:
                alias = Batching.model_fields[name].alias
                yield Problem(key=f"{place}.batching.{alias}", reason=reason, fix=fix, value=str(value))


def quantised(given: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse weights that vLLM cannot read."""
    if model.engine is not EngineName.VLLM:
        return
    if model.quantize is not None and model.quantize not in WAYS:
        yield Problem(
            key=f"{key}.quantize",
            reason=f"vLLM's image has no {model.quantize}",
            fix="fp8, which it does while it loads weights of 16 bits, or a repository whose weights are quantised by "
            "awq, compressed-tensors, fp8 or gptq",
            value=model.quantize,
        )
        return
    known = given.architecture(model)
    stored = known.quantization.method if known is not None and known.quantization is not None else None
    if stored in NOT_IN_THE_IMAGE:
        yield Problem(
            key=f"{key}.architecture",
            reason=f"the weights are quantised by {stored}, which vLLM's image has not",
            fix="a repository whose weights are quantised by awq, compressed-tensors, fp8 or gptq, or not at all",
            value=model.architecture,
        )


def groups(given: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse shards that would cut through a group of AWQ weights, which share one scale."""
    if model.engine is not EngineName.VLLM:
        return
    known, shards = given.architecture(model), model.gpu.tensor_parallel
    if known is None or known.quantization is None or known.experts > 1:
        return
    group = known.quantization.group_size
    if known.quantization.method != "awq" or group is None or group < 1:
        return
    rows = (known.intermediate_size, known.attention_heads * known.head_dim)
    # Rows that cannot be shared out at all are refused for every engine.
    if any(row % shards == 0 and row // shards % group for row in rows):
        possible = [str(n) for n in sizes_of(model.gpu.type) if all(row % (n * group) == 0 for row in rows)]
        yield Problem(
            key=f"{key}.gpu.tensorParallel",
            reason=f"{shards} shards cut through a group of {group} AWQ weights: rows have {rows[0]:,} or {rows[1]:,}",
            fix=f"tensorParallel {' or '.join(possible)}" if possible else "a repository quantised by gptq or fp8",
            value=str(shards),
        )


def batch(_: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse more requests in a batch than it may have tokens, as the model and each version add up."""
    if model.engine is not EngineName.VLLM:
        return
    told = set()
    for version in model.rollout.versions:
        limits = merged(model.batching, version.batching)
        requests, tokens = limits.max_batch_size, limits.max_batch_prefill_tokens
        if requests is None or requests <= (tokens or BATCH_TOKENS) or (requests, tokens) in told:
            continue
        told.add((requests, tokens))
        whose = (
            f"maxBatchPrefillTokens {tokens}" if tokens else f"the {BATCH_TOKENS} tokens that vLLM chooses on an A100"
        )
        yield Problem(
            key=f"{key}.batching.maxBatchSize",
            reason=f"is above {whose}, and each request of a batch needs a token of it"
            + ("" if version.batching is None else f", in version {version.name}"),
            fix=f"at most {tokens or BATCH_TOKENS}, or maxBatchPrefillTokens of at least {requests}",
            value=str(requests),
        )
