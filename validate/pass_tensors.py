"""What PyTorch's allocator holds at the peak of a dry run, by its own rules replayed without a GPU.

The tensors of a prefill pass are listed in the order in which `validate.layers` makes them and lets
go of them. Segments are never shared between tensors that do not fit into what another left free,
so the allocator holds more than the tensors' sum: `idle_bytes` of it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from planner.formats.dtypes import DTYPE_BYTES
from planner.formats.quantization import Part
from planner.kinds.attention import Attention, LatentAttention
from planner.kinds.mlp import Mlp, MoE
from planner.plan import Plan
from validate.allocator import Allocator, Block
from validate.weight_tensors import requests

INDEX_BYTES = 8
FLOAT_BYTES = 4


@dataclass(frozen=True)
class Held:
    """Bytes at the peak: what tensors asked for, what blocks of 512 B and more they got, and what
    was reserved for them."""

    requested_bytes: int
    allocated_bytes: int
    reserved_bytes: int

    @property
    def idle_bytes(self) -> int:
        """Reserved and not asked for: rounding, and free blocks that no tensor fitted into."""
        return self.reserved_bytes - self.requested_bytes


def prefill_held(plan: Plan, tokens: int) -> Held:
    """The allocator at its peak while `tokens` are prefilled beside the plan's weights."""
    replay = _with_weights(plan, tokens)
    replay.tables(plan)
    replay.residual = replay.take(replay.activation(plan.model.hidden_size))
    for _ in range(2):
        for part in plan.footprint.assignment.layers:
            replay.layer(part)
    return replay.peak()


def weights_held(plan: Plan) -> Held:
    """The allocator with nothing but the plan's weights."""
    return _with_weights(plan, 0).peak()


def _with_weights(plan: Plan, tokens: int) -> "_Replay":
    replay = _Replay(tokens, DTYPE_BYTES[plan.model.dtype], plan.model.hidden_size)
    for size in requests(plan):
        replay.take(size)
    return replay


@dataclass(eq=False)
class _Taken:
    block: Block | None
    size: int


@dataclass
class _Replay:
    tokens: int
    element_bytes: int
    hidden_size: int
    allocator: Allocator = field(default_factory=Allocator)
    requested_bytes: int = 0
    peak_requested_bytes: int = 0
    residual: _Taken | None = None
    delta: _Taken | None = None

    def peak(self) -> Held:
        allocator = self.allocator
        return Held(
            self.peak_requested_bytes, allocator.peak_allocated_bytes, allocator.peak_reserved_bytes
        )

    def activation(self, width: int) -> int:
        return self.tokens * width * self.element_bytes

    def take(self, size: int) -> _Taken:
        self.requested_bytes += size
        self.peak_requested_bytes = max(self.peak_requested_bytes, self.requested_bytes)
        return _Taken(self.allocator.allocate(size), size)

    def drop(self, *taken: _Taken | None) -> None:
        for one in taken:
            if one is not None:
                self.requested_bytes -= one.size
                self.allocator.release(one.block)

    @contextmanager
    def held(self, size: int) -> Iterator[None]:
        taken = self.take(size)
        yield
        self.drop(taken)

    def tables(self, plan: Plan) -> None:
        """Rotary tables, cosine and sine in fp32, for each width."""
        widths = {
            mixer.qk_rope_head_dim if isinstance(mixer, LatentAttention) else mixer.head_dim
            for group in plan.model.groups
            for mixer in group.mixers
            if isinstance(mixer, (Attention, LatentAttention))
        }
        for width in sorted(widths):
            size = plan.workload.context * width // 2 * FLOAT_BYTES
            angle = self.take(size)
            self.take(size)
            self.take(size)
            self.drop(angle)

    def layer(self, part: Part) -> None:
        formats = {fmt.name for weight, fmt in part.weights if len(weight.shape) > 1}
        for mixer in part.group.mixers:
            x = self.normed()
            if isinstance(mixer, Attention):
                self.delta = self.attention(mixer, x, "fp8" in formats)
            elif isinstance(mixer, LatentAttention):
                self.delta = self.latent(mixer, x)
        mlp = part.group.mlp
        if mlp is not None:
            x = self.normed()
            if isinstance(mlp, MoE):
                self.delta = self.experts(mlp, x)
            elif isinstance(mlp, Mlp):
                self.delta = self.dense(mlp, x, "fp8" in formats)

    def normed(self) -> _Taken:
        x = self.take(self.activation(self.hidden_size))
        self.drop(self.delta)
        self.delta = None
        return x

    def project(self, inputs: int, outputs: int, fp8: bool = False) -> _Taken:
        """A matmul's result; fp8 matmuls hold a copy of their input in fp8."""
        if not fp8:
            return self.take(self.activation(outputs))
        with self.held(self.tokens * inputs):
            return self.take(self.activation(outputs))

    def attention(self, mixer: Attention, x: _Taken, fp8: bool) -> _Taken:
        heads, kv_heads = mixer.num_attention_heads, mixer.num_key_value_heads
        width = heads * mixer.head_dim + kv_heads * (mixer.head_dim + mixer.value_dim)
        qkv = self.project(self.hidden_size, width, fp8)
        self.drop(x)
        return self.output(heads, mixer.value_dim, [qkv], fp8)

    def latent(self, mixer: LatentAttention, x: _Taken) -> _Taken:
        heads = mixer.num_attention_heads
        width = heads * mixer.head_dim
        kept = []
        if mixer.q_lora_rank is not None:
            kept.append(self.take(self.activation(mixer.q_lora_rank)))
        kept.append(self.take(self.activation(width)))
        kept.append(self.take(self.activation(mixer.kv_lora_rank + mixer.qk_rope_head_dim)))
        self.drop(x)
        up = heads * (mixer.qk_nope_head_dim + mixer.v_head_dim)
        kept += [self.take(self.activation(up)), self.take(self.activation(width))]
        return self.output(heads, mixer.v_head_dim, kept)

    def output(self, heads: int, dim: int, kept: list[_Taken], fp8: bool = False) -> _Taken:
        """Attention's output, and the projection after it."""
        kept = [*kept, self.take(self.activation(heads * dim))]
        out = self.project(heads * dim, self.hidden_size, fp8)
        self.drop(*kept)
        return out

    def dense(self, mlp: Mlp, x: _Taken, fp8: bool = False) -> _Taken:
        width = mlp.intermediate_size
        inner = self.project(self.hidden_size, width * (2 if mlp.gated else 1), fp8)
        self.drop(x)
        acted = self.take(self.activation(width))
        self.drop(inner)
        out = self.project(width, self.hidden_size, fp8)
        self.drop(acted)
        return out

    def experts(self, moe: MoE, x: _Taken) -> _Taken:
        top_k, each = moe.num_experts_per_tok, moe.moe_intermediate_size
        index = self.tokens * top_k * INDEX_BYTES
        logits = self.take(self.activation(moe.num_experts))
        share = self.take(self.activation(top_k))
        ordered, order, place = (self.take(index) for _ in range(3))
        with self.held(index):
            pass
        source = self.take(index)
        self.drop(logits, ordered, order)
        rows = self.take(self.activation(top_k * self.hidden_size))
        inner = self.take(self.activation(top_k * each * (2 if moe.gated else 1)))
        self.drop(rows)
        acted = self.take(self.activation(top_k * each))
        self.drop(inner)
        out = self.take(self.activation(top_k * self.hidden_size))
        self.drop(acted)
        total = self.take(self.activation(self.hidden_size))
        self.drop(out)
        if moe.shared is None:
            self.drop(x)
        else:
            self.drop(self.dense(moe.shared, x))
        self.drop(share, source, place)
        return total
