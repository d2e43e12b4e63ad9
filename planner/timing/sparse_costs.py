"""The launches of sparse attention in one pass: a small network scores all keys, a query sees few.

As the published kernels work: scores are written and the best picked from them, then every query
gathers its own keys; latents are attended to in absorbed form, in prompts too (DeepSeek-V3.2,
deepseek-ai/FlashMLA). Compressed attention (DeepSeek-V4) adds entries for several tokens each.
"""

from collections.abc import Iterator
from typing import Any

from planner.attention import pairs
from planner.kinds.attention import LatentAttention
from planner.kinds.compressed import CompressedAttention
from planner.kinds.indexer import Indexer
from planner.kv_cache import entry_bytes
from planner.tensors import CacheTensor
from planner.timing.one_pass import OnePass
from planner.timing.roofline import Work
from planner.units import ceil_div

CHOICE_BYTES = 12
"""Of a key that a query may choose: its score in fp32, written and read twice. An estimate."""
QUERY_HEADS = 64
"""FlashMLA's sparse kernels compute a multiple of so many query heads."""


def seen(step: OnePass, window: int | None, stride: int = 1) -> Any:
    """Pairs of a query and an entry it sees, of all sequences; an entry stands for `stride` tokens
    and `window` counts entries.
    """
    reach = None if window is None else window * stride
    found = step.contexts.items()
    return sum(t * (pairs(step.tokens, n, window=reach) // stride) for n, t in found)


def choosing(step: OnePass, indexer: Indexer, numbers: str, count: int) -> Iterator[Work]:
    """What `count` layers do to choose keys; nothing where they reuse another layer's choice."""
    if indexer.shared:
        return
    (keys,) = indexer.cache(None)
    yield step.store(keys.width, count)
    yield from _choosing(step, indexer.num_heads, indexer.head_dim, keys, numbers, count)


def _choosing(
    step: OnePass, heads: int, head_dim: int, keys: CacheTensor, numbers: str, count: int
) -> Iterator[Work]:
    looked_at = seen(step, None, keys.stride)
    read = sum(t * (n // keys.stride) for n, t in step.contexts.items())
    yield Work(
        "indexer", numbers, "attention", count, numbers, 2 * heads * head_dim * looked_at,
        kv_bytes=entry_bytes(keys, step.cache) * read,
    )  # fmt: skip
    yield step.elementwise("choose keys", count, CHOICE_BYTES * looked_at // step.size)


def chosen_latents(step: OnePass, mixer: LatentAttention, reach: int, count: int) -> Work:
    """MLA over the latents that each query has chosen, `reach` at most, in `count` layers."""
    width = mixer.kv_lora_rank + mixer.qk_rope_head_dim
    latent = entry_bytes(CacheTensor("latent", 1, width), step.cache, step.tp)
    heads = mixer.num_attention_heads // step.tp
    return _gathered(step, heads, width, mixer.kv_lora_rank, seen(step, reach), latent, count)


def _gathered(
    step: OnePass, heads: int, score_dim: int, value_dim: int, looked_at: Any, entry: int,
    count: int,
) -> Work:  # fmt: skip
    """Attention to entries that all heads share. Queries of one prompt meet in L2: what they gather
    is read once.
    """
    computed = ceil_div(heads, QUERY_HEADS) * QUERY_HEADS
    read = looked_at if step.decode else step.reach(None)
    return Work(
        "sparse_decode" if step.decode else "sparse_prefill", f"h{computed} {step.cache.name}",
        "attention", count, step.numbers, 2 * computed * looked_at * (score_dim + value_dim),
        kv_bytes=entry * read,
        activation_bytes=step.rows * heads * (score_dim + value_dim) * step.size,
    )  # fmt: skip


def compressed_attention(step: OnePass, mixer: CompressedAttention, count: int) -> Iterator[Work]:
    """DeepSeek-V4's attention in `count` layers: a window of tokens, and entries for the past."""
    heads, width = mixer.num_attention_heads // step.tp, mixer.head_dim
    yield step.elementwise("query and key norms", count, 2 * step.rows * (heads + 1) * width)
    yield step.elementwise("rope", count, 2 * step.rows * (heads + 1) * width)
    yield step.store(width, count)
    looked_at = seen(step, mixer.window)
    entry = entry_bytes(CacheTensor("latent", 1, width), step.cache)
    compressor = mixer.compressor
    if compressor is not None:
        rate, wide = compressor.compress_rate, 2 if compressor.overlap else 1
        for _, size in mixer.widths:  # values and gates, read; one entry of some tokens, written
            moved = 2 * wide * size * step.rows + size * step.rows // rate
            yield step.elementwise("compress", count, moved)
        if compressor.index_n_heads:
            keys = CacheTensor("indexer_keys", 1, compressor.index_head_dim, stride=rate)
            yield from _choosing(
                step, compressor.index_n_heads, compressor.index_head_dim, keys, "fp8", count
            )
        looked_at += seen(step, compressor.index_topk or None, rate)
    yield _gathered(step, heads, width, width, looked_at, entry, count)
