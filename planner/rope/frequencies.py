"""How fast each pair of a head's dimensions turns with the position, scaled or not.

    found = frequencies({"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0,
                         "original_max_position_embeddings": 32768}, width=128)
    found.wavelengths[0], found.attention_factor

Pair i of `width` rotated dimensions turns by theta^(-2i/width) radians a token; a wavelength is the
tokens of a whole turn. Sources: Su et al. 2021 (RoPE), Chen et al. 2023 (linear), Peng et al. 2023
(YaRN), Ding et al. 2024 (LongRoPE), Llama 3.1's published code; the rules are those of
transformers 5.23, against which the tests hold every figure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor, inf, log, pi, sqrt
from typing import Any

from planner.errors import PlanRefused

BETA_FAST, BETA_SLOW = 32, 1
"""YaRN: pairs that turn more often than this within the original length are kept, slower ones than
the second interpolated."""
NAMES = {"su": "longrope", "mrope": "default", "deepseek_yarn": "yarn"}


@dataclass(frozen=True, slots=True)
class Frequencies:
    """radians: of a token, fastest pair first; 0 where a pair is not turned. attention_factor
    multiplies cosines and sines, so scores by its square."""

    radians: tuple[float, ...]
    attention_factor: float = 1.0

    @property
    def wavelengths(self) -> tuple[float, ...]:
        """Tokens of a whole turn."""
        return tuple(2 * pi / turn if turn else inf for turn in self.radians)


def kind_of(rope: Mapping[str, Any]) -> str:
    """The kind of scaling by its present name."""
    kind = str(rope.get("rope_type") or rope.get("type") or "default")
    return NAMES.get(kind, kind)


def unscaled(rope: Mapping[str, Any], width: int) -> Frequencies:
    """The frequencies before any scaling."""
    theta = rope.get("rope_theta")
    if isinstance(theta, bool) or not isinstance(theta, int | float):
        raise PlanRefused("rope_theta is not one number in the configuration: no frequencies")
    turns = tuple(float(theta) ** (-2 * i / width) for i in range(width // 2))
    if kind_of(rope) == "proportional":
        turned = int(rope.get("partial_rotary_factor", 1.0) * width // 2)
        turns = (*turns[:turned], *(0.0 for _ in turns[turned:]))
    return Frequencies(turns)


def frequencies(
    rope: Mapping[str, Any], width: int, *, longest: int | None = None, length: int | None = None
) -> Frequencies:
    """The frequencies that `rope` asks for.

    longest: max_position_embeddings. length: of the text, for scalings that look at it (dynamic,
    longrope); without it, a short one. Raises PlanRefused for kinds that are not described.
    """
    plain, kind = unscaled(rope, width), kind_of(rope)
    if kind == "default":
        return plain
    if kind in ("linear", "proportional"):
        factor = float(rope.get("factor") or 1.0)
        return Frequencies(tuple(turn / factor for turn in plain.radians))
    if kind == "dynamic":
        return _dynamic(rope, width, longest, length)
    if kind == "yarn":
        return _yarn(rope, width, plain, longest)
    if kind == "longrope":
        return _longrope(rope, plain, longest, length)
    if kind == "llama3":
        return _llama3(rope, plain)
    raise PlanRefused(f"rotary scaling {kind!r} is not described: no frequencies")


def _dynamic(
    rope: Mapping[str, Any], width: int, longest: int | None, length: int | None
) -> Frequencies:
    """The base grows once the text is longer than trained."""
    trained = longest or _needed(rope, "original_max_position_embeddings")
    factor = _needed(rope, "factor")
    grown = factor * max(length or trained, trained) / trained - (factor - 1)
    theta = _needed(rope, "rope_theta") * grown ** (width / (width - 2))
    return unscaled({"rope_theta": theta}, width)


def _yarn(
    rope: Mapping[str, Any], width: int, plain: Frequencies, longest: int | None
) -> Frequencies:
    original, factor = _original_and_factor(rope, longest)
    low, high = yarn_range(rope, width, original)
    turns = []
    for pair, turn in enumerate(plain.radians):
        ramp = min(1.0, max(0.0, (pair - low) / (high - low)))
        turns.append(turn / factor * ramp + turn * (1 - ramp))
    return Frequencies(tuple(turns), yarn_attention(rope, factor))


def yarn_range(rope: Mapping[str, Any], width: int, original: float) -> tuple[float, float]:
    """The pair up to which frequencies are kept, and the one from which they are interpolated."""
    theta = _needed(rope, "rope_theta")

    def pair_that_turns(times: float) -> float:
        return width * log(original / (times * 2 * pi)) / (2 * log(theta))

    low = pair_that_turns(rope.get("beta_fast") or BETA_FAST)
    high = pair_that_turns(rope.get("beta_slow") or BETA_SLOW)
    if rope.get("truncate", True):
        low, high = floor(low), ceil(high)
    low, high = max(low, 0), min(high, width - 1)
    return low, high if high != low else high + 0.001


def yarn_attention(rope: Mapping[str, Any], factor: float) -> float:
    """attention_factor as given; else 0.1 ln(factor) + 1, of mscale over mscale_all_dim."""
    given = rope.get("attention_factor")
    if given is not None:
        return float(given)

    def scaled(mscale: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * mscale * log(factor) + 1

    above, below = rope.get("mscale"), rope.get("mscale_all_dim")
    return scaled(above) / scaled(below) if above and below else scaled(1.0)


def _longrope(
    rope: Mapping[str, Any], plain: Frequencies, longest: int | None, length: int | None
) -> Frequencies:
    """A factor for every pair, from one list up to the original length and another beyond."""
    original, factor = _original_and_factor(rope, longest)
    name = "long_factor" if (length or 0) > original else "short_factor"
    factors = rope.get(name)
    if not isinstance(factors, list) or len(factors) != len(plain.radians):
        raise PlanRefused(f"{name} is no list of {len(plain.radians)} numbers: no frequencies")
    given = rope.get("attention_factor")
    grown = 1.0 if factor <= 1 else sqrt(1 + log(factor) / log(original))
    turns = (turn / each for turn, each in zip(plain.radians, factors, strict=True))
    return Frequencies(tuple(turns), float(grown if given is None else given))


def _llama3(rope: Mapping[str, Any], plain: Frequencies) -> Frequencies:
    """Wavelengths above original / low_freq_factor are stretched, those below original /
    high_freq_factor kept, and those between blended."""
    original, factor = _needed(rope, "original_max_position_embeddings"), _needed(rope, "factor")
    slow, fast = _needed(rope, "low_freq_factor"), _needed(rope, "high_freq_factor")
    turns = []
    for turn in plain.radians:
        times = original * turn / (2 * pi)
        if times < slow:
            kept = 0.0
        elif times >= fast:
            kept = 1.0
        else:
            kept = (times - slow) / (fast - slow)
        turns.append((1 - kept) * turn / factor + kept * turn)
    return Frequencies(tuple(turns))


def _original_and_factor(rope: Mapping[str, Any], longest: int | None) -> tuple[float, float]:
    """The length trained at, and how many times longer it is to be."""
    original = rope.get("original_max_position_embeddings") or longest
    if original is None:
        raise PlanRefused("original_max_position_embeddings is missing: no frequencies")
    return original, float(rope.get("factor") or (longest or original) / original)


def _needed(rope: Mapping[str, Any], name: str) -> float:
    value = rope.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PlanRefused(f"{name} is no number in the configuration: no frequencies")
    return float(value)
