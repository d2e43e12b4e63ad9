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
from typing import Any

from planner.deployment import Deployment
from planner.formats.gguf_assignment import Stored
from planner.formats.quantization import Part, assign
from planner.kinds.attention import Attention, LatentAttention
from planner.kinds.mlp import MoE
from planner.model import LayerGroup, Model
from planner.timing.attention_costs import attention, latent_attention
from planner.timing.matrices import Matrices, fused, halves_of_experts, held_by_rank
from planner.timing.one_pass import OnePass, Phase
from planner.timing.roofline import Costs, Work

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
    return Costs(tuple(_work(OnePass(model, deployment, phase, tokens, counts, span))))


def _whole(value: Any) -> Any:
    """The integer part of a number or of every number of an array."""
    return int(value) if isinstance(value, (int, float)) else value.astype("int64")


def _work(step: OnePass) -> Iterator[Work]:
    assignment = assign(step.model, step.deployment.weights_dtype)
    hidden = step.model.hidden_size
    if step.span.start == 0:
        yield step.elementwise("embedding", 1, 2 * step.rows * hidden)
    for part in assignment.layers:
        held = sum(1 for index in part.layers if index in step.span)
        if held:
            yield from _layer(step, part, held)
    if step.span.stop < step.model.num_hidden_layers:
        return
    answered = step.rows if step.decode else step.sequences
    yield step.elementwise("final norm", 1, 2 * answered * hidden)
    outside = [pair for pair in assignment.outside if len(pair[0].shape) == 2]
    heads = [pair for pair in outside if pair[0].name.startswith("lm_head")] or [
        pair for pair in outside if pair[0].role == "embedding"
    ][:1]
    if heads:
        yield step.matmul("head", 1, held_by_rank(heads, step.ranks), answered)
    logits = sum(weight.shape[0] for weight, _ in heads) or step.model.vocab_size
    yield step.elementwise("sample", 1, SAMPLED * answered * logits)


def _layer(step: OnePass, part: Part, count: int) -> Iterator[Work]:
    group = part.group
    hidden = step.model.hidden_size
    norms = sum(1 for w in group.norms if w.shape == (hidden,) and w.name[-5:] != ".bias")
    yield step.elementwise("norm", norms * count, 4 * step.rows * hidden)
    for mixer in group.mixers:
        if isinstance(mixer, Attention):
            yield from attention(step, mixer, count)
        elif isinstance(mixer, LatentAttention):
            yield from latent_attention(step, mixer, count)
        else:
            state = sum(t.elements * 4 for t in mixer.state()) // step.tp
            yield step.elementwise(mixer.kind, count, 2 * step.sequences * state // step.size)
    yield from _matrices(step, part.weights, group, count)
    if group.mlp is not None:
        dense = group.mlp.shared if isinstance(group.mlp, MoE) else group.mlp
        if dense is not None:
            width = (3 if dense.gated else 2) * dense.intermediate_size // step.tp
            yield step.elementwise("activation", count, step.rows * width)
    if isinstance(group.mlp, MoE):
        yield from _experts(step, part.weights, group.mlp, count)


def _matrices(step: OnePass, stored: Stored, group: LayerGroup, count: int) -> Iterator[Work]:
    """Every matmul of a layer but those of routed experts."""
    latent = any(isinstance(m, LatentAttention) for m in group.mixers)
    for name, held in fused(stored, step.ranks):
        if name == "kv_b_proj" and latent and step.decode:
            yield from _absorbed(step, held, count)
        else:
            yield step.matmul(name, count, held, step.rows)


def _absorbed(step: OnePass, held: Matrices, count: int) -> Iterator[Work]:
    """MLA decode folds the up-projection into query and output: half of it each."""
    whole = step.matmul("kv_b_proj", count, held, step.rows)
    for name in ("absorbed keys", "absorbed values"):
        yield Work(
            "matmul", step.numbers, name, count, step.numbers, whole.flops // 2,
            whole.weight_bytes // 2, activation_bytes=whole.activation_bytes // 2,
        )  # fmt: skip


def _experts(step: OnePass, stored: Stored, moe: MoE, count: int) -> Iterator[Work]:
    """Routing, both grouped matmuls and the sum; experts are taken to be drawn uniformly.

    Of E experts, a draw of k for each of n tokens leaves E (1 - (1 - k/E)^n) at work. Tokens of
    all data-parallel replicas meet in them.
    """
    tokens = step.rows * step.deployment.data_parallel_size
    rows = tokens * moe.num_experts_per_tok
    width = moe.input_size or step.model.hidden_size
    share = moe.num_experts_per_tok / moe.num_experts
    idle: Any = (1 - share) ** tokens
    yield Work(
        "routing", "int64", "route", count, step.numbers, activation_bytes=rows * 8
    )  # fmt: skip
    yield step.elementwise("gather tokens", count, 2 * rows * width)
    inner = (3 if moe.gated else 2) * moe.moe_intermediate_size
    yield step.elementwise("expert activation", count, rows * inner)
    yield step.elementwise("sum experts", count, (rows + tokens) * width)
    for name, held, copies in halves_of_experts(stored, step.ranks):
        one = step.matmul(name, count, held, rows)
        touched = copies * (1 - idle)
        split = moe.num_experts / copies
        yield Work(
            "grouped_matmul", one.numbers, name, count, one.numbers,
            _whole(one.flops / split), _whole(one.weight_bytes * touched),
            activation_bytes=_whole(one.activation_bytes / split),
        )  # fmt: skip
