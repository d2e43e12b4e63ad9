"""A planned model's layers on the device: random weights in the planned formats, real kernels.

Which tensors exist, in what format, comes from the plan's own assignment, so that what is allocated
here is what was planned. The launches are those that `planner.timing.step_costs` counts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from kernels.flash import flash_attention
from kernels.kv_store import store_kv
from kernels.mla_decode import mla_decode_attention
from kernels.paged_decode import paged_decode_attention
from planner.formats.quantization import Part
from planner.kinds.attention import Attention, LatentAttention
from planner.kinds.mlp import Mlp, MoE
from planner.model import LayerGroup
from validate.bench import Bench, tensor_of
from validate.kv_pool import Pool
from validate.layer_kernels import (
    activate,
    add_rms_norm,
    grouped_matmul,
    norm_rope,
    route,
    sum_experts,
)
from validate.layer_weights import COMPUTED, Weights

Table = tuple[torch.Tensor, torch.Tensor]
PoolKey = tuple[str, int | None]
Run = Callable[["Hidden", "Step"], torch.Tensor]


def refusal(group: LayerGroup, formats: set[str]) -> str:
    """Why a layer cannot be run here, or nothing."""
    for mixer in group.mixers:
        if not isinstance(mixer, (Attention, LatentAttention)):
            return f"no kernel here runs {mixer.kind} layers"
        if mixer.indexer is not None:
            return "no kernel here runs indexed attention"
        if isinstance(mixer, Attention) and (
            mixer.shares_cache or mixer.output_gate or mixer.values_from_keys
        ):
            return f"no kernel here runs {mixer.kind} attention of this form"
    unknown = formats - set(COMPUTED) - {"fp32"}
    if unknown:
        return f"no kernel here multiplies {', '.join(sorted(unknown))} weights"
    if isinstance(group.mlp, MoE) and ("fp8" in formats or group.mlp.input_size):
        return "experts are run in 16 bits and at the model's width only"
    return ""


@dataclass
class Step:
    """Where the tokens of one pass stand."""

    positions: torch.Tensor
    rope: dict[int, Table]
    decode: bool
    chosen: dict[tuple[int, int], torch.Tensor]


@dataclass
class Hidden:
    """What a pass carries from part to part; each owner lets go of what it has used up.

    residual [tokens, hidden_size]; delta: still to be added to it; x: the next part's input.
    """

    residual: torch.Tensor
    delta: torch.Tensor | None = None
    x: torch.Tensor | None = None

    def take(self) -> torch.Tensor:
        """The next part's input, which nobody else keeps alive."""
        x, self.x = self.x, None
        assert x is not None
        return x


def mixer_of(
    weights: Weights,
    mixer: Attention | LatentAttention,
    pools: Mapping[PoolKey, Pool],
    place: tuple[PoolKey, int],
) -> Run:
    """Attention of one layer over its layer of its pool, whichever pool is there by then."""
    key, index = place
    if isinstance(mixer, Attention):
        return lambda hidden, step: _attention(weights, mixer, pools[key], index, hidden, step)
    return lambda hidden, step: _latent(weights, mixer, pools[key], index, hidden, step)


def _attention(
    weights: Weights, mixer: Attention, pool: Pool, index: int, hidden: Hidden, step: Step
) -> torch.Tensor:
    heads, kv_heads = mixer.num_attention_heads, mixer.num_key_value_heads
    dim, value_dim = mixer.head_dim, mixer.value_dim
    x = hidden.take()
    tokens = x.shape[0]
    qkv = weights.project("q_proj", x)
    del x
    split = (heads * dim, kv_heads * dim, kv_heads * value_dim)
    q, k, v = (part.unflatten(1, (-1, d)) for part, d in zip(
        qkv.split(split, dim=1), (dim, dim, value_dim), strict=True))  # fmt: skip
    table = step.rope[dim]
    if mixer.qk_norm == "head":
        norm_rope(q, step.positions, table, weights.tensors["q_norm"])
        norm_rope(k, step.positions, table, weights.tensors["k_norm"])
    else:
        norm_rope(qkv[:, : sum(split[:2])].unflatten(1, (-1, dim)), step.positions, table)
    store_kv(k, pool.keys[index], pool.slots)
    assert pool.values is not None
    store_kv(v, pool.values[index], pool.slots)
    window = (-1 if mixer.window is None else mixer.window - 1, 0)
    if step.decode:
        out = paged_decode_attention(
            q, pool.keys[index], pool.values[index], pool.table, pool.lengths, window_size=window
        )
    else:
        out = flash_attention(q[None], k[None], v[None], window_size=window)
    return weights.project("o_proj", tensor_of(out).reshape(tokens, heads * value_dim))


def _latent(
    weights: Weights, mixer: LatentAttention, pool: Pool, index: int, hidden: Hidden, step: Step
) -> torch.Tensor:
    x = hidden.take()
    tokens, heads, rank = x.shape[0], mixer.num_attention_heads, mixer.kv_lora_rank
    nope, rope, value = mixer.qk_nope_head_dim, mixer.qk_rope_head_dim, mixer.v_head_dim
    if mixer.q_lora_rank is None:
        q = weights.project("q_proj", x)
    else:
        low = weights.project("q_a_proj", x)
        add_rms_norm(low, None, weights.tensors["q_a_layernorm"], out=low)
        q = weights.project("q_b_proj", low)
    q = q.view(tokens, heads, nope + rope)
    latent = weights.project("kv_a_proj_with_mqa", x)
    del x
    add_rms_norm(latent[:, :rank], None, weights.tensors["kv_a_layernorm"], out=latent[:, :rank])
    table = step.rope[rope]
    norm_rope(q[..., nope:], step.positions, table)
    norm_rope(latent[:, None, rank:], step.positions, table)
    store_kv(latent[:, None], pool.keys[index], pool.slots)
    if not step.decode:
        up = weights.project("kv_b_proj", latent[:, :rank]).view(tokens, heads, nope + value)
        shared = latent[:, None, rank:].expand(-1, heads, -1)
        k = torch.cat([up[..., :nope], shared], dim=-1)
        out = tensor_of(flash_attention(q[None], k[None], up[None, ..., nope:]))
    else:
        up_weight = weights.tensors["kv_b_proj"].view(heads, nope + value, rank).to(q.dtype)
        absorbed = torch.bmm(q[..., :nope].transpose(0, 1), up_weight[:, :nope])
        seen = mla_decode_attention(
            absorbed.transpose(0, 1), q[..., nope:], pool.keys[index].squeeze(2), pool.table,
            pool.lengths, softmax_scale=(nope + rope) ** -0.5,
        )  # fmt: skip
        seen = tensor_of(seen)
        out = torch.bmm(seen.transpose(0, 1), up_weight[:, nope:].transpose(1, 2)).transpose(0, 1)
    return weights.project("o_proj", out.reshape(tokens, heads * value))


def feed_forward(weights: Weights, mlp: Mlp | MoE) -> Run:
    """The feed-forward part of one layer."""
    if isinstance(mlp, Mlp):
        return lambda hidden, step: _dense(weights, mlp, hidden)
    return lambda hidden, step: _experts(weights, mlp, hidden, step)


def _dense(weights: Weights, mlp: Mlp, hidden: Hidden) -> torch.Tensor:
    inner = weights.project("gate_proj" if mlp.gated else "up_proj", hidden.take())
    acted = activate(inner, gated=mlp.gated)
    del inner
    return weights.project("down_proj", acted)


def _experts(weights: Weights, moe: MoE, hidden: Hidden, step: Step) -> torch.Tensor:
    x = hidden.take()
    chosen = step.chosen[moe.num_experts, moe.num_experts_per_tok]
    share, source, place, ends = route(weights.project("router", x), chosen)
    rows = x[source]
    name = "experts.gate_proj" if moe.gated else "experts.up_proj"
    inner = grouped_matmul(rows, weights.tensors[name], ends)
    del rows
    acted = activate(inner, gated=moe.gated)
    del inner
    out = grouped_matmul(acted, weights.tensors["experts.down_proj"], ends)
    del acted
    total = sum_experts(out, place, share)
    del out
    if moe.shared is None:
        return total
    hidden.x = x
    del x
    return total.add_(_dense(weights, moe.shared, hidden))


@dataclass
class Layer:
    """Norms, attention and feed-forward of one layer; residual and delta in, the same out."""

    weights: Weights
    norms: list[torch.Tensor]
    mixer: Run | None
    mlp: Run | None

    def run(self, hidden: Hidden, step: Step) -> None:
        """Both parts; hidden's residual is updated in place."""
        parts = [part for part in (self.mixer, self.mlp) if part is not None]
        around = len(self.norms) >= 2 * len(parts)
        norms = iter(self.norms)
        for part in parts:
            norm = next(norms, None)
            if norm is None:
                hidden.x = hidden.residual
            else:
                hidden.x = add_rms_norm(hidden.residual, hidden.delta, norm)
            hidden.delta = None
            hidden.delta = part(hidden, step)
            after = next(norms, None) if around else None
            if after is not None:
                add_rms_norm(hidden.delta, None, after, out=hidden.delta)


def layer_of(
    bench: Bench,
    part: Part,
    hidden_size: int,
    pools: Mapping[PoolKey, Pool],
    place: tuple[PoolKey, int] | None,
) -> Layer:
    """One layer of `part` with its own weights; place None: a layer without attention."""
    weights = Weights(bench, part.weights)
    group = part.group
    norms = [
        weights.tensors[w.name]
        for w in group.norms
        if w.shape == (hidden_size,) and not w.name.endswith(".bias")
    ]
    mixer = None
    if place is not None:
        kind = group.mixers[0]
        assert isinstance(kind, (Attention, LatentAttention))
        mixer = mixer_of(weights, kind, pools, place)
    mlp = None if group.mlp is None else feed_forward(weights, group.mlp)
    return Layer(weights, norms, mixer, mlp)
