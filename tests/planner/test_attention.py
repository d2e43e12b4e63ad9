"""Working memory and traffic of attention against counting and published figures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.attention import (
    Heads,
    decode_splits,
    flash_traffic_bytes,
    flops,
    lse_bytes,
    naive_traffic_bytes,
    pairs,
    score_matrix_bytes,
    split_kv_bytes,
)

LLAMA = Heads(num_heads=32, num_kv_heads=8, score_dim=128, value_dim=128, window=None)


@given(
    n_q=st.integers(1, 40),
    before=st.integers(0, 40),
    window=st.one_of(st.none(), st.integers(1, 50)),
)
def test_pairs_equal_counting_the_mask(n_q: int, before: int, window: int | None) -> None:
    n_k = n_q + before
    counted = sum(
        1
        for q in range(n_q)
        for k in range(n_k)
        if k <= before + q and (window is None or k > before + q - window)
    )
    assert pairs(n_q, n_k, window=window) == counted


def test_scores_of_one_head_at_32k_in_fp32_are_four_gib() -> None:
    one = Heads(1, 1, 128, 128, None)
    assert score_matrix_bytes(one, 32768, 32768, element_bytes=4) == 4 * 2**30


def test_scores_of_32_heads_at_8k_are_four_gib_per_layer() -> None:
    assert score_matrix_bytes(LLAMA, 8192, 8192) == 8192**2 * 32 * 2


def test_split_kv_partials_match_the_published_258_mib() -> None:
    # 512 tokens, 32 heads, d 128, 32 splits: engines' own figure is 258 MiB.
    assert split_kv_bytes(LLAMA, 512, 32) == 258 * 2**20


def test_one_split_needs_no_partials() -> None:
    assert split_kv_bytes(LLAMA, 512, 1) == 0


def test_lse_is_one_float_per_query_and_head() -> None:
    assert lse_bytes(LLAMA, 8192) == 8192 * 32 * 4


def test_flops_of_causal_attention_are_half_of_full() -> None:
    n = 4096
    assert flops(LLAMA, n, n, causal=False) == 4 * n * n * 128 * 32
    assert flops(LLAMA, n, n) * 2 == flops(LLAMA, n, n, causal=False) + 4 * n * 128 * 32


def test_tiling_moves_far_fewer_bytes_than_materialised_scores() -> None:
    n = 8192
    naive, flash = naive_traffic_bytes(LLAMA, n, n), flash_traffic_bytes(LLAMA, n, n)
    assert naive == 2 * (4 * 32 * n * n + n * 32 * 256 + n * 8 * 256)
    assert flash == 2 * (64 * n * 32 * 256 + n * 32 * 256) + 4 * 32 * n


@pytest.mark.parametrize(
    ("sequences", "tokens", "splits"), [(1, 131072, 32), (64, 8192, 1), (1, 100, 1), (8, 32768, 8)]
)
def test_splits_fill_one_wave(sequences: int, tokens: int, splits: int) -> None:
    assert decode_splits(LLAMA, sequences, tokens, sm_count=132) == splits
