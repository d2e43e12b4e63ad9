"""The launches of attention in one pass: positions, new entries of the cache, the kernel itself."""

from collections.abc import Iterator
from dataclasses import replace

from planner.attention import heads_of
from planner.kinds.attention import Attention, LatentAttention
from planner.kv_cache import entry_bytes
from planner.tensors import CacheTensor
from planner.timing.one_pass import OnePass
from planner.timing.roofline import Work
from planner.timing.sparse_costs import choosing, chosen_latents

NARROW_GROUP = 4
"""Query heads that share a KV head; with more, a decode step of the same cache takes up to a tenth
longer on an H200."""


def group_word(heads: int, kv_heads: int) -> str:
    """What the variant of a decode kernel says of its group: " wide" or nothing."""
    return " wide" if heads > NARROW_GROUP * kv_heads else ""


def attention(step: OnePass, mixer: Attention, count: int) -> Iterator[Work]:
    """Attention over keys and values of heads, in `count` layers."""
    heads = heads_of(mixer, step.tp)
    turned = [heads.num_heads, heads.num_kv_heads]
    for each in [sum(turned)] if mixer.qk_norm == "none" else turned:
        yield step.elementwise("rope", count, 2 * step.rows * each * heads.score_dim)
    kept = (
        CacheTensor("keys", heads.num_kv_heads, heads.score_dim),
        CacheTensor("values", heads.num_kv_heads, heads.value_dim),
    )
    for tensor in () if mixer.shares_cache else kept:
        yield step.store(tensor.heads * tensor.width, count)
    if mixer.indexer is not None:
        yield from choosing(step, mixer.indexer, step.numbers, count)
        reach = (
            mixer.indexer.topk if heads.window is None else min(mixer.indexer.topk, heads.window)
        )
        heads = replace(heads, window=reach)
    heads = replace(heads, num_heads=heads.num_heads * step.queries_of)
    variant = f"d{heads.score_dim}"
    if heads.value_dim != heads.score_dim:
        variant += f"/{heads.value_dim}"
    queries = step.rows * heads.num_heads * (heads.score_dim + heads.value_dim)
    if step.decode:
        per_entry = sum(entry_bytes(t, step.cache) for t in kept)
        kernel, variant = "paged_decode", f"{variant} {step.cache.name}"
        variant += group_word(heads.num_heads, heads.num_kv_heads)
        kv = per_entry * step.reach(heads.window)
    else:
        per_token = heads.num_kv_heads * (heads.score_dim + heads.value_dim) * step.size
        kernel, kv = "flash_attention", per_token * step.reach(heads.window, step.tokens)
    if mixer.window is not None:
        variant += " window"
    yield Work(
        kernel, variant, "attention", count, step.numbers, step.pair_flops(heads),
        kv_bytes=kv, activation_bytes=queries * step.size,
    )  # fmt: skip


def latent_attention(step: OnePass, mixer: LatentAttention, count: int) -> Iterator[Work]:
    """MLA in `count` layers: over whole heads in prefill, over the latents in decode and where each
    query chooses its own.
    """
    heads = heads_of(mixer, step.tp)
    width = mixer.kv_lora_rank + mixer.qk_rope_head_dim
    turned = [heads.num_heads]
    if not mixer.shares_cache:
        turned.append(1)
        yield step.elementwise("latent norm", count, 2 * step.rows * mixer.kv_lora_rank)
    for each in turned:
        yield step.elementwise("rope", count, 2 * step.rows * each * mixer.qk_rope_head_dim)
    if not mixer.shares_cache:
        yield step.store(width, count)
    values = step.rows * heads.num_heads * heads.value_dim
    if mixer.indexer is not None:
        yield from choosing(step, mixer.indexer, "fp8", count)
        yield step.elementwise("join heads", count, 2 * values)
        yield chosen_latents(step, mixer, mixer.indexer.reach(mixer.window), count)
        return
    if not step.decode:
        joined = heads.num_heads * heads.score_dim
        yield step.elementwise("join keys", count, 2 * step.rows * joined)
        kv = step.rows * heads.num_heads * (heads.score_dim + heads.value_dim) * step.size
        queries = step.rows * heads.num_heads * (heads.score_dim + heads.value_dim)
        yield Work(
            "flash_attention", f"d{heads.score_dim}/{heads.value_dim}", "attention", count,
            step.numbers, step.pair_flops(heads), kv_bytes=kv,
            activation_bytes=queries * step.size,
        )  # fmt: skip
        return
    yield step.elementwise("join heads", count, 2 * values)
    tokens = step.reach(heads.window)
    latent = entry_bytes(CacheTensor("latent", 1, width), step.cache, step.tp)
    queried = heads.num_heads * step.queries_of
    queries = step.rows * queried * (width + mixer.kv_lora_rank)
    arithmetic = 2 * step.tokens * tokens * queried * (width + mixer.kv_lora_rank)
    yield Work(
        "mla_decode", f"h{queried} {step.cache.name}", "attention", count,
        step.numbers, arithmetic, kv_bytes=latent * tokens,
        activation_bytes=queries * step.size,
    )  # fmt: skip
