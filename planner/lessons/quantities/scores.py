"""Attention of a prompt, materialised and tiled: bytes, traffic, intensity, speed."""

from planner.attention import lse_bytes, score_matrix_bytes
from planner.lessons import tiling
from planner.lessons.online_softmax import online
from planner.lessons.quantities.given import (
    ELEMENT_BYTES,
    Figure,
    Inputs,
    Presets,
    Quantity,
    heads_given,
    one_or_all,
)


def _scores(inputs: Inputs, _: Presets) -> float:
    n, size = inputs["tokens"], ELEMENT_BYTES[inputs["dtype"]]
    one = score_matrix_bytes(heads_given(inputs), n, n, element_bytes=size)
    return float(inputs.get("layers", 1) * one)


def _tiled_layer(inputs: Inputs, _: Presets) -> float:
    return float(tiling.layer_memory(heads_given(inputs), inputs["tokens"]).tiled_bytes)


def _saved_in_layer(inputs: Inputs, _: Presets) -> float:
    heads, n = heads_given(inputs), inputs["tokens"]
    return float(score_matrix_bytes(heads, n, n) - lse_bytes(heads, n))


def _memory_ratio(inputs: Inputs, _: Presets) -> Figure:
    found = (tiling.layer_memory(heads_given(inputs), n) for n in inputs["tokens"])
    return one_or_all(tuple(each.saving for each in found))


def _naive_intensity(inputs: Inputs, _: Presets) -> Figure:
    found = (tiling.traffic(heads_given(inputs), n) for n in inputs["tokens"])
    return one_or_all(tuple(each.naive_intensity for each in found))


def _tiled_speedup(inputs: Inputs, presets: Presets) -> Figure:
    """At a card's published peaks; each case has a head size and the rate of the tiled products."""
    gpu = presets.gpu_of(inputs["gpu"])
    peak, bandwidth = float(gpu.fp16_flops_per_s or 0), float(gpu.memory_bandwidth_bytes_per_s or 0)
    found = []
    for width, field in inputs["cases"]:
        work = tiling.traffic(heads_given({"head_dim": width}), inputs["tokens"])
        found.append(tiling.ceiling(work, peak, bandwidth, float(getattr(gpu, field))))
    return one_or_all(tuple(found))


def _denominator(inputs: Inputs, _: Presets) -> float:
    values = [score for block in inputs["blocks"] for score in block]
    return online(values, [0.0] * len(values), len(inputs["blocks"][0]))[-1].denominator


QUANTITIES: dict[str, Quantity] = {
    "scores": _scores,
    "tiled layer": _tiled_layer,
    "saved in a layer": _saved_in_layer,
    "memory ratio": _memory_ratio,
    "naive intensity": _naive_intensity,
    "tiled speedup": _tiled_speedup,
    "denominator": _denominator,
    "intensity": lambda i, _: i["flops_per_element"] / i["bytes_per_element"],
    "accesses": lambda i, _: tiling.published_accesses(i["tokens"], i["head_dim"], i["sram"])[1],
}
