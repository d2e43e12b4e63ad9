"""Lines of what a pass needs beside weights and cache: workspace of attention, activations."""

from collections.abc import Iterator

from planner.activations import LOGIT_BYTES, MLA_WORKSPACE_TOKENS, MOE_TOKENS
from planner.attention import KEY_TILE, LSE_BYTES, MAX_SPLITS, PARTIAL_BYTES, attention_layers
from planner.explain.step import Step
from planner.formats.dtypes import DTYPE_BYTES
from planner.parallelism import layers_in
from planner.plan import Plan
from planner.units import ceil_div


def working_memory_steps(plan: Plan) -> Iterator[Step]:
    """Of the binding GPU, and the score matrix that flash attention does without."""
    heads, n = plan.footprint.heads, plan.workload.context
    rows = plan.sequences_per_replica * plan.workload.beam_width
    chunk = min(plan.deployment.max_num_batched_tokens, rows * n)
    if heads is not None:
        yield Step(
            "Score matrix that flash attention never stores",
            "heads x tokens x tokens x 2, one layer and one sequence",
            f"{heads.num_heads} x {n:,} x {n:,} x 2",
            plan.score_matrix_bytes,
        )
    yield Step(
        "Flash attention workspace",
        "larger of: 4 x heads x chunk (prefill); 4 x heads x (d_v + 1) x split rows (decode)",
        _workspace(plan, rows, chunk),
        plan.parts.attention_workspace,
        in_total=True,
    )
    acts = plan.activations
    formulas, numbers = zip(*_moments(plan, rows, chunk), strict=True)
    yield Step(
        "Activations (estimate)",
        {1: "", 2: "larger of: "}.get(len(formulas), "largest of: ") + "; ".join(formulas),
        f"{'; '.join(numbers)}; range {acts.low_bytes:,} to {acts.high_bytes:,}",
        acts.bytes,
        in_total=True,
    )


def _workspace(plan: Plan, rows: int, chunk: int) -> str:
    """Log-sum-exps of prefill and partial outputs of decode, each of the layer that needs most."""
    groups = [g for g in plan.model.groups if layers_in(g, plan.stage.layers)]
    tp = plan.deployment.tensor_parallel_size
    found = [heads for heads, _ in attention_layers(groups, tp)]
    if not found:
        return "no softmax attention on this GPU"
    prefill = max(h.num_heads for h in found)
    decode = max(found, key=lambda h: h.num_heads * (h.value_dim + 1))
    splits = min(MAX_SPLITS, ceil_div(plan.workload.context, KEY_TILE))
    wave = plan.stage.workspace.rows_of_a_wave
    split_rows = "0" if splits == 1 else f"min({rows:,} x {splits}, {wave:,})"
    why = "one split needs none" if splits == 1 else f"{wave:,} split rows fill the GPU"
    return (
        f"{LSE_BYTES} x {prefill} x {chunk:,}; "
        f"{PARTIAL_BYTES} x {decode.num_heads} x ({decode.value_dim} + 1) x {split_rows}; {why}"
    )


def _moments(plan: Plan, rows: int, chunk: int) -> Iterator[tuple[str, str]]:
    """What may be the peak of a forward pass: formula, and the same with its numbers."""
    terms, hidden = plan.stage.activations, plan.model.hidden_size
    size = DTYPE_BYTES[plan.model.dtype]
    yield (
        "chunk x (widest part of a layer + hidden) x bytes",
        f"{chunk:,} x ({terms.layer_bytes_per_token // size - hidden:,} + {hidden:,}) x {size}",
    )
    if terms.moe_bytes_per_token:
        yield (
            f"(chunk x 2 x hidden + min(chunk, {MOE_TOKENS:,}) x expert workspaces) x bytes",
            f"({chunk:,} x 2 x {hidden:,} + {min(chunk, MOE_TOKENS):,} x "
            f"{terms.moe_bytes_per_token // size:,}) x {size}",
        )
    if terms.mla_bytes_per_token:
        yield (
            f"(chunk x (latent attention + hidden) + min(chunk, {MLA_WORKSPACE_TOKENS:,}) x "
            "(keys + values)) x bytes",
            f"({chunk:,} x ({terms.beside_mla_bytes_per_token // size - hidden:,} + {hidden:,}) + "
            f"{min(chunk, MLA_WORKSPACE_TOKENS):,} x {terms.mla_bytes_per_token // size:,}) x "
            f"{size}",
        )
    if terms.vocab_size:
        yield (
            "sequences x vocabulary x bytes per logit",
            f"{rows:,} x {terms.vocab_size:,} x {LOGIT_BYTES[1]}",
        )
