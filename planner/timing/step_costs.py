"""What one forward pass does on one GPU, launch by launch: FLOPs and bytes from the model's layers.

    step_costs(model, deployment, "prefill", 8192, [8192])       # one chunk of one sequence
    step_costs(model, deployment, "decode", 1, [8192] * 64)      # one step of 64 sequences
    step_costs(model, deployment, "decode", 1, {8192: batches})  # of a NumPy array of batches

The launches are those of a fused engine: projections that read the same input are one matmul,
residual and norm are one kernel, attention is flash in prefill and paged in decode, and experts
are one grouped matmul. Links between GPUs are not in here.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from planner.attention import Heads, flops, heads_of
from planner.deployment import Deployment
from planner.formats.dtypes import DTYPE_BYTES, NAME_OF_DTYPE, KvFormat, kv_format
from planner.formats.gguf_assignment import Stored
from planner.formats.quantization import Part, assign
from planner.kinds.attention import Attention, LatentAttention
from planner.kinds.mlp import MoE
from planner.kv_cache import entry_bytes
from planner.model import LayerGroup, Model
from planner.run_dtype import plain_dtype
from planner.tensors import CacheTensor
from planner.timing.matrices import Matrices, fused, halves_of_experts, held_by_rank, spread
from planner.timing.roofline import Costs, Work

Phase = Literal["prefill", "decode"]
NARROW_GROUP = 4
"""Query heads that share a KV head; with more, a decode step of the same cache takes up to a tenth
longer on an H200."""
SAMPLED = 5
"""Elements moved per logit: read in 16 bits, written and read again in 32."""


def step_costs(
    model: Model,
    deployment: Deployment,
    phase: Phase,
    tokens: int,
    contexts: Sequence[int] | Mapping[int, Any],
    span: range | None = None,
) -> Costs:
    """One pass over `tokens` new tokens of each sequence; contexts count them already.

    contexts: one length per sequence, or the number of sequences of each length, which may be an
    int64 array: the figures are then arrays too. span: the layers of one pipeline stage, of which
    the first has the embedding and the last the head. Prefill computes the head for the last token
    of each sequence, a decode step for all of its tokens. Raises PlanRefused where the deployment's
    formats do not suit the model.
    """
    counts = contexts if isinstance(contexts, Mapping) else Counter(contexts)
    span = range(model.num_hidden_layers) if span is None else span
    return Costs(tuple(_Step(model, deployment, phase, tokens, counts, span).work()))


def group_word(heads: int, kv_heads: int) -> str:
    """What the variant of a decode kernel says of its group: " wide" or nothing."""
    return " wide" if heads > NARROW_GROUP * kv_heads else ""


def _whole(value: Any) -> Any:
    """The integer part of a number or of every number of an array."""
    return int(value) if isinstance(value, (int, float)) else value.astype("int64")


class _Step:
    def __init__(
        self, model: Model, deployment: Deployment, phase: Phase, tokens: int,
        contexts: Mapping[int, Any], span: range,
    ) -> None:  # fmt: skip
        self.model = model
        self.deployment = deployment
        self.decode = phase == "decode"
        self.tokens = tokens
        self.contexts = contexts
        self.span = span
        self.ranks = spread(
            deployment.tensor_parallel_size,
            deployment.data_parallel_size,
            deployment.enable_expert_parallel,
        )
        self.sequences: Any = sum(contexts.values())
        self.rows = tokens * self.sequences
        dtype = plain_dtype(deployment.weights_dtype) or model.dtype
        self.size = DTYPE_BYTES[dtype]
        self.numbers = NAME_OF_DTYPE[dtype]
        self.cache: KvFormat = kv_format(deployment.kv_cache_dtype, model.own_cache)

    def work(self) -> Iterator[Work]:
        assignment = assign(self.model, self.deployment.weights_dtype)
        hidden = self.model.hidden_size
        if self.span.start == 0:
            yield self.elementwise("embedding", 1, 2 * self.rows * hidden)
        for part in assignment.layers:
            held = sum(1 for index in part.layers if index in self.span)
            if held:
                yield from self.layer(part, held)
        if self.span.stop < self.model.num_hidden_layers:
            return
        answered = self.rows if self.decode else self.sequences
        yield self.elementwise("final norm", 1, 2 * answered * hidden)
        outside = [pair for pair in assignment.outside if len(pair[0].shape) == 2]
        heads = [pair for pair in outside if pair[0].name.startswith("lm_head")] or [
            pair for pair in outside if pair[0].role == "embedding"
        ][:1]
        if heads:
            yield self.matmul("head", 1, held_by_rank(heads, self.ranks), answered)
        logits = sum(weight.shape[0] for weight, _ in heads) or self.model.vocab_size
        yield self.elementwise("sample", 1, SAMPLED * answered * logits)

    def layer(self, part: Part, count: int) -> Iterator[Work]:
        group = part.group
        hidden = self.model.hidden_size
        norms = sum(1 for w in group.norms if w.shape == (hidden,) and w.name[-5:] != ".bias")
        yield self.elementwise("norm", norms * count, 4 * self.rows * hidden)
        for mixer in group.mixers:
            if isinstance(mixer, Attention):
                yield from self.attention(mixer, count)
            elif isinstance(mixer, LatentAttention):
                yield from self.latent_attention(mixer, count)
            else:
                state = sum(t.elements * 4 for t in mixer.state()) // self._tp
                yield self.elementwise(mixer.kind, count, 2 * self.sequences * state // self.size)
        yield from self.matrices(part.weights, group, count)
        if group.mlp is not None:
            dense = group.mlp.shared if isinstance(group.mlp, MoE) else group.mlp
            if dense is not None:
                width = (3 if dense.gated else 2) * dense.intermediate_size // self._tp
                yield self.elementwise("activation", count, self.rows * width)
        if isinstance(group.mlp, MoE):
            yield from self.experts(part.weights, group.mlp, count)

    @property
    def _tp(self) -> int:
        return self.deployment.tensor_parallel_size

    def elementwise(self, name: str, launches: int, elements: Any) -> Work:
        """A kernel that moves `elements` of the model's dtype and does little arithmetic."""
        return Work(
            "elementwise", name, name, launches, self.numbers,
            activation_bytes=elements * self.size,
        )  # fmt: skip

    def matmul(self, name: str, launches: int, held: Matrices, rows: Any) -> Work:
        """Projections of the same input as one launch."""
        numbers = held.numbers or self.numbers
        return Work(
            "matmul", numbers, name, launches, numbers, held.row_flops * rows, held.stored_bytes,
            activation_bytes=held.row_elements * rows * self.size,
        )  # fmt: skip

    def matrices(self, stored: Stored, group: LayerGroup, count: int) -> Iterator[Work]:
        """Every matmul of a layer but those of routed experts."""
        latent = any(isinstance(m, LatentAttention) for m in group.mixers)
        for name, held in fused(stored, self.ranks):
            if name == "kv_b_proj" and latent and self.decode:
                yield from self.absorbed(held, count)
            else:
                yield self.matmul(name, count, held, self.rows)

    def absorbed(self, held: Matrices, count: int) -> Iterator[Work]:
        """MLA decode folds the up-projection into query and output: half of it each."""
        whole = self.matmul("kv_b_proj", count, held, self.rows)
        for name in ("absorbed keys", "absorbed values"):
            yield Work(
                "matmul", self.numbers, name, count, self.numbers, whole.flops // 2,
                whole.weight_bytes // 2, activation_bytes=whole.activation_bytes // 2,
            )  # fmt: skip

    def attention(self, mixer: Attention, count: int) -> Iterator[Work]:
        heads = heads_of(mixer, self._tp)
        turned = [heads.num_heads, heads.num_kv_heads]
        for each in [sum(turned)] if mixer.qk_norm == "none" else turned:
            yield self.elementwise("rope", count, 2 * self.rows * each * heads.score_dim)
        kept = (
            CacheTensor("keys", heads.num_kv_heads, heads.score_dim),
            CacheTensor("values", heads.num_kv_heads, heads.value_dim),
        )
        for tensor in () if mixer.shares_cache else kept:
            yield self.store(tensor.heads * tensor.width, count)
        variant = f"d{heads.score_dim}"
        if heads.value_dim != heads.score_dim:
            variant += f"/{heads.value_dim}"
        queries = self.rows * heads.num_heads * (heads.score_dim + heads.value_dim)
        if self.decode:
            per_entry = sum(entry_bytes(t, self.cache) for t in kept)
            kernel, variant = "paged_decode", f"{variant} {self.cache.name}"
            variant += group_word(heads.num_heads, heads.num_kv_heads)
            kv = per_entry * self.reach(heads.window)
        else:
            per_token = heads.num_kv_heads * (heads.score_dim + heads.value_dim) * self.size
            kernel, kv = "flash_attention", per_token * self.reach(heads.window, self.tokens)
        if heads.window is not None:
            variant += " window"
        yield Work(
            kernel, variant, "attention", count, self.numbers, self.pair_flops(heads),
            kv_bytes=kv, activation_bytes=queries * self.size,
        )  # fmt: skip

    def latent_attention(self, mixer: LatentAttention, count: int) -> Iterator[Work]:
        heads = heads_of(mixer, self._tp)
        width = mixer.kv_lora_rank + mixer.qk_rope_head_dim
        yield self.elementwise("latent norm", count, 2 * self.rows * mixer.kv_lora_rank)
        for each in (heads.num_heads, 1):
            yield self.elementwise("rope", count, 2 * self.rows * each * mixer.qk_rope_head_dim)
        yield self.store(width, count)
        if not self.decode:
            joined = heads.num_heads * heads.score_dim
            yield self.elementwise("join keys", count, 2 * self.rows * joined)
            kv = self.rows * heads.num_heads * (heads.score_dim + heads.value_dim) * self.size
            queries = self.rows * heads.num_heads * (heads.score_dim + heads.value_dim)
            yield Work(
                "flash_attention", f"d{heads.score_dim}/{heads.value_dim}", "attention", count,
                self.numbers, self.pair_flops(heads), kv_bytes=kv,
                activation_bytes=queries * self.size,
            )  # fmt: skip
            return
        values = self.rows * heads.num_heads * heads.value_dim
        yield self.elementwise("join heads", count, 2 * values)
        tokens = self.reach(heads.window)
        latent = entry_bytes(mixer.cache()[0], self.cache, self._tp)
        queries = self.rows * heads.num_heads * (width + mixer.kv_lora_rank)
        arithmetic = 2 * self.tokens * tokens * heads.num_heads * (width + mixer.kv_lora_rank)
        yield Work(
            "mla_decode", f"h{heads.num_heads} {self.cache.name}", "attention", count,
            self.numbers, arithmetic, kv_bytes=latent * tokens,
            activation_bytes=queries * self.size,
        )  # fmt: skip

    def pair_flops(self, heads: Heads) -> Any:
        return sum(times * flops(heads, self.tokens, n) for n, times in self.contexts.items())

    def reach(self, window: int | None, more: int = 0) -> Any:
        """Keys that all sequences together attend to; `more` when several queries share them."""
        found = self.contexts.items()
        if window is None:
            return sum(n * times for n, times in found)
        return sum(min(n, window + more) * times for n, times in found)

    def store(self, width: int, count: int) -> Work:
        """New tokens written into the cache, in the cache's format."""
        return self.elementwise("store cache", count, 2 * self.rows * width)

    def experts(self, stored: Stored, moe: MoE, count: int) -> Iterator[Work]:
        """Routing, both grouped matmuls and the sum; experts are taken to be drawn uniformly.

        Of E experts, a draw of k for each of n tokens leaves E (1 - (1 - k/E)^n) at work. Tokens of
        all data-parallel replicas meet in them.
        """
        tokens = self.rows * self.deployment.data_parallel_size
        rows = tokens * moe.num_experts_per_tok
        width = moe.input_size or self.model.hidden_size
        share = moe.num_experts_per_tok / moe.num_experts
        idle: Any = (1 - share) ** tokens
        yield Work(
            "routing", "int64", "route", count, self.numbers, activation_bytes=rows * 8
        )  # fmt: skip
        yield self.elementwise("gather tokens", count, 2 * rows * width)
        inner = (3 if moe.gated else 2) * moe.moe_intermediate_size
        yield self.elementwise("expert activation", count, rows * inner)
        yield self.elementwise("sum experts", count, (rows + tokens) * width)
        for name, held, copies in halves_of_experts(stored, self.ranks):
            one = self.matmul(name, count, held, rows)
            touched = copies * (1 - idle)
            split = moe.num_experts / copies
            yield Work(
                "grouped_matmul", one.numbers, name, count, one.numbers,
                _whole(one.flops / split), _whole(one.weight_bytes * touched),
                activation_bytes=_whole(one.activation_bytes / split),
            )  # fmt: skip
