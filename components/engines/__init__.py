"""Engine adapters: how each inference server is started, asked whether it is well, and measured."""

from components.engines import custom, tgi, vllm
from components.engines.container import EngineContainer
from planning.schema import EngineName
from planning.serving import ModelPlan, Version

__all__ = ["EngineContainer", "container_of"]

_ADAPTERS = {EngineName.TGI: tgi.container, EngineName.VLLM: vllm.container, EngineName.CUSTOM: custom.container}


def container_of(model: ModelPlan, version: Version, token_secret: str | None) -> EngineContainer:
    """Describe the engine of one version of a model. A new engine is a module here and a line above."""
    return _ADAPTERS[model.declared.engine](model, version, token_secret)
