"""How long a context a model reaches: by training, by scaled rotary positions, by other means.

reach(model).supported_tokens
"""

from dataclasses import dataclass
from typing import Any

from planner.errors import PlanRefused
from planner.model import Model
from planner.rope.frequencies import kind_of
from planner.units import format_tokens

STATED_ALREADY = ("gemma3", "gemma3_text")
"""Families whose max_position_embeddings already counts their linear scaling."""
SENTENCES = {
    "default": "Rotary positions without scaling: only the lengths it was trained on.",
    "linear": "Positions are divided by {factor:g}: every length is squeezed, so quality at short "
    "ones depends on fine-tuning with the same factor (Chen et al. 2023).",
    "dynamic": "The rotary base grows with the text once it is longer than trained (NTK-aware): "
    "short texts are unchanged, and keys computed before the base grew no longer fit it.",
    "yarn": "Slow frequencies are interpolated by {factor:g}, fast ones kept, and attention is "
    "sharpened for all lengths (YaRN, Peng et al. 2023).",
    "longrope": "Each frequency has its own factor, one set up to {original:,} tokens and another "
    "beyond: crossing that length changes all earlier keys (LongRoPE, Ding et al. 2024).",
    "llama3": "Frequencies with wavelengths beyond the original {original:,} tokens are divided by "
    "{factor:g}, and the model was trained further at up to the stated length.",
    "factors": "Frequencies are divided by factors of their own, which stand in the file's tensors "
    "and not in its metadata.",
    "alibi": "Attention is biased by distance and has no position limit; the paper shows twice the "
    "trained length without loss (Press et al. 2021).",
    "learned": "Positions are a table: there is none beyond its end.",
    "none": "No positions are encoded, so nothing limits them; what was trained is not in the "
    "configuration.",
}
OVERRIDE = "engines refuse longer sequences unless told to override that"


@dataclass(frozen=True, slots=True)
class Reach:
    """Lengths in tokens, None where nothing is stated. hard: beyond it the model cannot run.

    trained: without scaling. supported: with the scaling that the configuration asks for.
    seen_by_windows: how far information travels through stacked windows, if all layers have one.
    """

    method: str
    trained_tokens: int | None
    supported_tokens: int | None
    hard: bool
    seen_by_windows: int | None
    sentence: str


def reach(model: Model) -> Reach:
    """The Reach of `model`. Rules for scaled lengths are vLLM's (0.33: derived max_model_len)."""
    rope: dict[str, Any] = model.rope or {}
    stated = model.max_position_embeddings
    factor = float(rope.get("factor") or 1.0)
    original = rope.get("original_max_position_embeddings")
    method = kind_of(rope)
    trained, supported = stated, stated
    if rope.get("alibi"):
        method, supported = "alibi", None
    elif any(weight.name == "embed_positions" for weight in model.outside()):
        method = "learned"
    elif stated is None and not rope:
        method = "none"
    elif method in ("linear", "dynamic", "ntk"):
        if model.model_type in STATED_ALREADY:
            trained = None
        elif stated is not None:
            supported = int(stated * factor)
    elif method == "yarn":
        trained = original or stated
        supported = None if trained is None else int(trained * factor)
    elif method in ("longrope", "llama3"):
        trained = original or stated
    known = "factors" if method == "llama3" and not rope.get("factor") else method
    sentence = SENTENCES.get(known, f"Rotary scaling {method!r} is not described here.")
    return Reach(
        method=method,
        trained_tokens=trained,
        supported_tokens=supported,
        hard=method == "learned",
        seen_by_windows=_seen_by_windows(model),
        sentence=sentence.format(factor=factor, original=original or stated or 0),
    )


def beyond_stated(model: Model, context: int, *, served: bool = True) -> str | None:
    """What to know about a context beyond the stated positions; None within them.

    served: engines have a say in it.
    """
    found = reach(model)
    if found.supported_tokens is None or context <= found.supported_tokens:
        return None
    refused = f", and {OVERRIDE}" if served and not found.hard else ""
    return (
        f"The configuration states {format_tokens(found.supported_tokens)} positions; "
        f"{format_tokens(context)} tokens are beyond them{refused}. {found.sentence}"
    )


def reachable(model: Model, context: int) -> str | None:
    """The same, raised as PlanRefused where the model cannot run beyond its positions at all."""
    found = beyond_stated(model, context)
    if found is not None and reach(model).hard:
        raise PlanRefused(found)
    return found


def _seen_by_windows(model: Model) -> int | None:
    """The sum of all windows: what reaches the last token, step by step; None with a full layer."""
    total = 0
    for group in model.groups:
        windows = [t.window for t in group.cache()]
        if not windows or None in windows:
            return None
        total += group.count * (max(w for w in windows if w is not None) - 1)
    return total + 1
