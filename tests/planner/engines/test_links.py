"""Cards without links of their own spend less on communicators."""

import pytest

from planner.engines.links import linked
from planner.engines.vllm.overheads import non_torch
from planner.engines.vllm.versions import rules_of
from planner.hardware import custom_gpu
from planner.units import GIB
from presets.gpus import load_gpu


@pytest.mark.parametrize(
    ("gpu", "ranks", "expected"),
    [("h100-sxm5-80gb", 8, True), ("rtx-4090", 2, False), ("l40s", 2, False), ("mi300x", 8, True)],
)
def test_which_cards_have_links(gpu: str, ranks: int, expected: bool) -> None:
    assert linked(load_gpu(gpu), ranks) is expected


def test_links_are_assumed_of_a_card_known_by_its_memory() -> None:
    assert linked(custom_gpu(80 * GIB), 8)


def test_unlinked_cards_have_no_large_buffers() -> None:
    """Four RTX 2080 Ti in 0.8.5 print 0.20 GiB, eight A100 2.1."""
    rules = rules_of("0.8.5")
    assert non_torch(rules, 4, 1, load_gpu("rtx-3090")).bytes == pytest.approx(0.2 * GIB, abs=1)
    assert non_torch(rules, 8, 1, load_gpu("a100-sxm4-80gb")).bytes > 2 * GIB


def test_memory_shared_with_the_cpu_grows_more() -> None:
    gb10 = load_gpu("gb10")
    assert non_torch(rules_of("0.27.1"), 1, 1, gb10).bytes > 2 * GIB
    assert non_torch(rules_of("0.13.0"), 1, 1, gb10).bytes > 2 * GIB
    assert non_torch(rules_of("0.11.0"), 1, 1, gb10).bytes < 0.2 * GIB
