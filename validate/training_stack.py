"""A planned model as a trainable stack: what `planner.training` says is kept is what is kept here.

Norms and gates are single operations that keep their inputs only, as fused kernels do; attention is
PyTorch's flash kernel or plain matrices with their scores, whose softmax is in fp32 or in 16 bits;
layers may be recomputed.
"""

from typing import Any

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from planner.kinds.attention import Attention
from planner.kinds.mlp import Mlp
from planner.model import LayerGroup, Model
from planner.training.recipe import Recipe
from validate.bench import Bench, fill_random
from validate.layer_kernels import rope_table

PIECES = 16
"""Rows are worked in so many pieces, so that an operation's own scratch space stays small."""
DTYPE = torch.bfloat16
EPSILON = 1e-6
Tensors = dict[str, torch.nn.Parameter]


def refusal(model: Model) -> str:
    """Why this model cannot be trained here, or nothing."""
    for group in model.groups:
        mixer = group.mixers[0] if len(group.mixers) == 1 else None
        if not isinstance(mixer, Attention) or not isinstance(group.mlp, Mlp):
            return "only attention and dense feed-forward layers are trained here"
        plain = mixer.qk_norm == "none" and not mixer.qkv_bias and not mixer.output_gate
        if not plain or not group.mlp.gated or group.mlp.bias or mixer.window is not None:
            return "only plain layers (no biases, windows, query norms) are trained here"
    return ""


class RmsNorm(torch.autograd.Function):
    """x / rms(x) * weight; keeps x [T, h]."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        out = torch.empty_like(x)
        for piece, into in zip(x.chunk(PIECES), out.chunk(PIECES), strict=True):
            wide = piece.float()
            scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + EPSILON)
            into.copy_(wide * scale * weight)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        x, weight = ctx.saved_tensors
        out = torch.empty_like(x)
        total = torch.zeros_like(weight, dtype=torch.float32)
        parts = (t.chunk(PIECES) for t in (x, grads[0], out))
        for piece, grad, into in zip(*parts, strict=True):
            wide, g = piece.float(), grad.float()
            scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + EPSILON)
            unit = wide * scale
            total += (g * unit).sum(0)
            g = g * weight
            into.copy_(scale * (g - unit * (g * unit).mean(-1, keepdim=True)))
        return out, total.to(weight.dtype)


class SwiGlu(torch.autograd.Function):
    """silu(gate) * up; keeps both inputs [T, f]."""

    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(gate, up)
        out = torch.empty_like(gate)
        parts = (t.chunk(PIECES) for t in (gate, up, out))
        for g, u, into in zip(*parts, strict=True):
            into.copy_(functional.silu(g) * u)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        gate, up = ctx.saved_tensors
        d_gate, d_up = torch.empty_like(gate), torch.empty_like(up)
        parts = (t.chunk(PIECES) for t in (gate, up, grads[0], d_gate, d_up))
        for g, u, d, into_gate, into_up in zip(*parts, strict=True):
            wide, half = g.float(), torch.sigmoid(g.float())
            into_up.copy_(d * wide * half)
            into_gate.copy_(d * u * half * (1 + wide * (1 - half)))
        return d_gate, d_up


class TrainingStack:
    """Parameters in bf16, master copies and both Adam moments in fp32; steps of micro-batches."""

    def __init__(self, bench: Bench, model: Model, recipe: Recipe) -> None:
        self.bench, self.model, self.recipe = bench, model, recipe
        self.outside = {w.name: self._parameter(w.shape, w.role) for w in model.outside()}
        self.layers: list[tuple[LayerGroup, Tensors]] = []
        at = {i: group for group in model.groups for i in group.layers}
        for index in sorted(at):
            group, own = at[index], {}
            norms = iter(range(len(group.norms)))
            for w in group.weights(model.hidden_size):
                name = f"norm{next(norms)}" if w.role == "norm" else w.name
                own[name] = self._parameter(w.shape, w.role)
            self.layers.append((group, own))
        self.parameters = [*self.outside.values()]
        for _, own in self.layers:
            self.parameters += own.values()
        self.master = [p.detach().float() for p in self.parameters]
        self.moments = [(torch.zeros_like(m), torch.zeros_like(m)) for m in self.master]
        mixer = model.groups[0].mixers[0]
        assert isinstance(mixer, Attention)
        self.rope = rope_table(recipe.sequence_length, mixer.head_dim, bench.device)

    def _parameter(self, shape: tuple[int, ...], role: str) -> torch.nn.Parameter:
        tensor = torch.empty(shape, dtype=DTYPE, device=self.bench.device)
        if role == "norm":
            tensor.fill_(1.0)
        else:
            fill_random(tensor, 0.02)
        return torch.nn.Parameter(tensor)

    def step(self) -> float:
        """One optimizer step on random tokens; the last micro-batch's loss."""
        with torch.enable_grad():
            for _ in range(self.recipe.gradient_accumulation_steps):
                loss = self._micro_batch()
                loss.backward()
        found = float(loss.detach())
        self._update()
        return found

    def _micro_batch(self) -> torch.Tensor:
        shape = (self.recipe.micro_batch_size, self.recipe.sequence_length)
        ids = torch.randint(0, self.model.vocab_size, shape, device=self.bench.device).view(-1)
        table = self.outside[self.model.embedding[0].name]
        x = functional.embedding(ids, table)
        for group, own in self.layers:
            if self.recipe.recomputation == "full":
                x = checkpoint(
                    self._layer, group, own, x, use_reentrant=False, preserve_rng_state=False
                )
            else:
                x = self._layer(group, own, x)
        norm = next(p for n, p in self.outside.items() if p.dim() == 1)
        head = self.outside[self.model.head[0].name] if self.model.head else table
        x = RmsNorm.apply(x, norm)
        return functional.cross_entropy(functional.linear(x, head).float(), ids)

    def _layer(self, group: LayerGroup, own: Tensors, x: torch.Tensor) -> torch.Tensor:
        x = x + self._attention(group, own, RmsNorm.apply(x, own["norm0"]))
        y = RmsNorm.apply(x, own["norm1"])
        inner = SwiGlu.apply(
            functional.linear(y, own["gate_proj"]), functional.linear(y, own["up_proj"])
        )
        return x + functional.linear(inner, own["down_proj"])

    def _attention(self, group: LayerGroup, own: Tensors, x: torch.Tensor) -> torch.Tensor:
        mixer = group.mixers[0]
        assert isinstance(mixer, Attention)
        rows, s = self.recipe.micro_batch_size, self.recipe.sequence_length
        q, k, v = (
            functional.linear(x, own[name]).view(rows, s, -1, mixer.head_dim).transpose(1, 2)
            for name in ("q_proj", "k_proj", "v_proj")
        )
        q, k = self._turned(q), self._turned(k)
        if self.recipe.attention == "flash":
            groups = mixer.num_attention_heads != mixer.num_key_value_heads
            out = functional.scaled_dot_product_attention(
                q, k, v, is_causal=True, enable_gqa=groups
            )
        else:
            times = mixer.num_attention_heads // mixer.num_key_value_heads
            k, v = k.repeat_interleave(times, 1), v.repeat_interleave(times, 1)
            hidden = torch.ones(s, s, dtype=torch.bool, device=x.device).triu_(1)
            scores = (q * mixer.head_dim**-0.5) @ k.transpose(-1, -2)
            softmax_in = torch.float32 if self.recipe.attention == "naive" else scores.dtype
            scores.masked_fill_(hidden, float("-inf"))
            out = scores.softmax(-1, dtype=softmax_in).to(v.dtype) @ v
        return functional.linear(out.transpose(1, 2).reshape(rows * s, -1), own["o_proj"])

    def _turned(self, t: torch.Tensor) -> torch.Tensor:
        cos, sin = (part[: t.shape[2]].to(t.dtype) for part in self.rope)
        left, right = t.chunk(2, dim=-1)
        return torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1)

    def _update(self) -> None:
        """AdamW, one tensor at a time; gradients stay allocated, as for accumulation."""
        for p, master, (first, second) in zip(
            self.parameters, self.master, self.moments, strict=True
        ):
            assert p.grad is not None
            for part, m, a, b in zip(*(t.view(-1).chunk(PIECES) for t in (
                p.grad, master, first, second)), strict=True):  # fmt: skip
                g = part.float()
                a.lerp_(g, 0.1)
                b.lerp_(g.square(), 0.05)
                m.sub_(1e-3 * a / (b.sqrt() + 1e-8))
            p.data.copy_(master)
            p.grad.zero_()
