"""The story of a paged cache on the real allocator, and against the cache that runs."""

import pytest

from kernels.block_allocator import BlockAllocator
from planner.lessons.paging_walk import (
    blocks_for,
    fragmentation,
    sample_lengths,
    story,
)


def test_blocks_by_hand() -> None:
    tables = [scene.tables for scene in story(BlockAllocator(12), 4)]
    assert tables == [
        {"A": (0, 1, 2)},
        {"A": (0, 1, 2), "B": (0, 1, 3)},
        {"A": (0, 1, 2), "B": (0, 1, 3), "A2": (0, 1, 2)},
        {"A": (0, 1, 2), "B": (0, 1, 3), "A2": (0, 1, 4)},
        {"A": (0, 1, 2, 5), "B": (0, 1, 3), "A2": (0, 1, 4)},
        {"A": (0, 1, 2, 5), "A2": (0, 1, 4)},
        {},
        {"C": (0, 1, 4)},
    ]


@pytest.mark.parametrize("block_size", [1, 2, 3, 16])
def test_owners_are_the_tables(block_size: int) -> None:
    for scene in story(BlockAllocator(12), block_size):
        named = [b for table in scene.tables.values() for b in table]
        assert scene.owners == tuple(named.count(b) for b in range(12))
        assert scene.used == len(set(named))
        assert scene.references == len(named)
        for name, table in scene.tables.items():
            assert len(table) == -(-scene.tokens[name] // block_size)


def test_the_same_tables_as_the_cache_that_runs() -> None:
    pytest.importorskip("torch")
    from kernels.kv_cache import PagedKVCache

    size = 16
    cache = PagedKVCache(num_blocks=12, block_size=size, kv_heads=1, head_dim=16, device="cpu")
    prompt, seen = list(range(40)), []

    def note() -> None:
        names = [n for n in ("A", "B", "A2", "C") if n in alive]
        rows = cache.batch(names)[0].tolist() if names else []
        found = {n: tuple(b for b in row if b >= 0) for n, row in zip(names, rows, strict=True)}
        seen.append(found)

    alive: set[str] = set()
    for name in ("A", "B"):
        cache.append(name, prompt[cache.add(name, prompt) :])
        alive.add(name)
        note()
    cache.fork("A", "A2")
    alive.add("A2")
    note()
    cache.append("A2", [77])
    note()
    cache.append("A", list(range(9)))
    note()
    cache.free("B")
    alive.remove("B")
    note()
    cache.free("A")
    cache.free("A2")
    alive.clear()
    note()
    cache.append("C", prompt[cache.add("C", prompt) :])
    alive.add("C")
    note()
    assert seen == [scene.tables for scene in story(BlockAllocator(12), size)]


def test_fragmentation_by_hand() -> None:
    found = fragmentation(BlockAllocator(4), [1, 16, 17], longest=32, block_size=16)
    assert (found.used, found.contiguous, found.paged) == (34, 96, 64)
    assert found.contiguous_waste == pytest.approx(62 / 96)
    assert found.paged_waste == pytest.approx(30 / 64)
    assert blocks_for([1, 16, 17], 16) == 4


def test_sample_lengths_stay_the_same_and_within() -> None:
    lengths = sample_lengths(200, 4096)
    assert lengths == sample_lengths(200, 4096)
    assert all(1 <= n <= 4096 for n in lengths)
    assert sorted(lengths)[100] < 4096 / 4
