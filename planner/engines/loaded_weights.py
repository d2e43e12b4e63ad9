"""Weights as an engine on PyTorch holds them: fused, padded, rounded by the allocator.

The stored tensors of a rank, with the projections that vLLM and SGLang fuse laid side by side,
each in the block that PyTorch's caching allocator gives it. Llama-3.1-8B so takes 14.9888 GiB and
Qwen2.5-7B 14.2487 GiB, to the last printed digit of vLLM's start-up logs (0.6 to 0.19).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from planner.deployment import Deployment
from planner.engines.rotary import rotary_bytes
from planner.formats.quantization import Assignment, assign
from planner.formats.weight_formats import WeightFormat
from planner.kinds.attention import LatentAttention
from planner.model import Model
from planner.parallelism import VOCAB_PADDING, Shard, layers_in, shard
from planner.tensors import Weight
from planner.units import MIB, round_up

MIN_BLOCK_BYTES = 512
SMALL_BYTES = MIB
MIN_OWN_SEGMENT_BYTES = 10 * MIB
SEGMENT_ROUNDING_BYTES = 2 * MIB
"""PyTorch's caching allocator (c10/cuda/CUDACachingAllocator, torch 2.x, default settings)."""

FUSED = {
    "q_proj": "qkv_proj",
    "k_proj": "qkv_proj",
    "v_proj": "qkv_proj",
    "q_a_proj": "qkv_a_proj",
    "kv_a_proj_with_mqa": "qkv_a_proj",
    "gate_proj": "gate_up_proj",
    "up_proj": "gate_up_proj",
    "experts.gate_proj": "experts.w13",
    "experts.up_proj": "experts.w13",
}
MXFP4_INPUTS = 256
MXFP4_FIXED_BYTES = 200 * MIB
MARLIN_HIDDEN, MARLIN_INTERMEDIATE = 256, 128
"""MXFP4 experts in Triton's layout: inputs padded to a multiple, and 0.2 GiB that tensor
parallelism does not divide and that logs to 0.14 do not have. Law and records on H100: gpt-oss-20b
13.67 GiB (13.64), 6.98 at TP 2 (7.01), 3.59 at TP 4 (3.63), all 0.19; 13.48 (13.47, 0.11),
gpt-oss-120b 64.59 (64.38, 0.11 and 0.14.1)."""


def allocated(size: int) -> int:
    """Bytes that PyTorch's allocator counts for a tensor of `size`.

    Requests of 10 MiB or more get a segment of whole 2 MiB, whose rest is split off only when it is
    larger than 1 MiB; smaller ones are cut from shared segments in steps of 512 B.
    """
    size = round_up(size, MIN_BLOCK_BYTES)
    if size < MIN_OWN_SEGMENT_BYTES:
        return size
    segment = round_up(size, SEGMENT_ROUNDING_BYTES)
    return segment if segment - size <= SMALL_BYTES else size


@dataclass(frozen=True, slots=True)
class Loaded:
    """Bytes of one rank: checkpoint tensors, and what loading adds to them."""

    stored: int
    rounding: int
    rotary: int
    absorbed: int

    @property
    def total(self) -> int:
        return self.stored + self.rounding + self.rotary + self.absorbed


def loaded_weights(
    model: Model,
    deployment: Deployment,
    assignment: Assignment,
    span: range,
    *,
    first: bool,
    last: bool,
    config: Mapping[str, Any] | None = None,
    mtp: bool = False,
    feed_forward: Deployment | None = None,
    absorbs: bool = False,
) -> Loaded:
    """What a rank of the pipeline stage with layers `span` holds.

    first and last: whether it has the embedding and the head. config: the model's own, for its
    rotary embedding. mtp: it also loads the multi-token-prediction layers, where it has the head.
    feed_forward: how dense feed-forward matrices and shared experts are split, where that differs.
    absorbs: latents' up-projections are multiplied into those of queries and outputs.
    """
    stored = rounded = 0
    for part in assignment.layers:
        held = sum(1 for i in part.layers if i in span)
        if held:
            each, blocks = _tensors(part.weights, deployment, feed_forward)
            stored += held * each
            rounded += held * blocks
    front = [pair for pair in assignment.outside if _at_front(model, pair[0])]
    back = [pair for pair in assignment.outside if not _at_front(model, pair[0])]
    ends = (front if first else []) + (back if last else [])
    if last and not first and model.tie_word_embeddings:
        ends += front
    if mtp and last:
        ends += assignment.mtp_outside
        ends += [pair for part in assignment.mtp for _ in part.layers for pair in part.weights]
    each, blocks = _tensors(ends, deployment)
    groups = [g for g in model.groups if layers_in(g, span)]
    return Loaded(
        stored + each,
        rounded + blocks - stored - each + _packed_extra(assignment),
        rotary_bytes(model, groups, config),
        _absorbed(model, span, deployment.tensor_parallel_size, assignment, products=absorbs),
    )


def offloaded_bytes(assignment: Assignment, deployment: Deployment, span: range, limit: int) -> int:
    """Bytes of a rank's layers that vLLM leaves in CPU memory for a limit of so many.

    It goes through the parameters from the first layer on until the limit is reached or passed,
    attention before feed-forward before norms: Llama-3-70B with 70 GiB loads 61.2922 GiB
    (vllm#6496).
    """
    total = 0
    parts = {index: part.weights for part in assignment.layers for index in part.layers}
    for index in sorted(set(parts).intersection(span)):
        matrices_first = sorted(parts[index], key=lambda pair: len(pair[0].shape) < 2)
        for size in _fused(matrices_first, deployment).values():
            if total >= limit:
                return total
            total += size
    return total


def mtp_bytes(model: Model, deployment: Deployment, stage: int) -> int:
    """What the multi-token-prediction layers add to a rank of that pipeline stage: the last's."""
    if stage != deployment.pipeline_parallel_size - 1:
        return 0
    assignment = assign(model, deployment.weights_dtype)
    pairs = [pair for part in assignment.mtp for _ in part.layers for pair in part.weights]
    return _tensors([*assignment.mtp_outside, *pairs], deployment)[1]


def _at_front(model: Model, weight: Weight) -> bool:
    return weight in model.embedding or "embed" in weight.name


def _tensors(
    stored: Iterable[tuple[Weight, WeightFormat]],
    deployment: Deployment,
    feed_forward: Deployment | None = None,
) -> tuple[int, int]:
    """Bytes of a set of weights, and bytes of the allocator's blocks for them when fused."""
    tensors = _fused(stored, deployment, feed_forward)
    return sum(tensors.values()), sum(allocated(size) for size in tensors.values())


def _fused(
    stored: Iterable[tuple[Weight, WeightFormat]],
    deployment: Deployment,
    feed_forward: Deployment | None = None,
) -> dict[str, int]:
    """Bytes of each tensor of a rank, those that are fused as one."""
    tensors: dict[str, int] = {}
    for index, (weight, fmt) in enumerate(stored):
        dense = feed_forward is not None and _is_dense_feed_forward(weight)
        piece = shard(weight, feed_forward if dense and feed_forward else deployment)
        name = FUSED.get(weight.name, f"{weight.name}#{index}")
        size = piece.copies * fmt.bytes(_padded(weight, fmt, piece))
        tensors[name] = tensors.get(name, 0) + size
    return tensors


def _is_dense_feed_forward(weight: Weight) -> bool:
    """A matrix of a dense layer or of a shared expert, which every token passes."""
    *path, name = weight.name.split(".")
    return name in ("gate_proj", "up_proj", "down_proj") and "experts" not in path


def _padded(weight: Weight, fmt: WeightFormat, piece: Shard) -> tuple[int, ...]:
    """The shape as loaded: vocabularies in multiples of 64, MXFP4 experts as their
    kernels want them."""
    if weight.split == "vocab" and piece.shape == weight.shape:
        return (round_up(piece.shape[0], VOCAB_PADDING), *piece.shape[1:])
    if fmt.name == "mxfp4" and weight.role == "expert" and len(piece.shape) == 2:
        return *piece.shape[:-1], round_up(piece.shape[-1], MXFP4_INPUTS)
    return piece.shape


def _packed_extra(assignment: Assignment) -> int:
    packed = any(
        weight.role == "expert" and fmt.name == "mxfp4"
        for part in assignment.layers
        for weight, fmt in part.weights
    )
    return MXFP4_FIXED_BYTES if packed else 0


def marlin_padding(assignment: Assignment, deployment: Deployment, span: range) -> int:
    """Bytes of a rank's MXFP4 experts in Marlin's layout beyond those in `loaded_weights`.

    It pads the hidden size to 256 and the experts' own to 128 (quantization/mxfp4, 0.10.1 to
    0.24). Law and records: gpt-oss-120b 65.94 GiB (65.97, vllm#23278), gpt-oss-20b 13.70 (13.72).
    """
    wider, found = 0, False
    for part in assignment.layers:
        held = sum(1 for i in part.layers if i in span)
        for weight, fmt in part.weights:
            piece = shard(weight, deployment)
            if fmt.name == "mxfp4" and weight.role == "expert" and len(piece.shape) == 2:
                steps = (MARLIN_INTERMEDIATE, MARLIN_HIDDEN)
                if weight.split == "row":
                    steps = steps[::-1]
                padded = tuple(map(round_up, piece.shape, steps))
                extra = fmt.bytes(padded) - fmt.bytes(_padded(weight, fmt, piece))
                wider, found = wider + held * piece.copies * extra, True
    return wider - MXFP4_FIXED_BYTES if found else 0


def _absorbed(model: Model, span: range, tp: int, assignment: Assignment, *, products: bool) -> int:
    """Copies of MLA's up-projections that decoding multiplies the latent with, in 16 bit.

    products: they are kept as their products with the query's and the output's projection, in fp8
    where the weights are, beside a copy of the queries' rotary part. DeepSeek-Coder-V2-Lite at TP 8
    so takes 3.97 GiB (0.7.1, attention/backends/mla/utils: W_Q_UK, W_UV_O, W_QR).
    """
    fp8 = any(
        weight.name == "kv_b_proj" and fmt.name.startswith("fp8")
        for part in assignment.layers
        for weight, fmt in part.weights
    )
    total = 0
    for group in model.groups:
        held = layers_in(group, span)
        for mixer in group.mixers:
            if isinstance(mixer, LatentAttention):
                heads = mixer.num_attention_heads // tp
                each = 2 * (mixer.qk_nope_head_dim + mixer.v_head_dim) * mixer.kv_lora_rank
                if products:
                    queries = mixer.q_lora_rank or model.hidden_size
                    each = (1 if fp8 else 2) * (queries + model.hidden_size) * mixer.kv_lora_rank
                    each += 2 * queries * mixer.qk_rope_head_dim
                total += held * heads * each
    return total
