"""One prompt on several GPUs, drawn as time: who computes, who sends, who waits.

    striped(layer, tokens=8192, ranks=4, gpu=gpu).seconds

Compute runs at the card's published 16-bit rate and links at what they sustain, so that the
proportions are the card's own; a real engine is slower in both.
"""

from dataclasses import dataclass
from typing import Literal

from planner.attention import Heads, flops, heads_of
from planner.errors import PlanRefused
from planner.hardware import Gpu
from planner.kinds.attention import Attention, LatentAttention
from planner.kinds.mlp import MoE
from planner.model import LayerGroup, Model
from planner.parallelism import stage_sizes
from planner.timing.collectives import all_reduce_s, all_to_all_s, link_between, send_s
from planner.timing.roofline import roofs_of
from planner.units import ceil_div, counted, format_bytes

ELEMENT_BYTES = 2
Doing = Literal["compute", "send", "wait", "products", "exponentials"]
"""The last two are of one GPU's units, where a row is a group of warps."""


@dataclass(frozen=True, slots=True)
class Span:
    """What GPU `rank` does from start_s to end_s."""

    rank: int
    doing: Doing
    what: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """Spans of all ranks. holds: what a rank keeps; sends: what it passes on, and how much."""

    ranks: int
    spans: tuple[Span, ...]
    holds: tuple[str, ...]
    sends: str

    @property
    def seconds(self) -> float:
        return max(span.end_s for span in self.spans)

    def busy(self, rank: int) -> float:
        """Share of the time that a rank computes."""
        mine = (s.end_s - s.start_s for s in self.spans if s.rank == rank and s.doing == "compute")
        return sum(mine) / self.seconds


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer for `tokens` tokens: FLOPs of its halves, bytes of hidden states and of K and V."""

    heads: Heads
    tokens: int
    attention_flops: int
    mlp_flops: int
    hidden_bytes: int
    kv_bytes: int
    top_k: int


def layer(model: Model, tokens: int, *, experts: bool = False) -> Layer:
    """The layer that the model has most of, with routed experts if asked for.

    Raises PlanRefused where the model has no such layer.
    """
    found: list[LayerGroup] = [
        g
        for g in model.groups
        if g.mlp is not None
        and any(isinstance(m, (Attention, LatentAttention)) for m in g.mixers)
        and (isinstance(g.mlp, MoE) or not experts)
    ]
    if not found:
        raise PlanRefused(
            "this model has no routed experts, so there is nothing to place on several GPUs"
            if experts
            else "this model has no layer of attention and feed-forward, so none can be drawn"
        )
    group = max(found, key=lambda g: g.count)
    mixer = next(m for m in group.mixers if isinstance(m, (Attention, LatentAttention)))
    heads = heads_of(mixer)
    projections = sum(w.active_parameters for w in mixer.weights(model.hidden_size))
    mlp = 0 if group.mlp is None else sum(
        w.active_parameters for w in group.mlp.weights(model.hidden_size)
    )  # fmt: skip
    return Layer(
        heads=heads,
        tokens=tokens,
        attention_flops=2 * tokens * projections + flops(heads, tokens, tokens),
        mlp_flops=2 * tokens * mlp,
        hidden_bytes=tokens * model.hidden_size * ELEMENT_BYTES,
        kv_bytes=tokens * ELEMENT_BYTES * sum(t.heads * t.width for t in mixer.cache()),
        top_k=group.mlp.num_experts_per_tok if isinstance(group.mlp, MoE) else 1,
    )


class Clock:
    """Seconds on one kind of GPU: published arithmetic, and the link that the ranks share."""

    def __init__(self, gpu: Gpu, ranks: int) -> None:
        self.peak = roofs_of(gpu).flops_per_s("bf16")
        self.link = link_between(gpu, ranks)

    def compute_s(self, work: float) -> float:
        return work / self.peak


def _together(ranks: int, parts: list[tuple[Doing, str, float]]) -> tuple[Span, ...]:
    """All ranks do the same parts one after the other."""
    spans, at = [], 0.0
    for doing, what, seconds in parts:
        spans += [Span(rank, doing, what, at, at + seconds) for rank in range(ranks)]
        at += seconds
    return tuple(spans)


def tensor_parallel(one: Layer, ranks: int, gpu: Gpu) -> Timeline:
    """A layer cut along its heads and its feed-forward width: two all-reduces."""
    clock = Clock(gpu, ranks)
    reduce_s = float(all_reduce_s(one.hidden_bytes, ranks, clock.link))
    parts: list[tuple[Doing, str, float]] = [
        ("compute", "attention", clock.compute_s(one.attention_flops / ranks)),
        ("send", "all-reduce", reduce_s),
        ("compute", "feed-forward", clock.compute_s(one.mlp_flops / ranks)),
        ("send", "all-reduce", reduce_s),
    ]
    kept = counted(max(1, one.heads.num_kv_heads // ranks), "KV head")
    return Timeline(
        ranks,
        _together(ranks, parts),
        tuple(f"1/{ranks} of every matrix, {kept} of every token" for _ in range(ranks)),
        f"2 × all-reduce of {format_bytes(one.hidden_bytes)} in every layer",
    )


def expert_parallel(one: Layer, ranks: int, gpu: Gpu, experts: int) -> Timeline:
    """Every GPU has its own tokens and some of the experts: tokens travel there and back."""
    clock = Clock(gpu, ranks)
    sent = one.hidden_bytes * one.top_k / ranks
    there_s = float(all_to_all_s(sent, ranks, clock.link))
    parts: list[tuple[Doing, str, float]] = [
        ("compute", "attention of own tokens", clock.compute_s(one.attention_flops / ranks)),
        ("send", "tokens to their experts", there_s),
        ("compute", "own experts", clock.compute_s(one.mlp_flops / ranks)),
        ("send", "results back", there_s),
    ]
    each = ceil_div(experts, ranks)
    return Timeline(
        ranks,
        _together(ranks, parts),
        tuple(f"experts {r * each} to {min(experts, (r + 1) * each) - 1}" for r in range(ranks)),
        f"2 × all-to-all of {format_bytes(int(sent))} from every GPU in every layer",
    )


def pipeline(
    one: Layer, num_hidden_layers: int, ranks: int, microbatches: int, gpu: Gpu
) -> Timeline:
    """Layers dealt to stages; microbatches follow each other, and the ends stand idle."""
    clock = Clock(gpu, ranks)
    sizes = stage_sizes(num_hidden_layers, ranks)
    work = clock.compute_s((one.attention_flops + one.mlp_flops) / microbatches)
    send = float(send_s(one.hidden_bytes / microbatches, clock.link))
    spans: list[Span] = []
    free = [0.0] * ranks
    for batch in range(microbatches):
        ready = 0.0
        for rank, size in enumerate(sizes):
            start = max(ready, free[rank])
            if start > free[rank]:
                spans.append(Span(rank, "wait", "waits", free[rank], start))
            end = start + size * work
            spans.append(Span(rank, "compute", f"batch {batch + 1}", start, end))
            if rank < ranks - 1:
                spans.append(Span(rank, "send", f"sends batch {batch + 1}", end, end + send))
                end += send
            ready = free[rank] = end
    firsts = [sum(sizes[:rank]) for rank in range(ranks)]
    return Timeline(
        ranks,
        tuple(spans),
        tuple(
            f"layers {first} to {first + size - 1}"
            for first, size in zip(firsts, sizes, strict=True)
        ),
        f"{format_bytes(one.hidden_bytes // microbatches)} to the next stage after every batch",
    )


def bubble(ranks: int, microbatches: int) -> float:
    """Share of a stage's time that stands idle with equal stages and free links."""
    return (ranks - 1) / (microbatches + ranks - 1)
