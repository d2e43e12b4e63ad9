"""Why an engine's cache is smaller than what the card leaves: the difference, taken apart."""

from dataclasses import dataclass

from planner.engines.engine import EngineFigures
from planner.plan import Plan

LOADED = ("weights", "lora_slots", "repacking")


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes of one GPU. ideal: what weights, activations and run time of the plan leave of the
    card; engine: the cache that it allocates, or where it would not start what it would have left
    for one, negative if it is short. reasons add up to ideal - engine, and a reason is negative
    where the engine spends less than the plan assumes.
    """

    ideal_bytes: int
    engine_bytes: int
    reasons: tuple[tuple[str, int], ...]


def gap(plan: Plan, figures: EngineFigures) -> Gap:
    """The two figures and what lies between them."""
    parts, card = plan.parts, plan.gpu.memory_bytes
    working = parts.activations + parts.attention_workspace + parts.block_tables
    ideal = card - parts.weights - working - parts.runtime
    spent = {name: part.bytes for name, part in figures.components.items()}
    draft = spent.pop("draft_weights", 0)
    loaded = sum(spent.pop(name, 0) for name in LOADED) - parts.weights - figures.mtp_bytes
    peak = spent.pop("activation", 0)
    runtime = spent.pop("non_torch", 0) + spent.pop("cuda_graphs", 0)
    states = spent.pop("states", 0)
    kept = card - figures.budget_bytes
    reasons = [
        (
            "Memory the engine leaves alone or spends on libraries and graphs",
            kept + runtime - parts.runtime,
        ),
        ("Draft model", draft),
        ("Multi-token-prediction layers, which draft", figures.mtp_bytes),
        ("Weights as the engine holds them", loaded),
        ("Activations at the engine's batch limits", peak - working),
        ("Recurrent states, set aside", states),
        ("Other parts of the budget", sum(spent.values())),
    ]
    left = engine = ideal - sum(size for _, size in reasons)
    if figures.refused is None:
        engine = figures.kv_cache.bytes
        reasons.append(("Left free, or given to nothing", left - engine))
    return Gap(ideal, engine, tuple((name, size) for name, size in reasons if size))
