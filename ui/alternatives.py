"""The same plan with one thing changed: attention, number format, GPU. Pure; no Streamlit."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from planner.errors import SizewellError
from planner.kv_cache import CacheTerm
from planner.offer import Offer
from planner.plan import Plan, make_plan
from planner.positions import reach
from planner.units import format_bytes, format_tokens
from planner.variants import attention_variants
from presets.gpus import load_gpu
from presets.offers import cheapest_offer
from ui.memory_bar import Bar
from ui.model_source import from_preset
from ui.tables import html_table

CONTEXTS = tuple(2**e for e in range(10, 21))
TABLE_CONTEXTS = (1024, 8192, 32768, 131072, 1048576)
MODEL_COLUMNS = ("Parameters", "Weights, whole model", "KV cache per token", "One sequence")


@dataclass(frozen=True)
class Alternative:
    """One row: a plan, or the sentence that refuses it; price: the cheapest that its GPUs have."""

    name: str
    note: str
    plan: Plan | None
    refusal: str = ""
    price: Offer | None = None

    @property
    def usd_per_hour(self) -> float | None:
        """Of all its GPUs, in whole lots."""
        if self.plan is None or self.price is None:
            return None
        return self.price.usd_per_hour(self.plan.deployment.gpus)


def attentions(plan: Plan, *, same_parameters: bool = False) -> list[Alternative]:
    """The model with every form of attention, at its own or at the same number of parameters."""
    found_forms = attention_variants(plan.model, same_parameters=same_parameters)
    variants = {v.name: v for v in found_forms}
    found = _each(plan, list(variants), lambda name: {"model": variants[name].model})
    return [replace(a, note=variants[a.name].description) for a in found]


def kv_formats(plan: Plan, names: Sequence[str]) -> list[Alternative]:
    """The plan with each cache format."""
    base = plan.deployment
    found = _each(plan, names, lambda name: {"deployment": base.replace(kv_cache_dtype=name)})
    return [_resolved(a, a.plan.footprint.kv_format.name) if a.plan else a for a in found]


def weight_formats(plan: Plan, names: Sequence[str]) -> list[Alternative]:
    """The plan with each weight format."""
    base = plan.deployment
    found = _each(plan, names, lambda name: {"deployment": base.replace(weights_dtype=name)})
    return [_resolved(a, _largest(a.plan)) if a.plan else a for a in found]


def _resolved(alternative: Alternative, name: str) -> Alternative:
    """With the format that auto stands for beside it."""
    return (
        replace(alternative, name=f"auto ({name})") if alternative.name == "auto" else alternative
    )


def _largest(plan: Plan) -> str:
    """The format that most bytes of the weights are in."""
    return next(iter(plan.footprint.assignment.bytes_by_format()))


def gpus(plan: Plan, ids: Sequence[str]) -> list[Alternative]:
    """The plan on as many of each GPU, its own among them, with the cheapest listed prices."""
    found = _each(plan, ids, lambda gpu_id: {"gpu": load_gpu(gpu_id)})
    rows = _with_own(plan, plan.gpu.id, plan.gpu.id in ids, found)
    return [replace(row, price=cheapest(row.plan)) for row in rows]


def cheapest(plan: Plan | None) -> Offer | None:
    """Of what the plan's GPUs are sold at; None where nobody's list has them."""
    return None if plan is None else cheapest_offer(plan.gpu, plan.deployment.gpus)


def prices(found: Sequence[Alternative]) -> str:
    """Whose prices they are; nothing where there are none."""
    return "; ".join(
        f"{a.name} {a.price.words(a.plan.deployment.gpus)}"
        for a in found
        if a.plan is not None and a.price is not None
    )


def models(plan: Plan, ids: Sequence[str]) -> list[Alternative]:
    """Presets on the same deployment, and the plan's own model."""
    found = _each(plan, ids, lambda model_id: {"model": from_preset(model_id).model})
    source = plan.model.source
    known = any(from_preset(model_id).model.source == source for model_id in ids)
    return _with_own(plan, source, known, found)


def _with_own(plan: Plan, name: str, known: bool, found: list[Alternative]) -> list[Alternative]:
    """What was chosen in the sidebar comes first where it is not among the others."""
    return found if known or not found else [Alternative(f"{name} (chosen)", "", plan), *found]


def _each(
    plan: Plan, names: Sequence[str], change: Callable[[str], dict[str, Any]]
) -> list[Alternative]:
    """`plan` with the inputs that `change` names for each, or why that is refused."""
    inputs: dict[str, Any] = {
        "model": plan.model,
        "gpu": plan.gpu,
        "deployment": plan.deployment,
        "workload": plan.workload,
    }
    found = []
    for name in names:
        try:
            found.append(Alternative(name, "", make_plan(**{**inputs, **change(name)})))
        except SizewellError as error:
            found.append(Alternative(name, "", None, str(error)))
    return found


def table(found: Sequence[Alternative], first: str) -> str:
    """The alternatives in numbers, without those of the whole model that are the same in all; a
    refused one says why."""
    head: tuple[str, ...] = (
        first, *MODEL_COLUMNS, "Per GPU", "Left", "Verdict", "Most users", "Longest context",
    )  # fmt: skip
    rows = [_row(a) for a in found]
    if any(a.price is not None for a in found):
        head = (*head, "Per hour", "Per hour and user")
        rows = [(*row, *_cost(a)) for row, a in zip(rows, found, strict=True)]
    planned = [row for row, a in zip(rows, found, strict=True) if a.plan is not None]
    alike = {
        i for i in range(1, 1 + len(MODEL_COLUMNS))
        if len(planned) > 1 and len({row[i] for row in planned}) == 1
    }  # fmt: skip
    shown = [i for i in range(len(head)) if i not in alike]
    return html_table(
        [head[i] for i in shown],
        [[row[i] for i in shown] for row in rows],
        numeric=[n for n, i in enumerate(shown) if head[i] not in (first, "Verdict")],
        stack=True,
    )


def _cost(alternative: Alternative) -> tuple[str, str]:
    """The price of an hour, and its part for each of the most users."""
    usd = alternative.usd_per_hour
    if usd is None:
        return "no price is listed" if alternative.plan else "", ""
    users = alternative.plan.max_concurrency if alternative.plan else None
    return f"${usd:,.2f}", f"${usd / users:,.3f}" if users else ""


def _row(alternative: Alternative) -> tuple[str, ...]:
    plan = alternative.plan
    if plan is None:
        refused = f"Refused: {alternative.refusal}"
        return (alternative.name, "", "", "", "", "", "", refused, "", "")
    return (
        alternative.name,
        f"{plan.parameters.total / 1e9:,.2f} B",
        format_bytes(plan.weights_bytes),
        format_bytes(plan.kv_bytes_per_token),
        format_bytes(plan.kv_bytes_per_sequence + plan.state_bytes_per_sequence),
        format_bytes(plan.total_bytes_per_gpu),
        format_bytes(plan.headroom_bytes),
        _fits(plan),
        _limit(plan.max_concurrency),
        _limit(plan.max_context_tokens) + _beyond(plan),
    )


def _fits(plan: Plan) -> str:
    if not plan.fits:
        return "✕ does not fit"
    return "✓ fits" if plan.range_bytes[1] <= plan.gpu.memory_bytes else "✓ fits, but tight"


def _beyond(plan: Plan) -> str:
    stated = reach(plan.model).supported_tokens
    longest = plan.max_context_tokens
    if stated is None or (longest is not None and longest <= stated):
        return ""
    return f" (states {format_tokens(stated)})"


def _limit(n: int | None) -> str:
    return "no limit" if n is None else format_tokens(n) if n else "none fits"


def bars(found: Sequence[Alternative]) -> list[Bar]:
    """The fullest GPU of every alternative that has a plan."""
    return [
        Bar(a.name, a.plan.parts, a.plan.gpu.memory_bytes, *a.plan.range_bytes)
        for a in found
        if a.plan is not None
    ]


def cache_sizes(found: Sequence[Alternative], contexts: Sequence[int]) -> list[list[int]]:
    """Cache and state of one sequence of the whole model: a row per planned alternative."""
    return [
        [_sequence(a.plan.footprint.terms, a.plan.state_bytes_per_sequence, n) for n in contexts]
        for a in found
        if a.plan is not None
    ]


def _sequence(terms: Iterable[CacheTerm], state: int, tokens: int) -> int:
    return state + sum(term.bytes(tokens) for term in terms)


def cache_table(found: Sequence[Alternative]) -> str:
    """The lines of the chart in numbers."""
    names = [a.name for a in found if a.plan is not None]
    rows = [
        (name, *(format_bytes(size) for size in sizes))
        for name, sizes in zip(names, cache_sizes(found, TABLE_CONTEXTS), strict=True)
    ]
    head = ("One sequence", *(f"{format_tokens(n)} tokens" for n in TABLE_CONTEXTS))
    return html_table(head, rows, numeric=range(1, len(head)), stack=True)


def notes(found: Sequence[Alternative]) -> str:
    """How each alternative is stored and served."""
    return html_table(("Plan", "Stored and served"), [(a.name, a.note) for a in found], stack=True)
