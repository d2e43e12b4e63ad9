"""The paged cache under any order of operations, against one that keeps lists of tokens."""

import pytest
import torch

pytest.importorskip("hypothesis")
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kernels.block_allocator import OutOfBlocksError
from kernels.kv_cache import PagedKVCache
from kernels.paged_reference import gather_pages


class CacheMachine(RuleBasedStateMachine):
    """Any order of operations, against a cache that keeps each sequence's tokens in a list."""

    def __init__(self):
        super().__init__()
        self.cache = PagedKVCache(
            num_blocks=6, block_size=16, kv_heads=1, head_dim=1, dtype=torch.float32, device="cpu"
        )
        self.expected = {}
        self.count = 0

    def write(self, name, tokens):
        slots = self.cache.append(name, tokens)
        written = torch.tensor(tokens, dtype=torch.float32)
        for cache, sign in ((self.cache.k_cache, 1), (self.cache.v_cache, -1)):
            cache[0, slots // 16, slots % 16, 0, 0] = sign * written

    @rule(tokens=st.lists(st.integers(0, 1), max_size=40))
    def add(self, tokens):
        self.count += 1
        found = self.cache.add(self.count, tokens)
        self.expected[self.count] = tokens[:found]
        self.grow(self.count, tokens[found:])

    def grow(self, name, tokens):
        try:
            self.write(name, tokens)
        except OutOfBlocksError:
            return
        self.expected[name] = self.expected[name] + tokens

    @precondition(lambda self: self.expected)
    @rule(data=st.data(), tokens=st.lists(st.integers(0, 1), max_size=20))
    def append(self, data, tokens):
        self.grow(data.draw(st.sampled_from(sorted(self.expected))), tokens)

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def fork(self, data):
        parent = data.draw(st.sampled_from(sorted(self.expected)))
        self.count += 1
        self.cache.fork(parent, self.count)
        self.expected[self.count] = list(self.expected[parent])

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def free(self, data):
        name = data.draw(st.sampled_from(sorted(self.expected)))
        self.cache.free(name)
        del self.expected[name]

    @invariant()
    def every_sequence_reads_back(self):
        table, lengths = self.cache.batch(sorted(self.expected))
        owned = []
        for row, name in enumerate(sorted(self.expected)):
            length = int(lengths[row])
            for cache, sign in ((self.cache.k_cache, 1), (self.cache.v_cache, -1)):
                read = sign * gather_pages(cache[0], table[row], length).flatten()
                assert read.tolist() == self.expected[name]
            owned += table[row, : -(-length // 16)].tolist()
        usage = self.cache.usage()
        assert usage.references == len(owned)
        assert usage.used == len(set(owned))
        assert usage.shared == sum(owned.count(block) > 1 for block in set(owned))


TestAnyOrder = CacheMachine.TestCase
TestAnyOrder.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)
