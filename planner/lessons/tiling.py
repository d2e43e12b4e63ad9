"""The walk of flash attention over tiles: what is on the chip, and what crosses to it.

tile = Tile(128, 128)
on_chip(tile, head_dim=128, value_dim=128)    # 98,304 B: Q, K and V
walk(1024, tile, causal=True)                 # 36 of 64 tiles
"""

from dataclasses import dataclass, replace

from planner.attention import (
    Heads,
    flash_traffic_bytes,
    flops,
    lse_bytes,
    naive_traffic_bytes,
    score_matrix_bytes,
)
from planner.units import ceil_div

FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Tile:
    """Queries (rows) and keys (columns) of one step."""

    queries: int
    keys: int


@dataclass(frozen=True, slots=True)
class OnChip:
    """Bytes of one step. Q, K and V are in shared memory; scores and output in registers."""

    queries_bytes: int
    keys_bytes: int
    values_bytes: int
    scores_bytes: int
    output_bytes: int

    @property
    def shared_bytes(self) -> int:
        return self.queries_bytes + self.keys_bytes + self.values_bytes


def on_chip(
    tile: Tile, head_dim: int, value_dim: int, *, element_bytes: int = 2, stages: int = 1
) -> OnChip:
    """What one step holds; `stages` tiles of K and V are on their way at once."""
    return OnChip(
        queries_bytes=tile.queries * head_dim * element_bytes,
        keys_bytes=stages * tile.keys * head_dim * element_bytes,
        values_bytes=stages * tile.keys * value_dim * element_bytes,
        scores_bytes=tile.queries * tile.keys * FLOAT_BYTES,
        output_bytes=tile.queries * value_dim * FLOAT_BYTES,
    )


def grid(n: int, tile: Tile) -> tuple[int, int]:
    """Rows and columns of tiles that cover n queries and n keys."""
    return ceil_div(n, tile.queries), ceil_div(n, tile.keys)


def walk(n: int, tile: Tile, *, causal: bool = True) -> list[tuple[int, int]]:
    """(row, column) of every tile in the order of computation; a causal mask skips the rest."""
    rows, columns = grid(n, tile)
    return [
        (i, j)
        for i in range(rows)
        for j in range(columns)
        if not causal or j * tile.keys < min(n, (i + 1) * tile.queries)
    ]


def published_accesses(n: int, head_dim: int, sram_bytes: int) -> tuple[int, float]:
    """Accesses of one head: N^2 materialised, N^2 d^2 / M tiled.

    M is taken in bytes, as the sources that quote 23x take it (Dao et al. 2022 count elements and
    give the order of growth, not a figure).
    """
    return n * n, n * n * head_dim * head_dim / sram_bytes


def published_tile(head_dim: int, sram_bytes: int, element_bytes: int = 2) -> int:
    """Rows of a tile when Q, K, V and O share the SRAM: M / 4d elements (Dao et al. 2022)."""
    return max(1, sram_bytes // element_bytes // (4 * head_dim))


def tiled_bytes(n: int, head_dim: int, rows: int, *, element_bytes: int = 2) -> int:
    """Bytes of one head whose tiles have `rows` queries: K and V for each, Q, O and statistics."""
    return element_bytes * 2 * n * head_dim * (ceil_div(n, rows) + 1) + FLOAT_BYTES * n


def materialised_bytes(n: int, head_dim: int, *, element_bytes: int = 2) -> int:
    """Bytes of one head whose scores travel four times, with Q, K, V and O."""
    return element_bytes * (4 * n * n + 4 * n * head_dim)


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes between memory and chip for one layer and sequence, and the arithmetic they feed.

    flash_bytes: every tile of queries reads K and V from memory again. cached_bytes: those re-reads
    are served by the L2 cache, so that everything crosses once; real kernels come near it.
    """

    tokens: int
    flops: int
    naive_bytes: int
    flash_bytes: int
    cached_bytes: int

    @property
    def naive_intensity(self) -> float:
        """FLOPs per byte."""
        return self.flops / self.naive_bytes

    @property
    def cached_intensity(self) -> float:
        return self.flops / self.cached_bytes

    @property
    def saving(self) -> float:
        return self.naive_bytes / self.flash_bytes


def traffic(heads: Heads, n: int, *, element_bytes: int = 2) -> Traffic:
    """One prompt of n tokens without mask or window, so that all forms compute the same pairs."""
    heads = replace(heads, window=None)
    width = heads.score_dim + heads.value_dim
    return Traffic(
        n,
        flops(heads, n, n, causal=False),
        naive_traffic_bytes(heads, n, n, element_bytes=element_bytes),
        flash_traffic_bytes(heads, n, n, element_bytes=element_bytes),
        element_bytes * (heads.num_heads + heads.num_kv_heads) * n * width + lse_bytes(heads, n),
    )


def reachable_flops_per_s(intensity: float, peak: float, bandwidth: float) -> float:
    """The roofline: memory feeds intensity x bandwidth, arithmetic stops at its peak."""
    return min(peak, intensity * bandwidth)


def ceiling(work: Traffic, peak: float, bandwidth: float, tiled_peak: float) -> float:
    """How much faster the roofs let tiled attention be: with `tiled_peak`, re-reads from cache."""
    tiled = reachable_flops_per_s(work.cached_intensity, tiled_peak, bandwidth)
    return tiled / reachable_flops_per_s(work.naive_intensity, peak, bandwidth)


@dataclass(frozen=True, slots=True)
class LayerMemory:
    """Bytes alive while one layer attends: Q, K, V and O, and the scores or their statistics."""

    materialised_bytes: int
    tiled_bytes: int

    @property
    def saving(self) -> float:
        return self.materialised_bytes / self.tiled_bytes


def layer_memory(heads: Heads, n: int, *, element_bytes: int = 2) -> LayerMemory:
    """One prompt of n tokens, with one matrix of scores or with a log-sum-exp for each row."""
    tiled = traffic(heads, n, element_bytes=element_bytes).cached_bytes
    scores = score_matrix_bytes(heads, n, n, element_bytes=element_bytes)
    return LayerMemory(tiled - lse_bytes(heads, n) + scores, tiled)
