"""Whether scaled rotary positions take a model to a longer context, and with which parameters.

    found = extend(model, 131072)
    found.factor, found.rope_parameters, found.after.attention_factor

Fields are Hugging Face's: `rope_parameters` as transformers 5 has it, `rope_scaling` as older files
do. Nothing here says how good the answers are: what papers report is in planner.rope.published.
"""

from dataclasses import dataclass
from math import inf, nextafter
from typing import Any

from planner.errors import PlanRefused
from planner.kinds.attention import Attention, LatentAttention
from planner.model import Model
from planner.positions import reach
from planner.rope.frequencies import Frequencies, frequencies, unscaled
from planner.rope.layers import LOCAL, RotaryLayers, rotary_layers
from planner.units import format_tokens

LABELS = {"yarn": "YaRN", "linear": "position interpolation", "dynamic": "dynamic NTK"}
METHODS = tuple(LABELS)
ORIGINAL = "original_max_position_embeddings"
ONLY_THE_CHECK = "an engine only needs its length check overridden"
SCALED = ("linear", "dynamic", "yarn", "longrope", "llama3", "proportional")


@dataclass(frozen=True, slots=True)
class Extension:
    """Parameters that take positions from original_tokens to context_tokens.

    stated_tokens: what the configuration reaches by itself. layers: those that are scaled; others
    keep what they have. before, after: their frequencies, for a text of context_tokens.
    """

    method: str
    stated_tokens: int
    original_tokens: int
    context_tokens: int
    factor: float
    layers: RotaryLayers
    local: RotaryLayers | None
    before: Frequencies
    after: Frequencies

    @property
    def label(self) -> str:
        return LABELS[self.method]

    @property
    def scaling(self) -> dict[str, Any]:
        """What is new, beside theta and the rotated part."""
        found: dict[str, Any] = {"rope_type": self.method, "factor": self.factor}
        if self.method == "yarn":
            found[ORIGINAL] = self.original_tokens
        return found

    @property
    def rope_parameters(self) -> dict[str, Any]:
        """The object of transformers 5, complete: engines put it in the place of the model's."""
        whole = {**_kept(self.layers), **self.scaling}
        if self.local is None:
            return whole
        return {"full_attention": whole, LOCAL: {"rope_type": "default", **_kept(self.local)}}

    @property
    def rope_scaling(self) -> dict[str, Any]:
        """The object of older files, whose theta stands beside it."""
        sections = {k: v for k, v in _kept(self.layers).items() if k.startswith("mrope")}
        return {**sections, **self.scaling}

    @property
    def max_position_embeddings(self) -> int | None:
        """What goes with it: YaRN's files state the new length, others keep the old one."""
        return self.context_tokens if self.method == "yarn" else None

    @property
    def kept(self) -> int:
        """Pairs of dimensions that turn as before."""
        return sum(1 for share in self.shares if share == 1)

    @property
    def interpolated(self) -> int:
        """Pairs that turn slower by the whole factor."""
        return sum(1 for share in self.shares if share <= 1 / self.factor * (1 + 1e-9))

    @property
    def shares(self) -> tuple[float, ...]:
        """The speed of each pair after, of that before."""
        pairs = zip(self.before.radians, self.after.radians, strict=True)
        return tuple(new / old if old else 1.0 for old, new in pairs)


def extend(
    model: Model, context: int, method: str = "yarn", *, original: int | None = None
) -> Extension:
    """The parameters for `context` tokens.

    original: the length it was trained at, where its publisher says less than the configuration.
    Raises PlanRefused, in a sentence, where positions cannot or need not be scaled.
    """
    if method not in METHODS:
        raise PlanRefused(_unknown(method))
    found = reach(model)
    stated = _stretchable(model, found.method, found.supported_tokens)
    whole, *rest = rotary_layers(model)
    start = stated if original is None else original
    if not 1 <= start <= stated:
        raise PlanRefused(
            f"the original length {start:,} is not within the {stated:,} tokens that the "
            "configuration states"
        )
    if context <= stated:
        raise PlanRefused(
            f"{format_tokens(context)} tokens are within the {format_tokens(stated)} that the "
            "configuration states: nothing needs extending"
        )
    if whole.width < 4:
        raise PlanRefused(f"{whole.width} rotated dimensions of a head are too few to scale")
    factor = _factor(start, context)
    scaled: dict[str, Any] = {**whole.rope, "rope_type": method, "factor": factor, ORIGINAL: start}
    return Extension(
        method=method,
        stated_tokens=stated,
        original_tokens=start,
        context_tokens=context,
        factor=factor,
        layers=whole,
        local=rest[0] if rest else None,
        before=unscaled(whole.rope, whole.width),
        after=frequencies(scaled, whole.width, longest=start, length=context),
    )


def _factor(original: int, context: int) -> float:
    """context / original, not a bit less: engines round the product down."""
    factor = context / original
    return factor if int(original * factor) >= context else nextafter(factor, inf)


def _kept(layers: RotaryLayers) -> dict[str, Any]:
    """A layer type's own fields that scaling leaves as they are."""
    gone = ("rope_type", "type", ORIGINAL, "factor")
    return {name: value for name, value in layers.rope.items() if name not in gone}


def _unknown(method: str) -> str:
    if method in ("longrope", "su"):
        return (
            "LongRoPE's factors, one for each pair of dimensions, come from a search on the model "
            "itself and cannot be told from its configuration: choose yarn, linear or dynamic"
        )
    return f"scaling {method[:40]!r} is not known: choose {', '.join(METHODS)}"


def _stretchable(model: Model, method: str, stated: int | None) -> int:
    """The stated length; raises PlanRefused with why this model cannot or need not be scaled."""
    if method == "learned":
        raise PlanRefused(
            f"the model learned a table of {format_tokens(stated or 0)} positions: beyond its end "
            "there are none, and no scaling makes them"
        )
    if method == "alibi":
        raise PlanRefused("the model biases attention by distance: there is nothing to scale")
    if method == "none":
        raise PlanRefused(
            f"the model encodes no positions: there is nothing to scale, and {ONLY_THE_CHECK}"
        )
    if method in SCALED:
        raise PlanRefused(
            f"the model's positions are scaled already ({method}), as it was trained with: a "
            "second scaling on top is not published, so choose a model with a longer context"
        )
    if method != "default":
        raise PlanRefused(f"rotary scaling {method!r} is not described")
    if stated is None:
        raise PlanRefused("the configuration states no length: how far to stretch cannot be told")
    if (model.rope or {}).get("only_in_windows"):
        raise PlanRefused(
            "only the model's windowed layers turn by position, and no distance in them is longer "
            f"than their window: there is nothing to scale, and {ONLY_THE_CHECK}"
        )
    windows = [
        mixer.window
        for group in model.groups
        for mixer in group.mixers
        if isinstance(mixer, Attention | LatentAttention)
    ]
    widest = max((w for w in windows if w is not None), default=0)
    if windows and None not in windows and widest <= stated:
        raise PlanRefused(
            f"every layer has a window of at most {widest:,} tokens, and only distances count: "
            f"none is longer than it was trained on, so there is nothing to scale, and "
            f"{ONLY_THE_CHECK}"
        )
    return stated
