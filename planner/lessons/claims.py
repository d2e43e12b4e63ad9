"""Numbers that articles quote about attention, each computed again from the same inputs.

    recompute(claim, model_of, gpu_of)   # the figure in the claim's own unit

A claim names a quantity and its inputs; this module knows how the planner computes each quantity.
`model_of` and `gpu_of` turn preset ids into a Model and a Gpu.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from planner.attention import Heads, score_matrix_bytes
from planner.deployment import Deployment
from planner.formats.dtypes import kv_format
from planner.frozen import Frozen
from planner.hardware import Gpu
from planner.kinds.attention import Attention
from planner.kv_cache import cache_terms, whole
from planner.lessons.decode_steps import totals
from planner.lessons.online_softmax import online
from planner.lessons.tiling import published_accesses
from planner.model import LayerGroup, Model
from planner.units import GIB, KIB, MIB

Verdict = Literal["holds", "near", "misleading", "wrong", "wrong for this model"]
Figure = float | tuple[float, ...]

SCALE = {
    "KiB": KIB, "MiB": MIB, "GiB": GIB, "GB": 10**9, "TB": 10**12, "ms": 1e-3,
}  # fmt: skip
"""One of the unit in bytes or seconds; units that are not here are counts and ratios."""
ELEMENT_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}
CLOSE = 0.005
"""Figures that differ by less agree, whatever they are rounded to."""


class Claim(Frozen):
    """One quoted number. `value` is what the planner finds, in `unit`, as the table ships it."""

    id: str
    source: str
    claim: str
    quantity: str
    inputs: dict[str, Any]
    claimed: float | tuple[float, ...] | str | None
    value: float | tuple[float, ...]
    unit: str
    verdict: Verdict
    why: str


@dataclass(frozen=True, slots=True)
class Presets:
    """Where models and GPUs come from."""

    model_of: Callable[[str], Model]
    gpu_of: Callable[[str], Gpu]


def recompute(claim: Claim, presets: Presets) -> Figure:
    """The claim's quantity from its inputs, in its unit."""
    found = QUANTITIES[claim.quantity](claim.inputs, presets)
    scale = SCALE.get(claim.unit, 1)
    return tuple(n / scale for n in found) if isinstance(found, tuple) else found / scale


def agrees(claimed: Figure, value: Figure) -> bool:
    """Whether `value` is what `claimed` says, to the digits that it gives."""
    if isinstance(claimed, tuple) and isinstance(value, tuple):
        return len(claimed) == len(value) and all(map(agrees, claimed, value))
    if isinstance(claimed, tuple) or isinstance(value, tuple):
        return False
    if abs(claimed - value) <= CLOSE * abs(value):
        return True
    text = f"{claimed:.10f}".rstrip("0")
    digits = max(1, len(text.partition(".")[2]))
    return round(value, digits) == claimed


def _model(inputs: dict[str, Any], presets: Presets) -> Model:
    """The preset that a claim names, or a bare stack of the layers that it describes."""
    if "model" in inputs:
        return presets.model_of(inputs["model"])
    heads, layers = inputs["kv_heads"], inputs.get("layers", 1)
    mixer = Attention(
        num_attention_heads=heads, num_key_value_heads=heads, head_dim=inputs["head_dim"]
    )
    group = LayerGroup(layers=tuple(range(layers)), mixers=(mixer,))
    return Model(
        source="as described", model_type="described", hidden_size=heads * inputs["head_dim"],
        vocab_size=1, tie_word_embeddings=True, groups=(group,), embedding=(),
    )  # fmt: skip


def _cache(inputs: dict[str, Any], presets: Presets) -> float:
    model = _model(inputs, presets)
    terms = cache_terms(whole(model), kv_format(inputs["dtype"], model.dtype))
    tokens, batch = inputs.get("tokens", 1), inputs.get("batch", 1)
    return float(batch * sum(term.bytes(tokens) for term in terms))


def _scores(inputs: dict[str, Any], _: Presets) -> float:
    heads = Heads(inputs["heads"], inputs["heads"], 1, 1, None)
    n, size = inputs["tokens"], ELEMENT_BYTES[inputs["dtype"]]
    return float(inputs.get("layers", 1) * score_matrix_bytes(heads, n, n, element_bytes=size))


def _kv_heads(inputs: dict[str, Any], presets: Presets) -> float:
    mixers = [m for g in presets.model_of(inputs["model"]).groups for m in g.mixers]
    return float(next(m for m in mixers if isinstance(m, Attention)).num_key_value_heads)


def _format_ratio(inputs: dict[str, Any], _: Presets) -> float:
    before, after = (kv_format(inputs[name]).entry_bytes(128) for name in ("before", "after"))
    return float(before / after)


def _head_ratio(inputs: dict[str, Any], presets: Presets) -> Figure:
    shape = {"head_dim": 128, "dtype": "fp16"}
    many = _cache({**shape, "kv_heads": inputs["heads"]}, presets)
    few = [_cache({**shape, "kv_heads": n}, presets) for n in inputs["kv_heads"]]
    ratios = tuple(many / n for n in few)
    return ratios if len(ratios) > 1 else ratios[0]


def _peak_share(inputs: dict[str, Any], presets: Presets) -> Figure:
    peaks = [presets.gpu_of(gpu).fp16_flops_per_s or 0 for gpu in inputs["gpus"]]
    return tuple(n / peak for n, peak in zip(inputs["flops"], peaks, strict=True))


def _sram(inputs: dict[str, Any], presets: Presets) -> float:
    return float((presets.gpu_of(inputs["gpu"]).sm_count or 0) * inputs["bytes_per_sm"])


def _denominator(inputs: dict[str, Any], _: Presets) -> float:
    scores = [score for block in inputs["blocks"] for score in block]
    return online(scores, [0.0] * len(scores), len(inputs["blocks"][0]))[-1].denominator


QUANTITIES: dict[str, Callable[[dict[str, Any], Presets], Figure]] = {
    "cache": _cache,
    "scores": _scores,
    "kv heads": _kv_heads,
    "format ratio": _format_ratio,
    "head ratio": _head_ratio,
    "peak share": _peak_share,
    "sram": _sram,
    "denominator": _denominator,
    "read time": lambda i, _: i["layers"] * i["bytes"] / i["bandwidth"],
    "ridge": lambda i, _: i["flops"] / i["bandwidth"],
    "intensity": lambda i, _: i["flops_per_element"] / i["bytes_per_element"],
    "projections": lambda i, _: float(totals(i["tokens"])[0]),
    "accesses": lambda i, _: published_accesses(i["tokens"], i["head_dim"], i["sram"])[1],
    "block size": lambda i, _: float(Deployment().block_size),
}
