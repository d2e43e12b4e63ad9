"""The walk over tiles and what it moves, against counting by hand."""

import pytest

from planner.attention import QUERY_TILE, Heads, flash_traffic_bytes, naive_traffic_bytes
from planner.lessons import tiling
from planner.lessons.tiling import Tile

ONE = Heads(1, 1, 64, 64, None)


def test_on_chip() -> None:
    held = tiling.on_chip(Tile(128, 64), 128, 128)
    assert (held.queries_bytes, held.keys_bytes, held.values_bytes) == (32768, 16384, 16384)
    assert held.shared_bytes == 65536
    assert (held.scores_bytes, held.output_bytes) == (128 * 64 * 4, 128 * 128 * 4)
    deep = tiling.on_chip(Tile(128, 64), 128, 128, stages=3)
    assert deep.shared_bytes == 32768 + 3 * 32768


@pytest.mark.parametrize(("n", "rows", "columns"), [(512, 128, 64), (300, 64, 128), (100, 16, 16)])
def test_a_causal_walk_has_every_tile_with_an_allowed_pair(n: int, rows: int, columns: int) -> None:
    wanted = sorted({(q // rows, k // columns) for q in range(n) for k in range(q + 1)})
    assert tiling.walk(n, Tile(rows, columns)) == wanted
    everything = tiling.walk(n, Tile(rows, columns), causal=False)
    assert len(everything) == -(-n // rows) * -(-n // columns)


def test_the_quoted_23_times() -> None:
    naive, tiled = tiling.published_accesses(2048, 64, 98304)
    assert naive == 4_194_304
    assert tiled == pytest.approx(174_762.67, abs=0.01)
    assert naive / tiled == pytest.approx(98304 / 64**2)


def test_bytes_by_sram() -> None:
    # 96 KiB are 49,152 elements, a quarter each for Q, K, V and O of width 64
    assert tiling.published_tile(64, 98304) == 192
    # 11 passes over K and V, Q and O once, a float32 for each row
    assert tiling.tiled_bytes(2048, 64, 192) == 2 * (11 * 2048 * 128 + 2048 * 128) + 4 * 2048
    assert tiling.materialised_bytes(2048, 64) == 2 * (4 * 2048**2 + 4 * 2048 * 64)


@pytest.mark.parametrize("n", [1000, 4096])
def test_bytes_are_those_of_the_planner(n: int) -> None:
    assert tiling.tiled_bytes(n, 64, QUERY_TILE) == flash_traffic_bytes(ONE, n, n)
    assert tiling.materialised_bytes(n, 64) == naive_traffic_bytes(ONE, n, n)


def test_traffic_and_roof() -> None:
    found = tiling.traffic(ONE, 1024)
    assert found.flops == 4 * 64 * 1024 * 1024
    # Q, K, V and O once, and a float32 for each row
    assert found.cached_bytes == 2 * 4 * 1024 * 64 + 4 * 1024
    assert found.cached_intensity == found.flops / found.cached_bytes
    assert found.saving == found.naive_bytes / found.flash_bytes > 1
    assert tiling.reachable_flops_per_s(100, 1e15, 2e12) == 2e14
    assert tiling.reachable_flops_per_s(1000, 1e15, 2e12) == 1e15


def test_one_layer_with_its_scores_and_without() -> None:
    found = tiling.layer_memory(Heads(8, 2, 64, 64, None), 1024)
    # Q and O of 8 heads, K and V of 2
    operands = 2 * (8 + 2) * 1024 * 64 * 2
    assert found.tiled_bytes == operands + 4 * 8 * 1024
    assert found.materialised_bytes == operands + 2 * 8 * 1024 * 1024
    assert found.saving == found.materialised_bytes / found.tiled_bytes


def test_the_ceiling_of_tiling_is_the_ratio_of_what_the_roofs_allow() -> None:
    work = tiling.traffic(ONE, 1024)
    # 4 x 64 n^2 FLOPs over 2 x (4 n^2 + 4 n x 64) B
    naive = 4 * 64 * 1024**2 / (2 * (4 * 1024**2 + 4 * 1024 * 64))
    assert tiling.ceiling(work, 1e14, 1e12, 1e14) == pytest.approx(100 / naive)
    assert tiling.ceiling(work, 1e14, 1e12, 2e14) == pytest.approx(200 / naive)
    assert tiling.ceiling(work, 1e12, 1e12, 1e12) == 1
