"""Sequences that share blocks of a paged cache: the bytes they hold, and the answers they give.

Sequences that begin alike find each other's whole blocks by content. Samples of one prompt are
forks: the block in which the prompt ends is copied by each that writes into it while another still
names it.
"""

from collections.abc import Iterator

import torch

from kernels.kv_cache import PagedKVCache
from kernels.paged_decode import paged_decode_attention
from planner.formats.dtypes import kv_format
from planner.kinds.attention import Attention
from planner.kv_cache import cache_terms
from planner.model import LayerGroup
from planner.paging import beam_saving_bytes, prefix_saving_bytes
from planner.units import ceil_div
from validate.bench import DTYPES, Bench, tensor_of
from validate.correctness_checks import relative_error
from validate.record import Case, measured

BLOCK_SIZE = 16


def sharing_cases(
    bench: Bench, sequences: int, prompt: int, own: int, heads: int, kv_heads: int, dim: int
) -> Iterator[Case]:
    """One layer, `sequences` of `prompt` common tokens and `own` further ones each."""
    mixer = Attention(num_attention_heads=heads, num_key_value_heads=kv_heads, head_dim=dim)
    (term,) = cache_terms([(LayerGroup(layers=(0,), mixers=(mixer,)), 1)], kv_format(bench.floats))
    length = prompt + own
    dtype = DTYPES[bench.floats]
    source = [bench.random(prompt + sequences * own, kv_heads, dim, dtype=dtype) for _ in "kv"]
    common = list(range(prompt))
    further = [list(range(start, start + own)) for start in range(prompt, len(source[0]), own)]

    def cache() -> PagedKVCache:
        return PagedKVCache(
            num_blocks=sequences * ceil_div(length, BLOCK_SIZE) + 1, block_size=BLOCK_SIZE,
            kv_heads=kv_heads, head_dim=dim, dtype=dtype, device=bench.device,
        )  # fmt: skip

    def append(to: PagedKVCache, row: int, tokens: list[int]) -> None:
        key, value = (tensor[tokens] for tensor in source)
        to.store(0, key, value, to.append(row, tokens))

    alike, forked, apart = cache(), cache(), cache()
    for row, more in enumerate(further):
        found = alike.add(row, common + more)
        append(alike, row, (common + more)[found:])
        apart.add(row)
        append(apart, row, common + more)
    forked.add(0)
    append(forked, 0, common)
    for row in range(1, sequences):
        forked.fork(0, row)
    for row, more in enumerate(further):
        append(forked, row, more)

    saved = prefix_saving_bytes([term], [length] * sequences, prompt, block_size=BLOCK_SIZE)
    of_forks = beam_saving_bytes([term], length, prompt, sequences, block_size=BLOCK_SIZE)
    q = bench.random(sequences, heads, dim, dtype=dtype)
    expected = _decode(apart, q)
    for what, used, saving in (
        ("sequences that begin alike", alike, saved),
        ("samples of one prompt", forked, of_forks),
    ):
        label = f"{sequences} {what}, {prompt:,} tokens shared, {own:,} each"
        name = f"sharing/{what}-{sequences}x{prompt}+{own}".replace(" ", "-")
        held = Case(
            f"memory/{name}", "memory", f"Blocks of {label}", "bytes",
            "planner.paging: whole blocks once, the one in which the shared part ends by each",
            sequences * term.paged_bytes(length, BLOCK_SIZE) - saving, tolerance=0.0,
        )  # fmt: skip
        yield measured(held, [used.usage().used * used.block_bytes])
        same = Case(
            f"correctness/{name}", "correctness", f"Paged decode of {label}", "error",
            "the bits that blocks of their own give", 0.0, at_most=True,
        )  # fmt: skip
        yield measured(same, [relative_error(_decode(used, q), expected)])


def _decode(cache: PagedKVCache, q: torch.Tensor) -> torch.Tensor:
    keys, values = cache.layer(0)
    assert values is not None
    return tensor_of(paged_decode_attention(q, keys, values, *cache.batch(range(len(q)))))
