"""llama.cpp's start-up log: the buffers of the fullest device, and those of the host.

A device has one buffer of weights and of computing, printed again when the graph is reserved
anew, and one of cells for each cache: layers with a window and recurrent states have their own.
"""

import re
from collections import defaultdict

from planner.engines.logs import patterns
from planner.engines.logs.ranks import Figure, Line, added, figure, measured

BUFFER = re.compile(
    r"\b([A-Za-z]+\d*)(_\w+)? +(?:(model|KV|RS|compute) +)?buffer size =" + patterns.SIZE
)
GPU = re.compile(r"(?:CUDA|ROCm|SYCL|Vulkan|CANN|MUSA)\d+|MTL\d*|Metal")
NAMES = {"model": "weights", None: "weights", "KV": "kv_cache", "RS": "kv_cache",
         "compute": "activation"}  # fmt: skip
HOST = "host"


def llama_figures_of(lines: list[str]) -> tuple[dict[str, Figure], dict[str, Figure]]:
    """Sizes of the fullest device, and counts."""
    every = [Line(line) for line in lines]
    devices: dict[str, dict[str, list[Figure]]] = defaultdict(lambda: defaultdict(list))
    for line in every:
        for match in BUFFER.finditer(line.text):
            on_gpu = GPU.fullmatch(match[1]) and match[2] != "_Host"
            size = measured(match[4], match[5], line.text)
            devices[match[1] if on_gpu else HOST][NAMES[match[3]]].append(size)
    host_parts = devices.pop(HOST, {})
    sizes = max((_device(parts) for parts in devices.values()), key=_total, default={})
    for name in ("weights", "activation"):
        if name in host_parts:
            sizes[f"{name}_host"] = _device(host_parts)[name]
    cache = _caches(every)
    if cache is not None:
        sizes["kv_cache_total"] = cache
    if "kv_cache_total" in sizes and "kv_cache" not in host_parts:
        sizes.setdefault("kv_cache", sizes["kv_cache_total"])
    return sizes, _counts(every)


def _caches(lines: list[Line]) -> Figure | None:
    """All caches as one: those of full and of sliding layers are printed apart, and again when the
    context is made anew."""
    for shape in patterns.LLAMA_CACHES:
        found = [
            measured(m[1], m[2], line.text) for line in lines if (m := shape.search(line.text))
        ]
        if found:
            return added(list({one.value: one for one in found}.values()))
    return None


def _counts(lines: list[Line]) -> dict[str, Figure]:
    """A cache of windows has fewer cells, and one of states a cell a sequence: the most count."""
    counts = {}
    for name, shapes in patterns.LLAMA_COUNTS.items():
        for shape in shapes:
            found = [
                figure(m, line.text, sized=False)
                for line in lines
                if (m := shape.search(line.text)) is not None
            ]
            if found:
                counts[name] = max(found, key=lambda one: one.value)
                break
    return counts


def _device(parts: dict[str, list[Figure]]) -> dict[str, Figure]:
    found = {}
    for name, figures in parts.items():
        distinct = list({one.value: one for one in figures if one.value}.values())
        if name == "kv_cache" and distinct:
            found[name] = added(distinct)
        else:
            found[name] = max(figures, key=lambda one: one.value)
    return found


def _total(parts: dict[str, Figure]) -> float:
    return sum(one.value for one in parts.values())
