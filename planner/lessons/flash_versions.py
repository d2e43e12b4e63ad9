"""What each FlashAttention changed, in figures of one card: traffic, rescaling, exponentials.

A tile's exponentials run on special-function units, 16 a clock on each multiprocessor (CUDA
programming guide, throughput of arithmetic instructions; 32 from compute capability 10.3).
"""

from dataclasses import dataclass, replace

from planner.attention import Heads, flash_traffic_bytes, flops, pairs
from planner.errors import PlanRefused
from planner.hardware import Gpu
from planner.lessons.tiling import Tile
from planner.units import ceil_div

EXPONENTIALS_PER_CLOCK = 16
EXPONENTIALS_PER_CLOCK_103 = 32
STATISTICS_BYTES = 8
"""Running maximum and sum of a row, float32 each."""


@dataclass(frozen=True, slots=True)
class Loops:
    """The two orders of the loops: bytes moved and multiplications that rescale the output."""

    keys_outside_bytes: int
    queries_outside_bytes: int
    keys_outside_rescales: int
    queries_outside_rescales: int


def loops(heads: Heads, n: int, tile: Tile, *, element_bytes: int = 2) -> Loops:
    """One layer, no mask or window; keys outside as in FlashAttention, queries outside as in 2.

    With keys outside, each tile of keys reads all queries, and reads and writes the output and the
    row statistics (Dao et al. 2022, algorithm 1), and divides at every step. With queries outside
    the output is rescaled at every step and divided once (Dao 2023, algorithm 1).
    """
    heads = replace(heads, window=None)
    columns = ceil_div(n, tile.keys)
    rows = heads.num_heads * n
    kv = rows * (heads.score_dim + heads.value_dim) * element_bytes
    step = rows * (heads.score_dim + 2 * heads.value_dim) * element_bytes
    step += 2 * rows * STATISTICS_BYTES
    return Loops(
        keys_outside_bytes=kv + columns * step,
        queries_outside_bytes=flash_traffic_bytes(heads, n, n, element_bytes=element_bytes),
        keys_outside_rescales=2 * columns * rows * heads.value_dim,
        queries_outside_rescales=(columns + 1) * rows * heads.value_dim,
    )


@dataclass(frozen=True, slots=True)
class Units:
    """Seconds that one causal prompt keeps each unit of a card busy, for one layer."""

    matmul_s: float
    exponential_s: float

    @property
    def in_turn_s(self) -> float:
        """One after the other: the floor of a kernel that does not overlap them."""
        return self.matmul_s + self.exponential_s

    @property
    def overlapped_s(self) -> float:
        """Side by side: the slower one is the floor."""
        return max(self.matmul_s, self.exponential_s)


def exponentials_per_s(gpu: Gpu) -> float:
    """Peak of the special-function units. Raises PlanRefused where the card's are not known."""
    if gpu.vendor != "NVIDIA" or gpu.sm_count is None or gpu.boost_clock_hz is None:
        raise PlanRefused(f"{gpu.name}: no rate of its special-function units is known")
    newest = gpu.compute_capability == "10.3"
    each = EXPONENTIALS_PER_CLOCK_103 if newest else EXPONENTIALS_PER_CLOCK
    return float(gpu.sm_count * gpu.boost_clock_hz * each)


def units(heads: Heads, n: int, gpu: Gpu) -> Units:
    """Peak rates of `gpu` for a causal prompt of n tokens: products, and an exp for each pair."""
    peak = gpu.bf16_flops_per_s or gpu.fp16_flops_per_s
    if peak is None:
        raise PlanRefused(f"{gpu.name}: no 16-bit arithmetic rate is known")
    scores = heads.num_heads * pairs(n, n, window=heads.window)
    return Units(flops(heads, n, n) / peak, scores / exponentials_per_s(gpu))
