"""Lines of the KV cache: bytes of an entry, of a sequence, of all; empty ends and block tables."""

from collections.abc import Iterator

from planner.explain.step import Step
from planner.kv_cache import entry_bytes, state_tensor_bytes
from planner.parallelism import layers_in
from planner.plan import Plan
from planner.tensors import CacheTensor
from planner.units import ceil_div


def cache_steps(plan: Plan) -> Iterator[Step]:
    """What the binding GPU keeps of every sequence."""
    deployment, fmt = plan.deployment, plan.footprint.kv_format
    tp = deployment.tensor_parallel_size
    split = deployment.decode_context_parallel_size * deployment.context_parallel_size
    per_sequence = 0
    for (kind, tensors), count in _alike(plan).items():
        size = count * sum(entry_bytes(t, fmt, tp) for t in tensors)
        what = f"{_cache_label(tensors)}, {kind} layers"
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
                f"Recurrent state, {group.kind} layers, per sequence",
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
