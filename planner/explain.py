"""The arithmetic behind a plan, line by line: label, formula, the same with its numbers, bytes.

Lines marked in_total add up to the binding GPU's total; the others are steps on the way or
figures for comparison.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from planner.activations import LOGIT_BYTES, MLA_WORKSPACE_TOKENS, MOE_TOKENS
from planner.attention import KEY_TILE, LSE_BYTES, MAX_SPLITS, PARTIAL_BYTES, attention_layers
from planner.footprint import held_weights
from planner.formats.dtypes import DTYPE_BYTES
from planner.kv_cache import entry_bytes, state_tensor_bytes
from planner.model import kind_name
from planner.parallelism import layers_in
from planner.plan import Plan
from planner.tensors import CacheTensor
from planner.units import ceil_div

COMPONENT_LABELS = {
    "attention": "Attention weights",
    "mlp": "Feed-forward weights",
    "experts": "Routed expert weights",
    "embedding": "Embedding weights",
    "head": "Output head weights",
    "norms": "Norm weights",
    "other": "Other weights",
    "towers": "Tower weights",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One line. bytes is the value of the formula; substitution shows it with numbers."""

    label: str
    formula: str
    substitution: str
    bytes: int
    in_total: bool = False


def derivation(plan: Plan) -> tuple[Step, ...]:
    """Every step from the inputs to the total of the binding GPU, and what it is held against."""
    return (
        *_weights(plan),
        *_cache(plan),
        *_working_memory(plan),
        *_runtime(plan),
        Step(
            "Total per GPU",
            "sum of the lines above",
            f"stage {plan.binding_stage + 1} of {len(plan.footprint.stages)} binds",
            plan.total_bytes_per_gpu,
        ),
        Step(
            "Memory a program can allocate",
            "total memory as the driver reports it",
            plan.gpu.name,
            plan.gpu.memory_bytes,
        ),
        Step(
            "Headroom",
            "memory - total",
            f"{plan.gpu.memory_bytes:,} - {plan.total_bytes_per_gpu:,}",
            plan.headroom_bytes,
        ),
    )


def _weights(plan: Plan) -> Iterator[Step]:
    assignment, deployment = plan.footprint.assignment, plan.deployment
    apart = f", its {plan.model.tower_name} apart" if plan.model.towers else ""
    yield Step(
        f"Weights of the whole model{apart}",
        "stored bytes of every tensor, scales included",
        f"{plan.parameters.total:,} parameters; {assignment.description}",
        plan.weights_bytes,
    )
    stage, stages = plan.stage, plan.footprint.stages
    elements: dict[str, dict[str, int]] = {}
    for name, piece, fmt in held_weights(
        plan.model, deployment, assignment, stage.layers, stage is stages[0], stage is stages[-1]
    ):
        by_format = elements.setdefault(name, {})
        by_format[fmt.name] = by_format.get(fmt.name, 0) + piece.copies * prod(piece.shape)
    for name, size in stage.weights.items():
        parts = (f"{count:,} in {fmt}" for fmt, count in elements[name].items())
        yield Step(
            COMPONENT_LABELS.get(name, name),
            "parameters on this GPU as stored, scales included",
            ", ".join(parts),
            size,
            in_total=True,
        )


def _cache(plan: Plan) -> Iterator[Step]:
    deployment, fmt = plan.deployment, plan.footprint.kv_format
    tp = deployment.tensor_parallel_size
    split = deployment.decode_context_parallel_size * deployment.context_parallel_size
    per_sequence = 0
    for (kind, tensors), count in _alike(plan).items():
        size = count * sum(entry_bytes(t, fmt, tp) for t in tensors)
        what = f"{_cache_label(tensors)}, {kind_name(kind)} layers"
        stride = tensors[0].stride
        yield Step(
            f"{what}, per " + ("token" if stride == 1 else f"{stride} tokens"),
            "layers x heads x width x bytes",
            f"{count} x {_widths(tensors, tp)}, {fmt.name}",
            size,
        )
        entries, how = _entries(tensors[0], plan.workload.context, split)
        yield Step(
            f"{what}, per sequence",
            "entries x bytes per entry",
            f"{how} x {size:,}",
            entries * size,
        )
        per_sequence += entries * size
    for group in plan.model.groups:
        count = layers_in(group, plan.stage.layers)
        state = sum(state_tensor_bytes(t, plan.model.dtype, tp) for t in group.state())
        if count and state:
            yield Step(
                f"Recurrent state, {kind_name(group.kind)} layers, per sequence",
                "layers x state, whatever the length",
                f"{count} x {state:,}",
                count * state,
            )
            per_sequence += count * state
    sequences = plan.sequences_per_replica * plan.workload.beam_width
    shared = sequences * per_sequence - plan.parts.kv_cache
    saved = f" - {shared:,} shared" if shared else ""
    yield Step(
        "KV cache and state of all sequences",
        "sequences on this GPU x bytes per sequence" + (" - shared blocks" if shared else ""),
        f"{sequences:,} x {per_sequence:,}{saved}",
        plan.parts.kv_cache,
        in_total=True,
    )
    yield Step(
        "Empty ends of last blocks",
        f"sequences x (entries in whole blocks of {deployment.block_size} - entries) x bytes",
        _empty_ends(plan, sequences),
        plan.parts.block_rounding,
        in_total=True,
    )
    yield Step(
        "Block tables",
        "4 x sequences x blocks per sequence x cache groups",
        f"4 x {sequences:,} x {ceil_div(plan.workload.context, deployment.block_size):,} x "
        f"{plan.footprint.cache_groups}",
        plan.parts.block_tables,
        in_total=True,
    )


def _working_memory(plan: Plan) -> Iterator[Step]:
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


def _runtime(plan: Plan) -> Iterator[Step]:
    label = None if plan.gpu.calibration is None else plan.gpu.calibration.label
    for name, estimate in plan.stage.runtime.items():
        measured = estimate.source == label
        yield Step(
            runtime_label(name) + (" (measured)" if measured else " (estimate)"),
            "measured on such a card" if measured else "measured elsewhere",
            f"{estimate.low_bytes:,} to {estimate.high_bytes:,}; {estimate.source}",
            estimate.bytes,
            in_total=True,
        )


def runtime_label(name: str) -> str:
    """An overhead's name as people read it."""
    if name == "context":
        return "CUDA context"
    return name.replace("_", " ").capitalize().replace("Cuda", "CUDA")


def _alike(plan: Plan) -> dict[tuple[str, tuple[CacheTensor, ...]], int]:
    """Layers of the stage by kind and by the tensors that hold the same entries, counted."""
    found: dict[tuple[str, tuple[CacheTensor, ...]], int] = {}
    for group in plan.model.groups:
        rules: dict[tuple[int | None, int, int], tuple[CacheTensor, ...]] = {}
        for tensor in group.cache():
            rule = (tensor.window, tensor.stride, tensor.lag)
            rules[rule] = (*rules.get(rule, ()), tensor)
        for tensors in rules.values():
            key = (group.kind, tensors)
            found[key] = found.get(key, 0) + layers_in(group, plan.stage.layers)
    return {key: count for key, count in found.items() if count}


def _cache_label(tensors: tuple[CacheTensor, ...]) -> str:
    names = " and ".join(t.name.replace("_", " ") for t in tensors)
    return names[:1].upper() + names[1:]


def _widths(tensors: tuple[CacheTensor, ...], tp: int) -> str:
    heads = {max(1, t.heads // tp) for t in tensors}
    if len(heads) == 1 and len(tensors) > 1:
        return f"{heads.pop()} x ({' + '.join(_width(t) for t in tensors)})"
    return " + ".join(f"{max(1, t.heads // tp)} x {_width(t)}" for t in tensors)


def _width(tensor: CacheTensor) -> str:
    if not tensor.fp32_width:
        return str(tensor.width)
    return f"({tensor.width - tensor.fp32_width} + {tensor.fp32_width} in fp32)"


def _empty_ends(plan: Plan, sequences: int) -> str:
    block, context = plan.deployment.block_size, plan.workload.context
    ends = []
    for term in plan.stage.terms:
        whole, held = term.paged_bytes(context, block), term.bytes(context)
        if whole > held:
            size = term.bytes_per_entry
            ends.append(f"({whole // size:,} - {held // size:,}) x {size:,}")
    if not ends:
        return "every block is full"
    joined = " + ".join(ends)
    return f"{sequences:,} x {joined if len(ends) == 1 else f'({joined})'}"


def _entries(tensor: CacheTensor, context: int, token_split: int) -> tuple[int, str]:
    mine = ceil_div(context, token_split)
    entries = tensor.entries(mine)
    if tensor.window is not None and mine > tensor.window - tensor.lag:
        how = f"min({mine:,}, {tensor.window - tensor.lag:,})"
    else:
        how = f"{mine:,}"
    return entries, how if tensor.stride == 1 else f"({how} / {tensor.stride})"
