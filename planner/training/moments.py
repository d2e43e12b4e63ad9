"""The moments at which a training step may peak, on top of states: one micro-batch's last layer.

Everything stored is alive at the loss, where the backward pass begins. Then each layer frees what
it kept and needs gradients of its own; recomputed tensors come back for one layer at a time.
"""

from dataclasses import dataclass
from math import prod

from planner.kinds.attention import Attention, LatentAttention
from planner.kinds.mlp import Mlp, MoE
from planner.model import LayerGroup, Model
from planner.training.recipe import Recipe
from planner.training.saved import Saved, bytes_of, softmax_bytes
from planner.training.states import parameter_bytes
from planner.training.tensors import Held


@dataclass(frozen=True, slots=True)
class LayerMoments:
    """Bytes above what is stored: in the feed-forward's backward, and in attention's."""

    recomputed: int
    feed_forward: int
    attention: int

    @property
    def largest(self) -> int:
        return self.recomputed + max(self.feed_forward, self.attention, 0)


def layer_moments(
    group: LayerGroup, saved: tuple[Saved, ...], held: tuple[Held, ...], hidden: int, recipe: Recipe
) -> LayerMoments:
    """Moments of one layer of `group`, whose tensors on a rank are `held`."""
    e, tokens, tp = recipe.element_bytes, recipe.micro_batch_tokens, recipe.tensor_parallel_size
    alive = [s for s in saved if _recomputed(s, recipe)]
    residual = tokens * hidden * e // (tp if recipe.sequence_parallel else 1)
    if recipe.recomputation == "full":
        residual *= 2
    largest = max((prod(t.shape) for t in held if t.trainable), default=0)
    gradient = largest * parameter_bytes(recipe)
    kept_by_mlp = sum(bytes_of(s, recipe) for s in saved if s.part == "mlp")
    feed_forward = tokens * _feed_forward(group.mlp, hidden, recipe) // tp
    attention = max((_attention(mixer, recipe) for mixer in group.mixers), default=0)
    return LayerMoments(
        sum(bytes_of(s, recipe) for s in alive),
        feed_forward + residual + gradient,
        tokens * attention // tp + residual + gradient - kept_by_mlp,
    )


def tied_gradient_bytes(model: Model, held: tuple[Held, ...], recipe: Recipe, last: bool) -> int:
    """A tied head's gradient, which autograd keeps until the embedding's is added to it."""
    if model.head or not last:
        return 0
    table = model.embedding[0].name
    shared = (t for t in held if t.name == table and t.trainable)
    return sum(t.parameters for t in shared) * parameter_bytes(recipe)


def _recomputed(saved: Saved, recipe: Recipe) -> bool:
    return recipe.recomputation == "full" or (recipe.recomputation == "selective" and saved.core)


def _feed_forward(mlp: Mlp | MoE | None, hidden: int, recipe: Recipe) -> int:
    """Bytes per token: gradients of the activation's inputs, less the output freed by then."""
    if mlp is None:
        return 0
    e = recipe.element_bytes
    if isinstance(mlp, Mlp):
        return e * mlp.intermediate_size * (2 if mlp.gated else 1)
    k, width = mlp.num_experts_per_tok, mlp.input_size or hidden
    shared = 0 if mlp.shared is None else mlp.shared.intermediate_size
    inner = k * mlp.moe_intermediate_size + shared
    return e * (inner * (2 if mlp.gated else 1) + k * width)


def _attention(mixer: object, recipe: Recipe) -> int:
    """Bytes per token: gradients of probabilities and scores and, as PyTorch's softmax works
    backward on a GPU, the former times the probabilities, less a cast copy freed by then; or the
    gradients of queries, keys, values and an fp32 accumulator. Scores of fp16 alone get their
    gradient in their own format at once.
    """
    if not isinstance(mixer, (Attention, LatentAttention)):
        return 0
    e, heads = recipe.element_bytes, mixer.num_attention_heads
    if recipe.attention != "flash":
        softmax = softmax_bytes(recipe)
        copy = e if softmax != e else 0
        scores = e if recipe.precision == "fp16" else softmax
        return (2 * softmax + scores - copy) * heads * recipe.sequence_length
    return heads * (3 * e * mixer.head_dim + e * mixer.value_dim + 4 * mixer.head_dim)
