"""Parallelism as time: work is conserved, nobody does two things at once, ratios by hand."""

from itertools import pairwise

import pytest

from planner.errors import PlanRefused
from planner.lessons import parallel_timeline as lesson
from planner.lessons.parallel_timeline import Timeline
from planner.lessons.ring_timeline import block_pairs, ring_attention
from presets.claims import presets

known = presets()
H100 = known.gpu_of("h100-sxm5-80gb")
LLAMA = known.model_of("llama-3.1-8b")
QWEN = known.model_of("qwen3-30b-a3b")
N = 65536
PEAK = 989e12
LAYER = lesson.layer(LLAMA, N)


def timelines() -> list[Timeline]:
    return [
        lesson.tensor_parallel(LAYER, 4, H100),
        lesson.pipeline(LAYER, 32, 4, 8, H100),
        lesson.expert_parallel(lesson.layer(QWEN, N, experts=True), 4, H100, 128),
        ring_attention(LAYER, 4, H100, striped=False),
        ring_attention(LAYER, 4, H100, striped=True),
    ]


def test_layer_of_llama_by_hand() -> None:
    # q and o 4096 x 4096, k and v 1024 x 4096; gate, up and down 14336 x 4096
    projections = 2 * 4096 * 4096 + 2 * 1024 * 4096
    pairs = N * (N + 1) // 2
    assert LAYER.attention_flops == 2 * N * projections + 2 * 32 * 256 * pairs
    assert LAYER.mlp_flops == 2 * N * 3 * 14336 * 4096
    assert LAYER.hidden_bytes == N * 4096 * 2
    assert LAYER.kv_bytes == N * 2 * 8 * 128 * 2


@pytest.mark.parametrize("index", range(5))
def test_nobody_does_two_things_at_once(index: int) -> None:
    found = timelines()[index]
    assert len(found.holds) == found.ranks
    for rank in range(found.ranks):
        mine = sorted((s.start_s, s.end_s) for s in found.spans if s.rank == rank)
        assert mine
        for (_, end), (start, _) in pairwise(mine):
            assert start >= end - 1e-12


def test_tensor_parallel_conserves_work() -> None:
    found = timelines()[0]
    computed = sum(s.end_s - s.start_s for s in found.spans if s.doing == "compute")
    assert computed == pytest.approx((LAYER.attention_flops + LAYER.mlp_flops) / PEAK)


def test_pipeline_idles_as_the_formula_says() -> None:
    assert lesson.bubble(4, 8) == 3 / 11
    found = timelines()[1]
    assert found.busy(0) == pytest.approx(1 - 3 / 11, rel=0.02)
    assert found.holds[0] == "layers 0 to 7"
    assert found.holds[3] == "layers 24 to 31"


def test_experts_are_dealt_evenly_and_dense_models_have_none() -> None:
    assert timelines()[2].holds[3] == "experts 96 to 127"
    with pytest.raises(PlanRefused, match="no routed experts"):
        lesson.layer(LLAMA, N, experts=True)


@pytest.mark.parametrize("striped", [False, True])
@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_pairs_of_blocks_by_counting(ranks: int, striped: bool) -> None:
    block = 5
    owner = (lambda t: t % ranks) if striped else (lambda t: t // block)
    for i in range(ranks):
        for j in range(ranks):
            counted = sum(
                1
                for q in range(ranks * block)
                for k in range(q + 1)
                if owner(q) == i and owner(k) == j
            )
            assert block_pairs(i, j, block, striped=striped) == counted


def test_stripes_beat_blocks_by_2n_minus_1_over_n() -> None:
    for ranks in (2, 4):
        # long enough that attention hides the sending
        one = lesson.layer(LLAMA, 4 * N)
        plain = ring_attention(one, ranks, H100, striped=False)
        even = ring_attention(one, ranks, H100, striped=True)
        assert plain.seconds / even.seconds == pytest.approx((2 * ranks - 1) / ranks, rel=1e-3)
        assert min(even.busy(r) for r in range(ranks)) > 0.999
