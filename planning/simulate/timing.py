"""How long an engine's two kinds of work take, from a network's shape and the cards that it is divided among.

A step reads all weights and every sequence's keys and values once, and computes for one token a sequence; a prefill
reads the weights once and computes for every token of the question. Reading and computing are added up, though they
overlap in part: engines do other things as well, which nothing here counts. The figures' sources: catalog/gpu_cards.py.
"""

from catalog.architectures import Architecture
from catalog.gpu_cards import COMPUTE_EFFICIENCY, GPU_CARDS, READ_EFFICIENCY, SECONDS_A_LAYER_BETWEEN_CARDS
from catalog.gpu_machines import GpuType
from planning.memory import weights_bytes
from planning.simulate.engine import Timing


def timing_of(
    architecture: Architecture,
    *,
    gpu_type: GpuType,
    gpus: int,
    quantize: str | None = None,
    key_value_bytes_per_token: int | None = None,
) -> Timing:
    """Estimate a replica's timing on so many cards.

    Few bits are read faster and computed no faster. Raises ValueError where the size of a weight is not known.
    """
    card = GPU_CARDS[gpu_type]
    reading = gpus * card.bytes_per_second * READ_EFFICIENCY
    computing = gpus * card.flops * COMPUTE_EFFICIENCY
    key_values = key_value_bytes_per_token or 4 * architecture.layers * architecture.key_value_heads * (
        architecture.head_dim
    )
    weights = weights_bytes(architecture, quantize) / reading
    between = architecture.layers * SECONDS_A_LAYER_BETWEEN_CARDS if gpus > 1 else 0.0
    a_token = 2 * active_parameters(architecture) / computing
    return Timing(
        prefill=weights + between,
        prefill_a_token=a_token,
        step=weights + between,
        step_a_sequence=a_token,
        step_a_cached_token=key_values / reading,
    )


def active_parameters(architecture: Architecture) -> int:
    """Count the weights that one token passes through: of experts only those that are chosen for it."""
    resting = architecture.experts - architecture.experts_per_token
    return architecture.parameters - (
        architecture.layers * architecture.hidden_size * 3 * architecture.intermediate_size * resting
    )
