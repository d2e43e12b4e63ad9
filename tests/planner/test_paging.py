"""Waste of contiguous and paged memory, by hand."""

from planner.kv_cache import CacheTerm
from planner.paging import beam_saving_bytes, prefix_saving_bytes, waste

TERM = CacheTerm(bytes_per_entry=10, window=None, stride=1, lag=0)
WINDOW = CacheTerm(bytes_per_entry=10, window=32, stride=1, lag=0)


def test_blocks_round_up_and_reservations_hold_the_longest() -> None:
    found = waste([TERM], [1, 16, 17], max_model_len=100, block_size=16)
    assert found.used_bytes == 340
    assert found.paged_bytes == 10 * (16 + 16 + 32)
    assert found.rounding_bytes == 300
    assert found.contiguous_bytes == 3000
    assert found.over_reserved_bytes == 2660


def test_only_whole_blocks_of_a_prefix_are_shared() -> None:
    assert prefix_saving_bytes([TERM], [100] * 5, 40, block_size=16) == 4 * 32 * 10


def test_a_window_shares_what_it_still_holds() -> None:
    assert prefix_saving_bytes([WINDOW], [100] * 5, 80, block_size=16) == 4 * (80 - 68) * 10
    assert prefix_saving_bytes([WINDOW], [100] * 5, 64, block_size=16) == 0


def test_beams_copy_the_block_in_which_the_prompt_ends() -> None:
    # Prompt of 40 tokens: 2 whole blocks shared, the third copied by each beam.
    assert beam_saving_bytes([TERM], 100, 40, 4, block_size=16) == 3 * 32 * 10
