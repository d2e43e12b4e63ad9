"""Where llama.cpp puts what: weights by layer, cells by layer, and the compute buffer.

Blocks are dealt to GPUs in order, the last n_gpu_layers - 1 and then the output; the input table
stays on the CPU. Sources: llama.cpp of 2026; records: start-up logs of Qwen2.5-3B, Mistral-7B,
DeepSeek-R1 (latent only), Falcon-40B.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planner.engines.llama_cpp.options import LlamaCppOptions
from planner.engines.rotary import scaling_of, text_config
from planner.errors import PlanRefused
from planner.formats.dtypes import KvFormat
from planner.formats.quantization import Assignment
from planner.kinds.attention import Attention, LatentAttention
from planner.model import LayerGroup, Mixer, Model
from planner.tensors import CacheTensor
from planner.units import ceil_div, round_up

PAD = 256
FP32 = 4
KQ_WIDTHS = 4
"""Rows of the hidden size beside the scores: residual, query, output, norm (Mistral-7B)."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One block: bytes of its weights, of its experts alone, and its group."""

    weights: int
    experts: int
    largest_expert_tensor: int
    group: LayerGroup


def layers_of(model: Model, assignment: Assignment) -> tuple[Layer, ...]:
    """Every block in order."""
    found: dict[int, Layer] = {}
    for part in assignment.layers:
        total = experts = largest = 0
        for weight, fmt in part.weights:
            size = weight.copies * fmt.bytes(weight.shape)
            total += size
            if weight.role == "expert":
                experts += size
                largest = max(largest, size)
        for index in part.layers:
            found[index] = Layer(total, experts, largest, part.group)
    return tuple(found[index] for index in sorted(found))


def ends_of(model: Model, assignment: Assignment) -> tuple[int, int]:
    """Bytes of the input table and of everything after the last block.

    A tied table is loaded twice, once for the output.
    """
    front = back = 0
    for weight, fmt in assignment.outside:
        size = weight.copies * fmt.bytes(weight.shape)
        if weight in model.embedding:
            front += size
            back += size if model.tie_word_embeddings else 0
        else:
            back += size
    return front, back


def rope_factor_bytes(model: Model, config: Mapping[str, Any] | None) -> int:
    """The factors of Llama 3's rotary scaling, of which every block is given a copy in fp32."""
    text = text_config(config)
    if scaling_of(text).get("rope_type") != "llama3":
        return 0
    widths = [m.head_dim for g in model.groups for m in g.mixers if isinstance(m, Attention)]
    return FP32 * max(widths, default=0) // 2


def devices(num_layers: int, n_gpu_layers: int | None, gpus: int) -> list[int]:
    """Device of every block and, last, of the output; -1 is the CPU."""
    wanted = num_layers + 1 if n_gpu_layers is None else min(n_gpu_layers, num_layers + 1)
    first = num_layers + 1 - wanted
    return [-1 if i < first else (i - first) * gpus // wanted for i in range(num_layers + 1)]


def on_cpu_experts(index: int, options: LlamaCppOptions) -> bool:
    """Whether --cpu-moe or --n-cpu-moe keeps the experts of this block in CPU memory."""
    return options.cpu_moe or index < options.n_cpu_moe


def cells(ctx_size: int, window: int | None, options: LlamaCppOptions) -> int:
    """Cells of one layer for a total context of `ctx_size` over all slots.

    Windows keep window (a slot) + one micro-batch, rounded up to 256.
    """
    streams = 1 if options.unified else options.slots
    each = round_up(ceil_div(ctx_size, streams), PAD)
    if window is not None and not options.swa_full:
        kept = window * (options.slots if options.unified else 1) + options.ubatch_size
        each = min(each, round_up(min(each, kept), PAD))
    return streams * each


def cell_bytes(mixer: Mixer, keys: KvFormat, values: KvFormat, options: LlamaCppOptions) -> int:
    """Bytes of one cell in a layer with this mixer."""
    if isinstance(mixer, LatentAttention):
        if options.mla_cache == "expanded":
            return sum(_entry(tensor, keys, values) for tensor in mixer.expanded_cache())
        size = sum(_entry(tensor, keys, values) for tensor in mixer.cache())
        if options.mla_cache == "latent+values":
            size += values.entry_bytes(mixer.kv_lora_rank, "value")
        return size
    if any(tensor.stride != 1 for tensor in mixer.cache()):
        raise PlanRefused(
            "llama.cpp's layout of compressed caches is not described: plan without --engine"
        )
    return sum(_entry(tensor, keys, values) for tensor in mixer.cache())


def _entry(tensor: CacheTensor, keys: KvFormat, values: KvFormat) -> int:
    fmt = values if tensor.name == "values" else keys
    return tensor.heads * fmt.entry_bytes(tensor.width, "value" if fmt is values else "key")


def state_bytes(group: LayerGroup) -> int:
    """Recurrent state of one slot in one block: all fp32, convolutions less their newest column."""
    total = 0
    for tensor in group.state():
        elements = tensor.elements
        if tensor.is_convolution:
            elements = tensor.on_rank_with(tensor.shape[-1] - 1, 1)
        total += FP32 * elements
    return total


def compute_bytes(
    model: Model, cells_held: int, options: LlamaCppOptions, *, with_output: bool
) -> int:
    """The buffer of a GPU's part of the graph, all in fp32.

    The largest of three moments: logits of a micro-batch beside the hidden state (Qwen2.5-3B:
    300.75 MiB to the last digit), the widest feed-forward, and without flash attention the scores
    of all heads with their mask (Mistral-7B at 256: 280 MiB).
    """
    tokens, hidden = options.ubatch_size, model.hidden_size
    moments = [tokens * FP32 * (hidden * 2 + _widest(model))]
    if with_output:
        moments.append(tokens * FP32 * (model.vocab_size + hidden))
    if not options.flash_attn:
        heads = max(
            (
                m.num_attention_heads
                for g in model.groups
                for m in g.mixers
                if isinstance(m, Attention | LatentAttention)
            ),
            default=0,
        )
        scores = (heads + 1) * cells_held + KQ_WIDTHS * hidden
        moments.append(tokens * FP32 * scores)
    return max(moments)


def _widest(model: Model) -> int:
    """Elements per token of the widest feed-forward part: gate, up and their product."""
    found = 0
    for group in model.groups:
        if group.mlp is None:
            continue
        for weight in group.mlp.weights(model.hidden_size):
            if weight.split == "row" and len(weight.shape) == 2:
                active = weight.active if weight.active is not None else weight.copies
                found = max(found, 2 * active * weight.shape[-1])
    return found
