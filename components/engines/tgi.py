"""Text Generation Inference, https://github.com/huggingface/text-generation-inference (v3.3.7).

Everything is set by environment variables: each flag of its launcher has one, and its entry point splits arguments at
blanks. Continuous batching is always on; the OpenAI Messages API is `/v1/chat/completions`.
"""

import json

import pulumi_kubernetes as k8s

from components.engines.container import STARTUP_PERIOD_SECONDS, EngineContainer, literal, startup_attempts
from components.hugging_face_token import KEY
from planning.serving import ModelPlan, Version

PRIMING_SECONDS = 60
"""How long the first generation may take; it may have to compile kernels."""


def container(model: ModelPlan, version: Version, token_secret: str | None) -> EngineContainer:
    """Describe TGI for one version of a model."""
    declared = model.declared
    environment = {
        "MODEL_ID": declared.repository or "",
        "PORT": str(declared.port),
        # Left to itself TGI counts GPUs from variables that GKE does not set, and falls back to one.
        "NUM_SHARD": str(model.resources.gpus),
        "GRACEFUL_TERMINATION_TIMEOUT": str(model.drain.engine_seconds),
        "JSON_OUTPUT": "true",
        "USAGE_STATS": "off",
    }
    optional = {
        "REVISION": version.revision,
        "QUANTIZE": declared.quantize,
        "DTYPE": declared.dtype,
        **{name.upper(): value for name, value in version.batching.model_dump(exclude_none=True).items()},
    }
    if (weights := version.weights) is not None:
        # A folder: with a revision beside it the router would ask the hub for a repository of that name.
        environment |= {"MODEL_ID": weights.path, "HF_HUB_OFFLINE": "1"}
        optional["REVISION"] = None
    environment |= {name: str(value) for name, value in optional.items() if value is not None}
    environment |= dict(version.environment)
    variables = literal(environment)
    if token_secret is not None:
        reference = k8s.core.v1.SecretKeySelectorArgs(name=token_secret, key=KEY)
        source = k8s.core.v1.EnvVarSourceArgs(secret_key_ref=reference)
        variables += (k8s.core.v1.EnvVarArgs(name=KEY, value_from=source),)
    return EngineContainer(
        environment=variables,
        port=declared.port,
        health_path="/health",
        metrics_path="/metrics",
        startup=_priming(declared.port, declared.startup_minutes),
        # The image's Python is in root's home, so no other user can start it:
        # https://github.com/huggingface/text-generation-inference/issues/3082
        security=k8s.core.v1.SecurityContextArgs(
            run_as_user=0,
            allow_privilege_escalation=False,
            capabilities=k8s.core.v1.CapabilitiesArgs(drop=["ALL"]),
            seccomp_profile=k8s.core.v1.SeccompProfileArgs(type="RuntimeDefault"),
        ),
        cache_path="/data",
    )


def _priming(port: int, minutes: int) -> k8s.core.v1.ProbeArgs:
    """Ask for one token: TGI opens its port once the model is loaded, and has no metric before its first request."""
    request = json.dumps({"inputs": "Hello", "parameters": {"max_new_tokens": 1}})
    command = [
        "curl",
        "--silent",
        "--fail",
        "--output",
        "/dev/null",
        "--header",
        "Content-Type: application/json",
    ]
    return k8s.core.v1.ProbeArgs(
        exec_=k8s.core.v1.ExecActionArgs(command=[*command, "--data", request, f"http://127.0.0.1:{port}/generate"]),
        period_seconds=STARTUP_PERIOD_SECONDS,
        timeout_seconds=PRIMING_SECONDS,
        failure_threshold=startup_attempts(minutes),
    )
