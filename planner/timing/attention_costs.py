"""The launches of attention in one pass: positions, new entries of the cache, the kernel itself."""

from collections.abc import Iterator

from planner.attention import heads_of
from planner.kinds.attention import Attention, LatentAttention
from planner.kv_cache import entry_bytes
from planner.tensors import CacheTensor
from planner.timing.one_pass import OnePass
from planner.timing.roofline import Work

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
    if heads.window is not None:
        variant += " window"
    yield Work(
        kernel, variant, "attention", count, step.numbers, step.pair_flops(heads),
        kv_bytes=kv, activation_bytes=queries * step.size,
    )  # fmt: skip


def latent_attention(step: OnePass, mixer: LatentAttention, count: int) -> Iterator[Work]:
    """MLA in `count` layers: over whole heads in prefill, over the latents in decode."""
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
    values = step.rows * heads.num_heads * heads.value_dim
    yield step.elementwise("join heads", count, 2 * values)
    tokens = step.reach(heads.window)
    latent = entry_bytes(CacheTensor("latent", 1, width), step.cache, step.tp)
    queries = step.rows * heads.num_heads * (width + mixer.kv_lora_rank)
    arithmetic = 2 * step.tokens * tokens * heads.num_heads * (width + mixer.kv_lora_rank)
    yield Work(
        "mla_decode", f"h{heads.num_heads} {step.cache.name}", "attention", count,
        step.numbers, arithmetic, kv_bytes=latent * tokens,
        activation_bytes=queries * step.size,
    )  # fmt: skip
