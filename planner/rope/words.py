"""An extension in words: the lines that every page and the command line say alike."""

import json

from planner.errors import PlanRefused
from planner.model import Model
from planner.rope.extension import Extension, extend
from planner.units import format_tokens


def remedy(model: Model, context: int) -> str:
    """What would take the model to `context`, or why nothing does, in one sentence."""
    why = cannot_extend(model, context)
    if why:
        return f"{why[:1].upper()}{why[1:]}."
    found = extend(model, context)
    return (
        f"Stretched {found.factor:.4g} times by {found.label} its positions reach "
        f"{format_tokens(context)}: an engine's command then sets that scaling."
    )


def cannot_extend(model: Model, context: int) -> str:
    """Why scaling does not take the model to `context`, as a clause; empty where it does."""
    try:
        extend(model, context)
    except PlanRefused as why:
        return str(why)
    return ""


def headline(found: Extension) -> str:
    """The extension in a sentence."""
    return (
        f"{format_tokens(found.original_tokens)} to {format_tokens(found.context_tokens)} tokens "
        f"by {found.label}, factor {found.factor:.6g}"
    )


def lines(found: Extension) -> tuple[tuple[str, str], ...]:
    """Names and what they say: factor, pairs, wavelengths, attention, the parameters to set."""
    pairs, width = len(found.shares), found.layers.width
    blended = pairs - found.kept - found.interpolated
    slowest = max(i for i, turn in enumerate(found.before.radians) if turn)
    before, after = found.before.wavelengths[slowest], found.after.wavelengths[slowest]
    factor = found.after.attention_factor
    more = " or more" if found.method == "dynamic" else ""
    said = [
        ("factor", f"{found.factor:.6g} = {found.context_tokens:,} / {found.original_tokens:,}"),
        (
            "pairs",
            f"{pairs} in {width} rotated dimensions of a head: {found.kept} kept, "
            f"{blended} in between, {found.interpolated} slower by the whole factor{more}",
        ),
        ("slowest", f"a turn in {before:,.0f} tokens before, {after:,.0f} after"),
        (
            "attention",
            f"cosines and sines times {factor:.4f}, scores times {factor**2:.4f} (0.1 ln s + 1)"
            if factor != 1
            else "as before: this scaling leaves scores alone",
        ),
        ("rope_parameters", json.dumps(found.rope_parameters)),
        ("rope_scaling", f"{json.dumps(found.rope_scaling)} (older files)"),
    ]
    if found.max_position_embeddings is not None:
        said.append(("max_position_embeddings", str(found.max_position_embeddings)))
    if found.local is not None:
        theta = found.local.rope.get("rope_theta")
        said.append(
            (
                "windowed layers",
                f"as they are, with theta {theta:,.0f}: distances end at the window",
            )
        )
    return tuple(said)
