"""Caches of transformers and what they copy: dynamic, static, offloaded, quantised.

Sizes are bytes on one GPU for a batch of equal sequences. Source: transformers 5.23.0 cache_utils,
sliding layers and first updates executed.
"""

from planner.engines.transformers.options import TransformersOptions
from planner.formats.dtypes import DTYPE_BYTES
from planner.kinds.attention import Attention, LatentAttention
from planner.kv_cache import state_tensor_bytes
from planner.model import Model
from planner.tensors import CacheTensor
from planner.units import ceil_div

GROUP = 64
"""Elements that share a scale and a zero point of two bytes each."""
RESIDUAL = 128
"""Latest tokens that a quantised cache keeps in full."""
FP32 = 4


class Caches:
    """The cache tensors of a model, one entry per layer and tensor, on one tensor-parallel rank."""

    def __init__(self, model: Model, options: TransformersOptions, tp: int = 1) -> None:
        self.options = options
        self.element = DTYPE_BYTES[model.dtype]
        self.tensors = [
            (tensor, group.count, max(1, tensor.heads // tp))
            for group in model.groups
            for mixer in group.mixers
            for tensor in mixer.cache()
        ]
        self.expanded_per_token = self.element * max(
            (
                (m.num_attention_heads // tp) * (m.head_dim + m.v_head_dim)
                for g in model.groups
                for m in g.mixers
                if isinstance(m, LatentAttention)
            ),
            default=0,
        )
        self.states = sum(
            group.count * state_tensor_bytes(tensor, model.dtype, tp)
            for group in model.groups
            for tensor in group.state()
        )
        self.heads = max(
            (
                m.num_attention_heads // tp
                for g in model.groups
                for m in g.mixers
                if isinstance(m, Attention | LatentAttention)
            ),
            default=0,
        )

    @property
    def windowed(self) -> bool:
        return any(tensor.window for tensor, _, _ in self.tensors)

    def layer_tensor(self, tensor: CacheTensor, heads: int, batch: int, tokens: int) -> int:
        """One layer's keys or values for so many tokens, in the model's dtype."""
        entry = (tensor.width - tensor.fp32_width) * self.element + tensor.fp32_width * FP32
        return batch * heads * (tokens // tensor.stride) * entry

    def held(self, batch: int, context: int) -> int:
        """The cache when `context` tokens are in it, states included."""
        how = self.options.cache_implementation
        total = batch * self.states
        sizes = [self._held(t, heads, batch, context) for t, _, heads in self.tensors]
        if how == "offloaded":
            return total + 2 * 2 * max(sizes, default=0)
        return total + sum(n * size for (_, n, _), size in zip(self.tensors, sizes, strict=True))

    def _held(self, tensor: CacheTensor, heads: int, batch: int, context: int) -> int:
        if self.options.cache_implementation == "static":
            length = self.options.max_cache_len or context
            kept = length if tensor.window is None else min(tensor.window, length)
            return self.layer_tensor(tensor, heads, batch, kept)
        kept = context if tensor.window is None else min(context, tensor.window - 1)
        if self.options.cache_implementation != "quantized":
            return self.layer_tensor(tensor, heads, batch, kept)
        packed = max(0, kept - RESIDUAL)
        elements = batch * heads * packed * tensor.width
        scales = ceil_div(elements, GROUP) * 2 * self.element
        full = self.layer_tensor(tensor, heads, batch, min(kept, RESIDUAL))
        return ceil_div(elements * self.options.nbits, 8) + scales + full

    def offloaded(self, batch: int, context: int) -> int:
        """What an offloaded cache keeps in CPU memory."""
        if self.options.cache_implementation != "offloaded":
            return 0
        return sum(n * self._held(t, heads, batch, context) for t, n, heads in self.tensors)

    def prefill_extra(self, batch: int, context: int) -> int:
        """What prefill holds beyond the cache that it leaves.

        Windowed layers keep a view of the whole concatenation, every layer copies its states even
        into an empty cache, and a quantised layer has its full-precision original.
        """
        extra = 0
        for tensor, count, heads in self.tensors:
            if self.options.cache_implementation == "dynamic" and tensor.window is not None:
                whole = self.layer_tensor(tensor, heads, batch, context)
                kept = min(context, tensor.window - 1)
                extra += count * (whole - self.layer_tensor(tensor, heads, batch, kept))
        expanded = batch * context * self.expanded_per_token
        return extra + expanded + 2 * self.largest(batch, context)

    def step_extra(self, batch: int, context: int) -> int:
        """What one decode step holds beyond the cache: copies of one layer's tensors.

        torch.cat writes a new tensor beside the old; a quantised layer is dequantised whole, both
        tensors, and concatenated with the residual. Latents are cached as they are and expanded
        to keys and values of all heads, layer by layer.
        """
        expanded = batch * context * self.expanded_per_token
        if self.options.cache_implementation == "static":
            return expanded
        copies = 4 if self.options.cache_implementation == "quantized" else 2
        return expanded + copies * self.largest(batch, context)

    def largest(self, batch: int, context: int) -> int:
        """The largest of one layer's keys or values, in full precision."""
        return max(
            (self.layer_tensor(t, heads, batch, context) for t, _, heads in self.tensors), default=0
        )

    def score_bytes(self, batch: int, queries: int, keys: int) -> int:
        """Scores of one layer where attention is eager: in the model's dtype and in fp32."""
        if self.options.attn_implementation != "eager":
            return 0
        return batch * self.heads * queries * keys * (self.element + FP32)
