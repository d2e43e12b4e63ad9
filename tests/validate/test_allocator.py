"""The allocator's rules against cases worked out by hand from its source."""

import pytest

from planner.units import MIB
from validate.allocator import Allocator, allocated_bytes, block_bytes, segment_bytes


@pytest.mark.parametrize(
    ("size", "block", "segment"),
    [
        (1, 512, 2 * MIB),
        (513, 1024, 2 * MIB),
        (MIB, MIB, 2 * MIB),
        (MIB + 1, MIB + 512, 20 * MIB),
        (10 * MIB - 512, 10 * MIB - 512, 20 * MIB),
        (10 * MIB, 10 * MIB, 10 * MIB),
        (10 * MIB + 1, 10 * MIB + 512, 12 * MIB),
        (33 * MIB, 33 * MIB, 34 * MIB),
    ],
)
def test_sizes_and_segments(size: int, block: int, segment: int) -> None:
    assert block_bytes(size) == block
    assert segment_bytes(block) == segment


def test_small_tensors_share_a_segment_until_it_is_full() -> None:
    allocator = Allocator()
    for _ in range(3):
        allocator.allocate(600_000)  # 1172 blocks of 512 B
    assert allocator.allocated_bytes == 3 * 600_064
    assert allocator.reserved_bytes == 2 * MIB
    allocator.allocate(600_000)  # 296,960 B are left: too few
    assert allocator.reserved_bytes == 4 * MIB


def test_a_large_rest_of_at_most_a_mebibyte_stays_with_its_tensor() -> None:
    assert allocated_bytes(11 * MIB) == 12 * MIB
    assert allocated_bytes(11 * MIB - 512) == 11 * MIB - 512


def test_middle_sizes_are_cut_from_twenty_mebibytes() -> None:
    allocator = Allocator()
    for _ in range(4):
        allocator.allocate(5 * MIB)
    assert (allocator.allocated_bytes, allocator.reserved_bytes) == (20 * MIB, 20 * MIB)
    allocator.allocate(5 * MIB)
    assert allocator.reserved_bytes == 40 * MIB


def test_freed_neighbours_merge_and_are_used_again() -> None:
    allocator = Allocator()
    blocks = [allocator.allocate(5 * MIB) for _ in range(4)]
    allocator.release(blocks[1])
    allocator.release(blocks[2])
    allocator.allocate(10 * MIB - 512)
    assert allocator.reserved_bytes == 20 * MIB
    assert allocator.peak_allocated_bytes == 20 * MIB


def test_the_smallest_free_block_that_fits_is_taken() -> None:
    allocator = Allocator()
    large, small = allocator.allocate(40 * MIB), allocator.allocate(30 * MIB)
    allocator.release(large)
    allocator.release(small)
    again = allocator.allocate(30 * MIB)
    assert again is not None
    assert again.segment == 1


def test_emptying_the_cache_gives_whole_segments_back() -> None:
    allocator = Allocator()
    kept, gone = allocator.allocate(3 * MIB), allocator.allocate(40 * MIB)
    allocator.release(gone)
    allocator.empty_cache()
    assert allocator.reserved_bytes == 20 * MIB
    assert kept is not None
    assert allocator.allocated_bytes == 3 * MIB


def test_empty_tensors_take_nothing() -> None:
    assert allocated_bytes(0, 0) == 0
