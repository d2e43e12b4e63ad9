"""Activations that one layer keeps for its backward pass, tensor by tensor.

From the layer's own widths; for a GPT layer (h, 4h, a heads, dropout, materialised scores) they add
up to s b h (34 + 5 a s / h) of Korthikanti et al. 2022, table 2.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from planner.kinds.attention import Attention, LatentAttention
from planner.kinds.mlp import Mlp, MoE
from planner.model import LayerGroup
from planner.training.recipe import Recipe
from planner.training.tensors import targeted

FEEDS_ATTENTION = ("q_proj", "k_proj", "v_proj", "q_a_proj", "kv_a_proj_with_mqa")
FEEDS_EXPERTS = ("experts.gate_proj", "experts.up_proj")
FEEDS_MLP = ("gate_proj", "up_proj", *FEEDS_EXPERTS)
LSE_BYTES = 4
STATE_CHUNK = 256
"""Tokens between kept states of a recurrent scan (Mamba-2's chunk)."""


@dataclass(frozen=True, slots=True)
class Saved:
    """One kept tensor: bytes per token, and per query-key pair.

    split: cut by tensor parallelism; otherwise by sequence parallelism only. core: what selective
    recomputation drops. feeds: kept only to train these weights; empty: always. part: "attention"
    or "mlp". estimated: recurrent layers, whose kernels differ in what they keep.
    """

    name: str
    bytes_per_token: int
    part: str
    bytes_per_pair: int = 0
    split: bool = True
    core: bool = False
    feeds: tuple[str, ...] = ()
    estimated: bool = False


def layer_saved(group: LayerGroup, hidden_size: int, recipe: Recipe) -> tuple[Saved, ...]:
    """Everything one layer of `group` keeps without recomputation."""
    found = tuple(_all(group, hidden_size, recipe))
    if recipe.lora is None:
        return found
    lora = recipe.lora
    trained = {w.name for w in group.weights(hidden_size) if targeted(w, lora)}
    return tuple(s for s in found if not s.feeds or trained & set(s.feeds))


def kept_bytes(saved: tuple[Saved, ...], recipe: Recipe, hidden_size: int) -> int:
    """What one layer keeps of one micro-batch on one rank, under the recipe's recomputation."""
    tokens = recipe.micro_batch_tokens
    if recipe.recomputation == "full":
        whole = tokens * hidden_size * recipe.element_bytes
        return whole // (recipe.tensor_parallel_size if recipe.sequence_parallel else 1)
    dropped = recipe.recomputation == "selective"
    return sum(bytes_of(s, recipe) for s in saved if not (s.core and dropped))


def bytes_of(saved: Saved, recipe: Recipe) -> int:
    """One kept tensor of one micro-batch on one rank."""
    tokens = recipe.micro_batch_tokens
    size = tokens * (saved.bytes_per_token + recipe.sequence_length * saved.bytes_per_pair)
    cut = saved.split or recipe.sequence_parallel
    return size // (recipe.tensor_parallel_size if cut else 1)


def _all(group: LayerGroup, hidden: int, recipe: Recipe) -> Iterator[Saved]:
    e = recipe.element_bytes
    linear = 1 if recipe.precision == "fp8" else e
    norms = sum(1 for w in group.norms if w.shape == (hidden,) and not w.name.endswith(".bias"))
    yield Saved("norm inputs", norms * e * hidden, "norms", split=False)
    for mixer in group.mixers:
        if isinstance(mixer, (Attention, LatentAttention)):
            inputs = FEEDS_ATTENTION if group.mlp is None or norms > 1 else ()
            yield Saved(
                "attention input", linear * hidden, "attention", split=False, feeds=inputs
            )  # fmt: skip
            if isinstance(mixer, Attention):
                yield from _attention(mixer, recipe, linear)
            else:
                yield from _latent(mixer, recipe, linear)
        else:
            widths = [
                w.shape[0] + (w.shape[1] if w.split == "row" else 0)
                for w in mixer.weights(hidden)
                if len(w.shape) == 2 and w.role == "linear"
            ]
            state = sum(4 * t.elements for t in mixer.state()) // STATE_CHUNK
            yield Saved(
                f"{mixer.kind} tensors", e * (hidden + sum(widths)) + state, "attention",
                estimated=True,
            )  # fmt: skip
    if group.mixers and recipe.dropout:
        yield Saved("attention dropout mask", hidden, "attention", split=False)
    if group.mlp is not None:
        if norms > 1 or not group.mixers:
            yield Saved("feed-forward input", linear * hidden, "mlp", split=False, feeds=FEEDS_MLP)
        yield from _feed_forward(group.mlp, hidden, recipe, linear)
        if recipe.dropout:
            yield Saved("feed-forward dropout mask", hidden, "mlp", split=False)


def softmax_bytes(recipe: Recipe) -> int:
    """Of one probability as the softmax puts it out, where they are stored."""
    return 4 if recipe.attention == "naive" else recipe.element_bytes


def _core(
    heads: int, kv_heads: int, score: int, value: int, recipe: Recipe, linear: int
) -> Iterator[Saved]:
    """Queries, keys, values, scores, output of one layer's attention."""
    e = recipe.element_bytes
    naive = recipe.attention != "flash"
    stored = heads if naive else kv_heads
    yield Saved("queries", e * heads * score, "attention")
    yield Saved("keys and values", e * stored * (score + value), "attention")
    if naive:
        softmax = softmax_bytes(recipe)
        yield Saved("softmax's probabilities", 0, "attention", softmax * heads, core=True)
        if softmax != e:
            yield Saved("probabilities, cast", 0, "attention", e * heads, core=True)
        if recipe.dropout:
            copies = 1 + (e if softmax == e else 0)
            yield Saved("dropout of probabilities", 0, "attention", copies * heads, core=True)
        yield Saved("attention output", linear * heads * value, "attention", feeds=("o_proj",))
        return
    yield Saved("log-sum-exps", LSE_BYTES * heads, "attention", core=True)
    yield Saved("attention output", e * heads * value, "attention")
    if linear != e:
        yield Saved("attention output, fp8", heads * value, "attention", feeds=("o_proj",))


def _attention(mixer: Attention, recipe: Recipe, linear: int) -> Iterator[Saved]:
    e, heads, kv = recipe.element_bytes, mixer.num_attention_heads, mixer.num_key_value_heads
    yield from _core(heads, kv, mixer.head_dim, mixer.value_dim, recipe, linear)
    if mixer.qk_norm != "none":
        own = 0 if mixer.shares_cache else kv
        yield Saved("query and key norm inputs", e * (heads + own) * mixer.head_dim, "attention")
    if mixer.output_gate:
        yield Saved("output gate and product", 2 * e * heads * mixer.value_dim, "attention")


def _latent(mixer: LatentAttention, recipe: Recipe, linear: int) -> Iterator[Saved]:
    e, heads = recipe.element_bytes, mixer.num_attention_heads
    latent = (e + linear) * (mixer.kv_lora_rank + (mixer.q_lora_rank or 0))
    yield Saved("latents and their norms", latent, "attention", split=False)
    yield from _core(heads, heads, mixer.head_dim, mixer.value_dim, recipe, linear)


def _feed_forward(mlp: Mlp | MoE, hidden: int, recipe: Recipe, linear: int) -> Iterator[Saved]:
    e = recipe.element_bytes
    if isinstance(mlp, Mlp):
        yield from _gate(mlp.intermediate_size, 1, mlp.gated, recipe, linear, "", ("down_proj",))
        return
    k, width = mlp.num_experts_per_tok, mlp.input_size or hidden
    yield Saved("router probabilities", 4 * mlp.num_experts, "mlp", split=False)
    yield Saved("tokens by expert", k * linear * width, "mlp", split=False, feeds=FEEDS_EXPERTS)
    down = ("experts.down_proj",)
    yield from _gate(mlp.moe_intermediate_size, k, mlp.gated, recipe, linear, "expert ", down)
    yield Saved("expert outputs", k * e * width, "mlp", split=False)
    if mlp.shared is not None:
        size, gated = mlp.shared.intermediate_size, mlp.shared.gated
        yield from _gate(size, 1, gated, recipe, linear, "shared expert ", ("down_proj",))


def _gate(
    width: int, times: int, gated: bool, recipe: Recipe, linear: int, prefix: str,
    feeds: tuple[str, ...],
) -> Iterator[Saved]:  # fmt: skip
    """Inputs of the activation and, where it feeds a trained matrix, its output."""
    inner = times * recipe.element_bytes * width
    inputs = (2 if recipe.fused_kernels else 3) if gated else 1
    yield Saved(f"{prefix}activation inputs".strip().lower(), inputs * inner, "mlp")
    yield Saved(f"{prefix}activation output", times * linear * width, "mlp", feeds=feeds)
