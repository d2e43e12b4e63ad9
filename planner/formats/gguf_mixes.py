"""GGUF file types: which tensor type llama.cpp gives each tensor of a model.

A file type such as Q4_K_M is a recipe: the output matrix, attention values and down projections
of some layers get more bits. Restated from llama.cpp's src/llama-quant.cpp (2026): the choice by
category and layer, the fallback for rows that blocks do not divide, and what is never quantised.
IQ types are taken as made with an importance matrix, as published ones are, the others without
(with one, Q4_0 and Q5_0 give the first eighth of the down projections half a bit more). Checked
against the sizes of published files: 87 of them agree to the byte, but for their headers.
"""

from collections.abc import Callable
from dataclasses import dataclass

from planner.formats.weight_formats import FP16, GGUF, WeightFormat

BASE = {
    "q2_k": "q2_k", "q2_k_s": "q2_k", "q3_k_s": "q3_k", "q3_k_m": "q3_k", "q3_k_l": "q3_k",
    "q4_k_s": "q4_k", "q4_k_m": "q4_k", "q5_k_s": "q5_k", "q5_k_m": "q5_k", "q6_k": "q6_k",
    "q4_0": "q4_0", "q4_1": "q4_1", "q5_0": "q5_0", "q5_1": "q5_1", "q8_0": "q8_0",
    "iq1_s": "iq1_s", "iq1_m": "iq1_m", "iq2_xxs": "iq2_xxs", "iq2_xs": "iq2_xs",
    "iq2_s": "iq2_xs", "iq2_m": "iq2_s", "iq3_xxs": "iq3_xxs", "iq3_xs": "iq3_s",
    "iq3_s": "iq3_s", "iq3_m": "iq3_s", "iq4_xs": "iq4_xs", "iq4_nl": "iq4_nl",
    "mxfp4_moe": "q8_0",
}  # fmt: skip
"""The type that a file type starts from. MXFP4_MOE: of all but the experts, which are MXFP4."""

LOW = {"iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq2_m"}

FALLBACK = {
    "tq1_0": "q4_0", "tq2_0": "q4_0", "q4_k": "q5_0", "q5_k": "q5_1", "q6_k": "q8_0",
    **dict.fromkeys(
        ("iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq3_xxs", "iq3_s", "q2_k", "q3_k",
         "iq4_xs"), "iq4_nl",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Facts:
    """What the recipes ask of a model. queries_per_kv: query heads per KV head."""

    num_layers: int
    queries_per_kv: int
    num_experts: int
    tied: bool
    falcon: bool
    is_70b: bool


def more_bits(index: int, count: int) -> bool:
    """Whether a layer is in the first or last eighth, or every third between."""
    eighth = count // 8
    return index < eighth or index >= 7 * count // 8 or (index - eighth) % 3 == 2


def tensor_format(
    file_type: str, category: str, index: int, count: int, columns: int, facts: Facts
) -> WeightFormat:
    """The type of one tensor in a file of `file_type`.

    category: embedding, output, q, k, v, qkv, o, gate, up, down or other. index of count: its
    position among the tensors of its kind. columns: its last axis.
    """
    base = BASE[file_type]
    choose: dict[str, Callable[[], str]] = {
        "v": lambda: _values(file_type, base, index, count, facts),
        "qkv": lambda: _fused(file_type, base),
        "k": lambda: _keys(file_type, base, facts),
        "q": lambda: {"iq3_xs": "iq3_xxs", "iq3_xxs": "iq2_s"}.get(file_type, base),
        "o": lambda: _output_projection(file_type, base, facts),
        "down": lambda: _down(file_type, base, index, count, facts),
        "gate": lambda: _wide(file_type, base, index, count),
        "up": lambda: _wide(file_type, base, index, count),
    }
    if category == "output" or (category == "embedding" and facts.tied):
        return fitting(_head(file_type, base, columns, facts), columns)
    if category == "embedding":
        kind = base
        if file_type in LOW or file_type == "iq3_xxs":
            small = file_type in ("iq2_xxs", "iq2_xs", "iq1_s", "iq1_m")
            kind = "q2_k" if small else "iq3_s"
        return fitting(kind, columns)
    return fitting(choose[category]() if category in choose else base, columns)


def fitting(kind: str, columns: int) -> WeightFormat:
    """That type, or what llama.cpp falls back to where its blocks do not divide the row."""
    found = GGUF[kind]
    if columns % found.block == 0:
        return found
    found = GGUF[FALLBACK.get(kind, kind)]
    return found if columns % found.block == 0 else FP16


def _head(file_type: str, base: str, columns: int, facts: Facts) -> str:
    if facts.falcon or columns % GGUF[base].block:
        return "q8_0"
    if file_type in LOW or file_type == "iq3_xxs":
        return "q5_k"
    return base if base == "q8_0" else "q6_k"


def _values(file_type: str, base: str, index: int, count: int, facts: Facts) -> str:
    grouped = facts.queries_per_kv >= 4
    if file_type in LOW:
        if grouped or facts.num_experts >= 4:
            return "q4_k"
        return "iq3_s" if file_type in ("iq2_s", "iq2_m") else "q2_k"
    kind = base
    match file_type:
        case "q2_k":
            kind = "q4_k" if grouped else "q3_k"
        case "q2_k_s" | "iq3_xxs" | "iq3_xs" | "iq3_s" if grouped:
            kind = "q4_k"
        case "iq3_m":
            kind = "q4_k"
        case "q3_k_m":
            kind = "q5_k" if index < 2 else "q4_k"
        case "q3_k_l":
            kind = "q5_k"
        case "iq4_nl" | "iq4_xs" if grouped:
            kind = "q5_k"
        case "q4_k_m" | "q5_k_m" if more_bits(index, count):
            kind = "q6_k"
        case "q4_k_s" if index < 4:
            kind = "q5_k"
    if facts.is_70b and kind in ("q3_k", "q4_k"):
        kind = "q5_k"
    return "q8_0" if facts.num_experts == 8 else kind


def _fused(file_type: str, base: str) -> str:
    raised_to = {
        "q3_k_m": "q4_k", "q3_k_l": "q4_k", "iq3_m": "q4_k", "q4_k_m": "q5_k", "q5_k_m": "q6_k",
    }  # fmt: skip
    return raised_to.get(file_type, base)


def _keys(file_type: str, base: str, facts: Facts) -> str:
    if facts.num_experts == 8:
        return "q4_k" if file_type in LOW else "q8_0"
    return {"iq3_xs": "iq3_xxs", "iq3_xxs": "iq2_s"}.get(file_type, base)


def _output_projection(file_type: str, base: str, facts: Facts) -> str:
    eight = facts.num_experts == 8
    if file_type in LOW:
        if eight:
            return "q5_k"
        if file_type in ("iq1_s", "iq1_m"):
            return "iq2_xxs"
        return "iq3_s" if file_type in ("iq2_s", "iq2_m") else base
    if facts.falcon:
        return "q4_k" if file_type == "q3_k_l" else base
    if eight:
        raised = (
            "q2_k", "iq3_xs", "iq3_xxs", "q3_k_s", "q3_k_m", "iq4_nl", "q4_k_s", "q4_k_m",
            "iq3_s", "iq3_m", "iq4_xs",
        )  # fmt: skip
        return "q5_k" if file_type in raised else base
    raised_to = {
        "q2_k": "q3_k", "iq3_xxs": "iq3_s", "q3_k_m": "q4_k", "q3_k_l": "q5_k", "iq3_m": "q4_k",
    }  # fmt: skip
    return raised_to.get(file_type, base)


def _down(file_type: str, base: str, index: int, count: int, facts: Facts) -> str:
    first = index < count // 8
    more = more_bits(index, count)
    if file_type in LOW:
        if not first:
            return base
        return "iq3_s" if file_type in ("iq2_s", "iq2_m") else "q2_k"
    match file_type:
        case "q2_k":
            return "q3_k"
        case "q2_k_s" if first:
            return "q4_k"
        case "q3_k_m":
            if index < count // 16:
                return "q5_k"
            return "q4_k" if not facts.falcon or more else "q3_k"
        case "iq3_m" if first or (facts.num_experts == 8 and more):
            return "q4_k"
        case "q3_k_l":
            return "q4_k" if facts.falcon else "q5_k"
        case "q4_k_m" if facts.falcon:
            return "q6_k" if index < count // 16 else "q5_k" if more else "q4_k"
        case "q4_k_m" | "q5_k_m" if more:
            return "q6_k"
        case "q4_k_s" if first and not facts.falcon:
            return "q5_k"
    return base


def _wide(file_type: str, base: str, index: int, count: int) -> str:
    if file_type == "iq3_xs" and count // 8 <= index < 7 * count // 8:
        return "iq3_xxs"
    return base
