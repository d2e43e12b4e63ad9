"""Ring and striped attention as time: who holds which tokens, who waits for whom.

In each step a rank attends its own queries to the keys and values that it has just received and
passes them on. Under a causal mask contiguous blocks leave the early ranks with nothing to do, and
everybody waits for the last. Stripes (every n-th token) give all about half a block each time.
Sources: Liu et al. 2023 (arXiv 2310.01889), Brandon et al. 2023 (arXiv 2311.09431).
"""

from planner.hardware import Gpu
from planner.lessons.parallel_timeline import Clock, Layer, Span, Timeline
from planner.timing.collectives import send_s
from planner.units import ceil_div, format_bytes


def block_pairs(query_rank: int, key_rank: int, block: int, *, striped: bool) -> int:
    """Causal pairs between the queries of one rank and the keys of another."""
    if striped:
        same = key_rank <= query_rank
        return block * (block + 1) // 2 if same else block * (block - 1) // 2
    if key_rank == query_rank:
        return block * (block + 1) // 2
    return block * block if key_rank < query_rank else 0


def ring_attention(one: Layer, ranks: int, gpu: Gpu, *, striped: bool) -> Timeline:
    """The attention of one layer; sending runs beside computing, and the slower one sets the pace.

    Tokens are rounded up to whole blocks.
    """
    clock = Clock(gpu, ranks)
    block = ceil_div(one.tokens, ranks)
    sent = ceil_div(one.kv_bytes, ranks)
    per_pair = 2 * one.heads.num_heads * (one.heads.score_dim + one.heads.value_dim)
    send = float(send_s(sent, clock.link))
    spans: list[Span] = []
    at = 0.0
    for step in range(ranks):
        took = [
            clock.compute_s(
                per_pair * block_pairs(rank, (rank - step) % ranks, block, striped=striped)
            )
            for rank in range(ranks)
        ]
        end = at + max(*took, send if step < ranks - 1 else 0.0)
        for rank, seconds in enumerate(took):
            origin = (rank - step) % ranks
            if seconds:
                what = f"step {step + 1}: keys of GPU {origin}"
                spans.append(Span(rank, "compute", what, at, at + seconds))
            if at + seconds < end:
                why = "waits for the slowest" if end == at + max(took) else "waits for the link"
                spans.append(Span(rank, "wait", why, at + seconds, end))
        at = end
    return Timeline(
        ranks,
        tuple(spans),
        tuple(_holds(rank, ranks, block, striped) for rank in range(ranks)),
        f"{format_bytes(sent)} of keys and values to the next GPU, {ranks - 1} times in every "
        f"layer, {send * 1e6:,.0f} µs each beside computing",
    )


def _holds(rank: int, ranks: int, block: int, striped: bool) -> str:
    if striped:
        return f"tokens {rank}, {rank + ranks}, {rank + 2 * ranks}, …"
    return f"tokens {rank * block:,} to {(rank + 1) * block - 1:,}"
