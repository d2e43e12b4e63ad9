"""Shared blocks by hand: how many a batch holds, and that a broken share is found out."""

import pytest
import torch

from kernels.kv_cache import PagedKVCache
from validate.bench import Bench
from validate.record import Case
from validate.sharing_checks import sharing_cases

BLOCK_BYTES = 16 * 2 * 64 * 2 * 2  # tokens, heads, head_dim, keys and values, two bytes each


def cases(prompt: int, own: int) -> dict[str, Case]:
    found = sharing_cases(Bench(torch.device("cpu")), 3, prompt, own, 4, 2, 64)
    return {f"{case.section} {case.id.split('/')[2].split('-')[0]}": case for case in found}


@pytest.mark.parametrize(
    ("prompt", "own", "blocks"),
    [(40, 9, 2 + 3 * 2), (48, 7, 3 + 3 * 1)],
)
def test_whole_blocks_are_held_once_and_answers_stay_the_same(
    prompt: int, own: int, blocks: int
) -> None:
    found = cases(prompt, own)
    assert set(found) == {
        "memory sequences", "memory samples", "correctness sequences", "correctness samples"
    }  # fmt: skip
    for case in found.values():
        assert case.verdict == "pass"
        if case.section == "memory":
            assert case.predicted == case.measured == blocks * BLOCK_BYTES


def test_a_sample_that_writes_into_anothers_block_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kernels.block_allocator.BlockAllocator.owners", lambda self, block: 1)
    found = cases(40, 7)
    assert found["memory samples"].verdict == "fail"
    assert found["correctness samples"].verdict == "fail"
    assert found["correctness sequences"].verdict == "pass"


def test_a_cache_that_finds_no_prefix_holds_more_than_planned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = PagedKVCache.add
    monkeypatch.setattr(PagedKVCache, "add", lambda self, name, tokens=(): start(self, name))
    found = cases(40, 7)
    assert found["memory sequences"].measured == 9 * BLOCK_BYTES
    assert found["memory sequences"].verdict == "fail"
