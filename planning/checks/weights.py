"""Rules for weights in a bucket: what lies there is found by its commit, and nothing else."""

from collections.abc import Iterator

from planning.given import Given
from planning.refusal import Problem
from planning.schema import EngineName, Model, WeightsFrom


def revision(given: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse a version whose weights have no commit, which is what they lie in the bucket by."""
    if given.stack.weights_from is not WeightsFrom.BUCKET or model.engine is EngineName.CUSTOM:
        return
    lost = [version.name for version in model.rollout.versions if (version.revision or model.revision) is None]
    if lost and model.repository is not None:
        yield Problem(
            key=f"{key}.revision",
            reason=f"is missing for version {' and '.join(lost)}, and llmserve:weightsFrom is {WeightsFrom.BUCKET}: "
            "weights lie in the bucket by their commit",
            fix=f"the commit that this prints: git ls-remote https://huggingface.co/{model.repository} HEAD; or "
            f"weightsFrom {WeightsFrom.HUB}",
        )
