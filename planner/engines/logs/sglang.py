"""SGLang's start-up log: weights, states and pools of one rank, drafts included.

A rank loads the model and then what drafts for it, and allocates a pool for each; full and sliding
layers have one each too. What it prints of all of them is added.
"""

import re
from collections import defaultdict

from planner.engines.logs import patterns
from planner.engines.logs.ranks import (
    SGLANG_RANK,
    Figure,
    Line,
    added,
    by_worker,
    figure,
    read,
    smallest,
)
from planner.units import GIB

LOADED = re.compile(rf"Load weight end\..*mem usage={patterns.SIZE}")
BEGUN = re.compile(rf"Load weight begin\..*avail mem={patterns.SIZE}")
ENDED = re.compile(rf"Load weight end\..*avail mem={patterns.SIZE}")
POOL_ENDED = re.compile(rf"Memory pool end\..*avail mem={patterns.SIZE}")
GRAPHS = re.compile(rf"Capture [\w ]*graph end\..*?mem usage={patterns.SIZE}", re.IGNORECASE)
POOL = re.compile(rf"KV Cache is allocated\..*?\bK(?:V)? size:{patterns.SIZE}")
VALUES = re.compile(rf"KV Cache is allocated\..*?\bV size:{patterns.SIZE}")
TOKENS = re.compile(r"#tokens: (\d+)")
STATE = re.compile(rf"\b(?:conv|ssm|intermediate_\w+)_state\w* size:{patterns.SIZE}")
FREED = GIB
"""Memory that came back between two loads: the server was started anew."""


def sglang_figures_of(lines: list[str]) -> tuple[dict[str, Figure], dict[str, Figure]]:
    """Sizes of the rank with the smallest pool, and counts."""
    every = by_worker(lines, SGLANG_RANK)
    ranks: dict[str, list[Line]] = defaultdict(list)
    for line in every:
        ranks[line.rank].append(line)
    sizes = smallest({rank: _rank(_last_start(own)) for rank, own in ranks.items()})
    counts = read(every, patterns.SGLANG_COUNTS)
    tokens = sizes.pop("tokens", None)
    if tokens is not None:
        counts.setdefault("tokens", tokens)
    return sizes, counts


def _last_start(lines: list[Line]) -> list[Line]:
    start, left = 0, None
    for number, line in enumerate(lines):
        if (end := ENDED.search(line.text)) is not None:
            left = figure(end, line.text).value
        begin = BEGUN.search(line.text)
        if begin is not None and left is not None and figure(begin, "").value > left + FREED:
            start = number
    return lines[start:]


def _rank(lines: list[Line]) -> dict[str, Figure]:
    found: dict[str, Figure] = {}
    parts = {"weights": (LOADED,), "kv_cache": (POOL, VALUES), "states": (STATE,),
             "cuda_graphs": (GRAPHS,)}  # fmt: skip
    for name, shapes in parts.items():
        figures = [
            figure(match, line.text)
            for line in lines
            for shape in shapes
            for match in shape.finditer(line.text)
        ]
        if figures:
            found[name] = added(figures)
    tokens = [
        figure(m, line.text, sized=False) for line in lines if (m := TOKENS.search(line.text))
    ]
    if tokens:
        found["tokens"] = max(tokens, key=lambda one: one.value)
    before, after, pool = (_all(shape, lines) for shape in (BEGUN, ENDED, POOL_ENDED))
    if before:
        found["free"] = before[0]
    if "weights" not in found and before and len(before) == len(after):
        found["weights"] = added(
            [_less(*pair) for pair in zip(before, after, strict=True)]
        )  # fmt: skip
    if "kv_cache" not in found and after and pool:
        found["kv_cache"] = _less(after[-1], pool[-1])
        if "states" in found:
            found["kv_cache"] = _less(found["kv_cache"], found["states"])
    return found


def _all(shape: re.Pattern[str], lines: list[Line]) -> list[Figure]:
    return [figure(m, line.text) for line in lines if (m := shape.search(line.text)) is not None]


def _less(whole: Figure, part: Figure) -> Figure:
    return Figure(whole.value - part.value, whole.half_digit + part.half_digit, part.line)
