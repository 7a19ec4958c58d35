"""What a card computes and reads in a second, and how much of that inference engines were seen to reach.

Peaks: NVIDIA's A100 data sheet, as https://www.glennklockwood.com/garden/processors/A100 quotes it.
Reached: pytorch-labs/gpt-fast at commit 0f925b5d, README.md: 8 x A100 80 GB at 330 W, one sequence of 16-bit weights.
Its tables are Llama 2 of 7B on 1, 2, 4 and 8 cards and of 70B on 2, 4 and 8; the two figures below are fitted to all
seven and meet each within 20 % (tests/test_simulate_timing.py). It is tuned for one sequence, and TGI may be slower.
"""

from dataclasses import dataclass
from typing import Final

from catalog.gpu_machines import GpuType


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuCard:
    """Peaks of one card: dense multiplications and additions in bfloat16 a second, and bytes read from its memory."""

    flops: float
    bytes_per_second: float


GPU_CARDS: Final = {
    GpuType.A100_40GB: GpuCard(flops=312e12, bytes_per_second=1_555e9),
    GpuType.A100_80GB: GpuCard(flops=312e12, bytes_per_second=2_039e9),
}

READ_EFFICIENCY: Final = 0.69
"""The part of the peak at which weights are read."""
SECONDS_A_LAYER_BETWEEN_CARDS: Final = 40e-6
"""For a layer's two sums over the cards of one replica, in each step."""
COMPUTE_EFFICIENCY: Final = 0.5
"""The part of the peak at which questions are read in. No measurement of an A100 was found: assumed, 0.4 to 0.6."""
