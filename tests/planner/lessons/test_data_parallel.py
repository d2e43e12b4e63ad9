"""ZeRO of Llama 3.1 8B against the paper (Rajbhandari et al. 2020, figure 1 and section 7)."""

import pytest

from planner.lessons.data_parallel import zero_stages
from presets.claims import presets
from presets.gpus import load_gpu

P = 8_030_261_248
MODEL = presets().model_of("llama-3.1-8b")
GPU = load_gpu("h100-sxm5-80gb")


@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_bytes_held(ranks: int) -> None:
    """(2 + 2 + 12) P; then 12 / n, 2 / n and 2 / n of it."""
    found = zero_stages(MODEL, GPU, ranks, 1)
    expected = [16, 4 + 12 / ranks, 2 + 14 / ranks, 16 / ranks]
    assert [s.bytes_per_parameter for s in found] == pytest.approx(expected, rel=1e-6)
    assert [s.held["Optimizer"] for s in found[:2]] == pytest.approx(
        [12 * P, 12 * P / ranks], rel=1e-6
    )


@pytest.mark.parametrize(("batches", "volumes"), [(1, [2, 2, 2, 3]), (8, [2, 2, 9, 24])])
def test_bytes_sent(batches: int, volumes: list[int]) -> None:
    """2 P and 3 P of a step with one micro-batch (section 7); 7 / 8 of it leave each of 8."""
    found = zero_stages(MODEL, GPU, 8, batches)
    sent = [s.sent_bytes / (2 * P * 7 / 8) for s in found]
    assert sent == pytest.approx(volumes, rel=1e-6)
