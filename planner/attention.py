"""Working memory, FLOPs and memory traffic of attention: materialised, and flash.

n_q queries attend to n_k keys in H heads of d_qk (scores) and d_v (values); a window or a causal
mask leaves fewer pairs. Traffic counts bytes between device memory and the chip, in elements of
`element_bytes`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from planner.kinds.attention import Attention, LatentAttention
from planner.kinds.compressed import CompressedAttention
from planner.model import LayerGroup
from planner.units import ceil_div

Softmax = Attention | LatentAttention | CompressedAttention
SOFTMAX = (Attention, LatentAttention, CompressedAttention)
LSE_BYTES = 4
PARTIAL_BYTES = 4
MAX_SPLITS = 32
CTAS_PER_SM = 4
QUERY_TILE = 128
KEY_TILE = 128


@dataclass(frozen=True, slots=True)
class Heads:
    """What the formulas need of one layer's attention, on one rank."""

    num_heads: int
    num_kv_heads: int
    score_dim: int
    value_dim: int
    window: int | None


def attention_layers(
    groups: Iterable[LayerGroup], tensor_parallel_size: int = 1
) -> Iterator[tuple[Heads, int]]:
    """Every kind of softmax attention in these groups with its number of layers."""
    for group in groups:
        for mixer in group.mixers:
            if isinstance(mixer, SOFTMAX):
                yield heads_of(mixer, tensor_parallel_size), group.count


def heads_of(mixer: Softmax, tensor_parallel_size: int = 1) -> Heads:
    """One layer's attention as a rank computes it in prefill (MLA: expanded to all heads)."""
    tp = tensor_parallel_size
    return Heads(
        mixer.num_attention_heads // tp,
        max(1, mixer.num_key_value_heads // tp),
        mixer.head_dim,
        mixer.value_dim,
        mixer.window,
    )


def pairs(n_q: int, n_k: int, *, causal: bool = True, window: int | None = None) -> int:
    """Query-key pairs that are computed when the last query is aligned with the last key."""
    if not causal:
        return n_q * n_k
    n_q = min(n_q, n_k)
    first = n_k - n_q + 1
    reach = n_k if window is None else min(window, n_k)
    growing = max(0, min(reach - first + 1, n_q))
    return (2 * first + growing - 1) * growing // 2 + reach * (n_q - growing)


def score_matrix_bytes(heads: Heads, n_q: int, n_k: int, *, element_bytes: int = 2) -> int:
    """The materialised scores of one layer and one sequence: H x n_q x n_k.

    One layer at a time is alive, so this is the peak and not a term of a sum over layers.
    """
    return heads.num_heads * n_q * n_k * element_bytes


def lse_bytes(heads: Heads, n_q: int, sequences: int = 1) -> int:
    """Flash attention's own output beside O in prefill: one float32 per query and head."""
    return LSE_BYTES * heads.num_heads * n_q * sequences


def split_kv_bytes(heads: Heads, sequences: int, splits: int, query_tokens: int = 1) -> int:
    """Partial outputs and their log-sum-exps of a split-KV decode step, float32.

    splits x tokens x H x (d_v + 1) x 4; nothing when one split writes the output itself.
    Source: FlashAttention's out_accum and lse_accum.
    """
    if splits == 1:
        return 0
    rows = splits * sequences * query_tokens * heads.num_heads
    return PARTIAL_BYTES * rows * (heads.value_dim + 1)


def decode_splits(heads: Heads, sequences: int, tokens: int, sm_count: int) -> int:
    """Splits that fill one wave of the GPU and leave each split at least one key tile.

    CTAs of a step = sequences x KV heads x splits, at most CTAS_PER_SM x sm_count; capped as
    vLLM caps it under CUDA graphs.
    """
    wave = CTAS_PER_SM * sm_count // max(1, sequences * heads.num_kv_heads)
    return max(1, min(wave, ceil_div(tokens, KEY_TILE), MAX_SPLITS))


def flops(heads: Heads, n_q: int, n_k: int, *, causal: bool = True) -> int:
    """Multiply-adds x 2 of QK^T and PV over the pairs that the mask leaves."""
    computed = pairs(n_q, n_k, causal=causal, window=heads.window)
    return 2 * heads.num_heads * computed * (heads.score_dim + heads.value_dim)


def naive_traffic_bytes(heads: Heads, n_q: int, n_k: int, *, element_bytes: int = 2) -> int:
    """Device memory traffic of attention that materialises its scores.

    Q, K, V read, O written; scores written, read by softmax, probabilities written, read by PV.
    """
    scores = heads.num_heads * n_q * n_k
    return element_bytes * (4 * scores + _operands(heads, n_q, n_k))


def flash_traffic_bytes(heads: Heads, n_q: int, n_k: int, *, element_bytes: int = 2) -> int:
    """Device memory traffic of tiled attention: K and V once per tile of queries, Q and O once.

    An upper figure: a cache between the chip and device memory serves part of the re-reads.
    Source: Dao 2023 (FlashAttention-2), outer loop over query tiles.
    """
    passes = ceil_div(n_q, QUERY_TILE)
    window = n_k if heads.window is None else min(n_k, heads.window + QUERY_TILE)
    keys = passes * min(n_k, window) * heads.num_heads * (heads.score_dim + heads.value_dim)
    queries = n_q * heads.num_heads * (heads.score_dim + heads.value_dim)
    return element_bytes * (keys + queries) + lse_bytes(heads, n_q)


def _operands(heads: Heads, n_q: int, n_k: int) -> int:
    queries = n_q * heads.num_heads * (heads.score_dim + heads.value_dim)
    return queries + n_k * heads.num_kv_heads * (heads.score_dim + heads.value_dim)
