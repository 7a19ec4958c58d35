"""vLLM, https://github.com/vllm-project/vllm (v0.31.0).

Its limits are arguments, as it reads few environment variables: the image's entry point is `vllm serve`. Continuous
batching is always on. It opens its port when the model is loaded and warm, and has all its metrics from then on, so no
probe has to ask for a token.
"""

import pulumi_kubernetes as k8s

from components.engines.container import STARTUP_PERIOD_SECONDS, EngineContainer, literal, startup_attempts
from components.hugging_face_token import KEY
from planning.serving import ModelPlan, Version

USER, GROUP, HOME = 2000, 0, "/home/vllm"
"""The user that the image has beside root, and whose group may write where it must.

https://github.com/vllm-project/vllm/blob/v0.31.0/docs/deployment/docker.md#run-as-a-non-root-user
"""


def container(model: ModelPlan, version: Version, token_secret: str | None) -> EngineContainer:
    """Describe vLLM for one version of a model."""
    declared = model.declared
    # A version may overwrite what is set here, as with TGI.
    own = {"HOME": HOME, "VLLM_NO_USAGE_STATS": "1"} | ({"HF_HUB_OFFLINE": "1"} if version.weights else {})
    variables = literal(own | dict(version.environment))
    if token_secret is not None:
        reference = k8s.core.v1.SecretKeySelectorArgs(name=token_secret, key=KEY)
        source = k8s.core.v1.EnvVarSourceArgs(secret_key_ref=reference)
        variables += (k8s.core.v1.EnvVarArgs(name=KEY, value_from=source),)
    return EngineContainer(
        environment=variables,
        arguments=_arguments(model, version),
        port=declared.port,
        health_path="/health",
        metrics_path="/metrics",
        startup=k8s.core.v1.ProbeArgs(
            http_get=k8s.core.v1.HTTPGetActionArgs(path="/health", port="http"),
            period_seconds=STARTUP_PERIOD_SECONDS,
            timeout_seconds=5,
            failure_threshold=startup_attempts(declared.startup_minutes),
        ),
        security=k8s.core.v1.SecurityContextArgs(
            run_as_non_root=True,
            run_as_user=USER,
            run_as_group=GROUP,
            allow_privilege_escalation=False,
            capabilities=k8s.core.v1.CapabilitiesArgs(drop=["ALL"]),
            seccomp_profile=k8s.core.v1.SeccompProfileArgs(type="RuntimeDefault"),
        ),
        user=USER,
        group=GROUP,
        # Of the weights, and of the kernels that it compiles.
        cache_path=f"{HOME}/.cache",
    )


def _arguments(model: ModelPlan, version: Version) -> tuple[str, ...]:
    declared, limits = model.declared, version.batching
    options = {
        "revision": version.revision if version.weights is None else None,
        "port": declared.port,
        "tensor-parallel-size": model.resources.gpus,
        "quantization": declared.quantize,
        "dtype": declared.dtype,
        # Left out, vLLM would insist on the whole context of the model, and not start where that does not fit.
        "max-model-len": limits.max_total_tokens or "auto",
        "max-num-batched-tokens": limits.max_batch_prefill_tokens,
        "max-num-seqs": limits.max_batch_size,
        # Left out, vLLM cuts every answer that is under way when it is told to stop.
        "shutdown-timeout": model.drain.engine_seconds,
    }
    given = tuple(f"--{name}={value}" for name, value in options.items() if value is not None)
    # It answers no other name, while TGI answers to any: the model's own, and the one that clients of vLLM expect.
    served = declared.repository or "" if version.weights is None else version.weights.path
    return (served, *given, "--served-model-name", model.name, declared.repository or "")
