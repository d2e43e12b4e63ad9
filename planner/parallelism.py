"""What one rank holds: layers of its pipeline stage, its share of each tensor in them."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.kinds.attention import Attention, LatentAttention
from planner.kinds.compressed import CompressedAttention
from planner.model import LayerGroup, Model, kind_name
from planner.tensors import StateTensor, Weight
from planner.units import ceil_div, round_up

VOCAB_PADDING = 64
"""Rows of embedding and head come in multiples of this (vLLM's DEFAULT_VOCAB_PADDING_SIZE)."""


def stage_sizes(num_hidden_layers: int, pipeline_parallel_size: int) -> list[int]:
    """Layers per pipeline stage as vLLM deals them.

    The remainder goes to the stages before the last, from the end: the last stage has the head,
    so it never takes an extra layer unless nothing else is left.
    Source: vLLM distributed/utils.get_pp_indices.
    """
    base, rest = divmod(num_hidden_layers, pipeline_parallel_size)
    sizes = [base] * pipeline_parallel_size
    for i in range(2, rest + 2):
        sizes[-i] += 1
    return sizes


def stage_spans(num_hidden_layers: int, pipeline_parallel_size: int) -> list[range]:
    """The layers of every pipeline stage."""
    ends = list(accumulate(stage_sizes(num_hidden_layers, pipeline_parallel_size), initial=0))
    return [range(*pair) for pair in pairwise(ends)]


def joined_gpus(model: Model, deployment: Deployment) -> int:
    """GPUs that hold one model together: a replica's, or all where replicas share experts."""
    if model.has_experts:
        return deployment.gpus
    return deployment.gpus // deployment.data_parallel_size


def stage_groups(model: Model, pipeline_parallel_size: int) -> list[list[tuple[LayerGroup, range]]]:
    """Per stage, every group with layers in it and the stage's range of layer positions."""
    return [
        [(g, span) for g in model.groups if any(i in span for i in g.layers)]
        for span in stage_spans(model.num_hidden_layers, pipeline_parallel_size)
    ]


def layers_in(group: LayerGroup, span: range) -> int:
    """How many of the group's layers lie in a stage."""
    return count_in(group.layers, span)


def count_in(layers: Sequence[int], span: range) -> int:
    """How many of `layers`, given in order, lie in a stage."""
    if not layers:
        return 0
    if layers[0] >= span.start and layers[-1] < span.stop:
        return len(layers)
    return bisect_left(layers, span.stop) - bisect_left(layers, span.start)


@dataclass(frozen=True, slots=True)
class Shard:
    """One rank's part of a weight: `copies` tensors of `shape`."""

    shape: tuple[int, ...]
    copies: int


def shard(weight: Weight, deployment: Deployment) -> Shard:
    """The largest part of `weight` that a rank holds.

    Routed experts are spread over tensor x data parallel ranks: whole experts with expert
    parallelism, slices of every expert without (vLLM FusedMoEParallelConfig).
    """
    tp = deployment.tensor_parallel_size
    copies = weight.copies
    if copies > 1 or weight.name.startswith("experts."):
        tp *= deployment.data_parallel_size
        if deployment.enable_expert_parallel:
            return Shard(weight.shape, ceil_div(copies, tp))
    if tp == 1 or weight.split == "replicated":
        return Shard(weight.shape, copies)
    first, rest = weight.shape[0], weight.shape[1:]
    if weight.split == "row":
        return Shard((*weight.shape[:-1], ceil_div(weight.shape[-1], tp)), copies)
    if weight.split == "kv":
        return Shard((first // weight.kv_heads * max(1, weight.kv_heads // tp), *rest), copies)
    if weight.split == "vocab":
        first = round_up(first, VOCAB_PADDING)
    return Shard((ceil_div(first, tp), *rest), copies)


def by_layers(deployment: Deployment, stages: int) -> Deployment:
    """Replicas of so many GPUs, each with layers of its own."""
    return deployment.replace(
        tensor_parallel_size=1, pipeline_parallel_size=stages, decode_context_parallel_size=1
    )


def cache_copies(model: Model, tensor_parallel_size: int) -> int:
    """How many ranks of tensor parallelism store the same cache entry: ranks / KV heads where ranks
    are more, and all of them for latents. 1 where some layer has windows or states, which decode
    context parallelism does not split.
    """
    found = tensor_parallel_size
    for mixer in (m for group in model.groups for m in group.mixers):
        if isinstance(mixer, LatentAttention):
            continue
        if not isinstance(mixer, Attention) or mixer.window is not None:
            return 1
        found = min(found, tensor_parallel_size // mixer.num_key_value_heads)
    return max(1, found)


def cache_splits(model: Model, deployment: Deployment) -> Iterator[Deployment]:
    """The deployment with ever fewer copies of the cache, by decode context parallelism."""
    parts = 2 * deployment.decode_context_parallel_size
    while parts <= cache_copies(model, deployment.tensor_parallel_size):
        yield deployment.replace(decode_context_parallel_size=parts)
        parts *= 2


def check(model: Model, deployment: Deployment) -> None:
    """Refuse a deployment that the model's shapes do not allow, saying which sizes would do."""
    pp = deployment.pipeline_parallel_size
    if pp > model.num_hidden_layers:
        raise PlanRefused(
            f"pipeline_parallel_size {pp} is more than the model's {model.num_hidden_layers} layers"
        )
    moe = model.has_experts
    if deployment.enable_expert_parallel and not moe:
        raise PlanRefused("enable_expert_parallel is set, but the model has no routed experts")
    for mixer in (m for group in model.groups for m in group.mixers):
        if isinstance(mixer, (Attention, LatentAttention, CompressedAttention)):
            _check_heads(mixer, deployment)
        for state in mixer.state():
            _check_state(state, mixer.kind, deployment.tensor_parallel_size)


def _check_state(state: StateTensor, kind: str, tp: int) -> None:
    """A state is split evenly; what has one head (Mamba-2 with one group) every rank holds."""
    if state.heads == 1 or state.heads % tp == 0:
        return
    parts = "groups" if state.name == "conv_groups" else "parts"
    fitting = [str(n) for n in range(1, 65) if state.heads % n == 0]
    raise PlanRefused(
        f"tensor_parallel_size {tp} does not divide the {state.heads:,} {parts} of the "
        f"{kind_name(kind)} layers' state; {', '.join(fitting)} would"
    )


def _check_heads(
    mixer: Attention | LatentAttention | CompressedAttention, deployment: Deployment
) -> None:
    heads = mixer.num_attention_heads
    tp, dcp = deployment.tensor_parallel_size, deployment.decode_context_parallel_size
    if heads % tp:
        fitting = [str(n) for n in (1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 32, 64) if heads % n == 0]
        raise PlanRefused(
            f"tensor_parallel_size {tp} does not divide num_attention_heads {heads}; "
            f"{', '.join(fitting)} would{_replicated(mixer, deployment)}"
        )
    if not isinstance(mixer, Attention):
        return
    kv_heads = mixer.num_key_value_heads
    if kv_heads % tp and tp % kv_heads:
        raise PlanRefused(
            f"tensor_parallel_size {tp} neither divides num_key_value_heads {kv_heads} "
            "nor is a multiple of it"
        )
    if dcp > 1 and dcp > tp // kv_heads:
        raise PlanRefused(
            f"decode_context_parallel_size {dcp} needs KV heads that tensor parallelism replicates "
            f"{dcp} times: at tensor_parallel_size {tp} and {kv_heads} KV heads it is at most "
            f"{max(1, tp // kv_heads)}"
        )


def _replicated(
    mixer: Attention | LatentAttention | CompressedAttention, deployment: Deployment
) -> str:
    """How data parallelism uses as many GPUs, of which a part can share the heads."""
    heads, tp = mixer.num_attention_heads, deployment.tensor_parallel_size
    kv_heads = mixer.num_key_value_heads if isinstance(mixer, Attention) else 1
    share = max(
        n for n in range(1, heads + 1)
        if not tp % n and not heads % n and not (kv_heads % n and n % kv_heads)
    )  # fmt: skip
    return (
        f"; to use as many GPUs, {share:,} with data_parallel_size "
        f"{tp // share * deployment.data_parallel_size:,}, or with "
        "pipeline stages"
    )


@dataclass(frozen=True, slots=True)
class Ring:
    """Ring attention in prefill: each rank keeps a block of tokens and passes K and V around."""

    block_tokens: int
    bytes_per_step: int
    steps: int

    @property
    def bytes_per_layer(self) -> int:
        """What one rank sends for one layer."""
        return self.bytes_per_step * self.steps


def ring(bytes_per_token_per_layer: int, tokens: int, context_parallel_size: int) -> Ring:
    """Block and communication of one layer when `tokens` go around a ring of ranks.

    bytes_per_token_per_layer: K and V of one token in one layer on one rank. Source: Liu et al.
    2023, Ring Attention (each of n - 1 steps passes one block of keys and values on).
    """
    block = ceil_div(tokens, context_parallel_size)
    return Ring(block, block * bytes_per_token_per_layer, context_parallel_size - 1)
