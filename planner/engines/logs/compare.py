"""A log laid beside the prediction: line by line, the largest difference explained."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from planner.engines.engine import EngineFigures
from planner.engines.logs.ranks import Figure
from planner.engines.logs.reading import LogReading
from planner.engines.vllm.versions import rules_of
from planner.errors import PlanRefused
from planner.estimate import Estimate, total
from planner.units import GIB, format_bytes, format_share

LABELS = {
    "weights": "Weights",
    "consumed": "Weights and non-torch",
    "activation": "Peak activation",
    "non_torch": "Non-torch memory",
    "states": "Recurrent states",
    "cuda_graphs": "CUDA graphs",
    "kv_cache": "KV cache",
    "requested": "Budget",
    "tokens": "Tokens in the cache",
    "blocks": "Blocks",
    "concurrency": "Sequences of full length",
    "block_size": "Tokens of a block",
}
TOTAL_SLACK = 0.005 * GIB
"""Logs print a card's memory to 0.01 GiB: 79.14 GiB x 0.9 is 71.226, where the log has 71.22."""
CAUSES = {
    "weights": "another quantisation or a repacked format, a draft model or LoRA slots, padding of "
    "experts, or a vision tower that the plan counts apart",
    "consumed": "other formats of weights, or buffers that stay after loading",
    "activation": "other batch limits (max_num_batched_tokens, max_num_seqs), a sampler that does "
    "not sort (FlashInfer's: 14 bytes a logit instead of 38), a vision tower that is profiled with "
    "large images, or a first run that compiled",
    "non_torch": "communication buffers of another number of GPUs, or another process on the card",
    "states": "another number of states (max_running_requests) or another state dtype",
    "cuda_graphs": "other capture sizes (max_num_seqs, speculation), eager mode, or the profiler's "
    "estimate, which is 0.7 to 2.2 of what capture takes",
    "kv_cache": "what the lines above differ by, or another utilisation than the plan's",
    "requested": "another gpu_memory_utilization, or another card than the plan's",
    "tokens": "another max_model_len, KV cache dtype or block size",
    "blocks": "another block size or KV cache dtype",
    "concurrency": "another max_model_len than the plan's",
    "block_size": "another state dtype or tensor-parallel size of a hybrid model",
}


HELD = ("tokens", "blocks")
HELD_SLACK = 0.02
"""What rounding to blocks, padding and a null block may make of it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure in the log and as predicted; bytes where is_size, else counts.

    contradicted: the log's own cache cannot hold that count, whatever was predicted.
    """

    name: str
    logged: float
    predicted: float
    low: float
    high: float
    is_size: bool
    line: str
    half_digit: float
    contradicted: bool = False

    @property
    def label(self) -> str:
        return LABELS[self.name]

    @property
    def difference(self) -> float:
        """Logged less predicted."""
        return self.logged - self.predicted

    @property
    def share(self) -> float:
        """The difference as a share of what was predicted."""
        return self.difference / self.predicted if self.predicted else float(bool(self.difference))

    @property
    def within_range(self) -> bool:
        within = self.low - self.half_digit <= self.logged <= self.high + self.half_digit
        return within and not self.contradicted


def compare(reading: LogReading, figures: EngineFigures) -> tuple[Row, ...]:
    """Rows for every figure that both sides know, in the order in which memory is spent.

    Raises PlanRefused where the log is another engine's.
    """
    if reading.engine not in ("", figures.name):
        raise PlanRefused(
            f"this is a log of {reading.engine}, and the plan is for {figures.name}: choose "
            f"{reading.engine} as the engine"
        )
    sizes, counts = _predicted(figures), _counted(figures)
    rows = [
        _row(name, reading.sizes[name], *sizes[name], is_size=True)
        for name in LABELS
        if name in reading.sizes and name in sizes
    ]
    rows += [
        _row(name, reading.counts[name], *counts[name], is_size=False)
        for name in LABELS
        if name in reading.counts and name in counts
    ]
    if not _of_another_length(reading, figures):
        cache = next((row for row in rows if row.name == "kv_cache"), None)
        rows = [replace(row, contradicted=_contradicts(row, cache, figures)) for row in rows]
    return tuple(rows)


def _of_another_length(reading: LogReading, figures: EngineFigures) -> bool:
    """Whether tokens of the cache may cost otherwise than in the plan: with several groups of
    layers a token's share depends on the length of a request."""
    length = reading.counts.get("max_model_len")
    alike = length is None or length.value == figures.settings.get("max_model_len")
    return not alike and figures.num_blocks * figures.block_size != figures.kv_cache_tokens


def _contradicts(row: Row, cache: Row | None, figures: EngineFigures) -> bool:
    """Whether a count of tokens or blocks is another than the printed cache holds, at what one
    takes in the plan."""
    if cache is None or row.name not in HELD or not (row.predicted and cache.predicted > 0):
        return False
    held = cache.logged * row.predicted / cache.predicted
    slack = (HELD_SLACK + cache.half_digit / cache.logged) * held if cache.logged else 0
    block = figures.block_size if row.name == "tokens" else 1
    return abs(row.logged - held) > slack + 2 * block


def _row(name: str, found: Figure, value: float, low: float, high: float, *, is_size: bool) -> Row:
    return Row(name, found.value, value, low, high, is_size, found.line, found.half_digit)


def _predicted(figures: EngineFigures) -> dict[str, tuple[float, float, float]]:
    """Sizes as the engine prints them: value, low, high. vLLM's peak activation has its estimate
    of graphs in it where it reads free memory (0.26.0: no; 0.27.1, v1/worker/gpu_worker)."""
    parts = {**figures.outside_budget, **figures.components}
    found: dict[str, tuple[float, float, float]] = {
        name: (part.bytes, part.low_bytes, part.high_bytes)
        for name, part in parts.items()
        if name in LABELS
    }
    cache = figures.kv_cache
    found["kv_cache"] = (cache.bytes, cache.low_bytes, cache.high_bytes)
    loaded = ["weights", "draft_weights", "lora_slots"]
    if figures.name == "sglang":
        loaded.append("non_torch")
        found.pop("non_torch", None)
    held = [parts[name] for name in loaded if name in parts]
    rest = [parts[name] for name in ("non_torch", "repacking") if name in parts]
    found["weights"] = _summed(held)
    found["consumed"] = _summed(held + rest)
    if figures.name == "vllm":
        if "cuda_graphs" in figures.components and rules_of(figures.version).reads_free_memory:
            found["activation"] = _summed([parts["activation"], parts["cuda_graphs"]])
        budget = figures.budget_bytes
        found["requested"] = (budget, budget - TOTAL_SLACK, budget + TOTAL_SLACK)
    return found


def _summed(parts: Sequence[Estimate]) -> tuple[float, float, float]:
    whole = total(list(parts))
    return whole.bytes, whole.low_bytes, whole.high_bytes


def _counted(figures: EngineFigures) -> dict[str, tuple[float, float, float]]:
    """Counts with their ranges: what the cache is counted in is in proportion to its bytes."""
    if figures.refused is not None:
        return {}
    cache = figures.kv_cache
    low, high = (end / cache.bytes if cache.bytes > 0 else 1 for end in _ends(cache))
    found = {
        name: (value, low * value, high * value)
        for name, value in (
            ("tokens", float(figures.kv_cache_tokens)),
            ("blocks", float(figures.num_blocks)),
            ("concurrency", figures.max_concurrency),
        )
    }
    return {**found, "block_size": (float(figures.block_size),) * 3}


def _ends(cache: Estimate) -> tuple[int, int]:
    return max(0, cache.low_bytes), cache.high_bytes


def largest(rows: Sequence[Row]) -> Row | None:
    """The size that differs most in bytes; the cache, which follows from the others, is last."""
    sizes = [row for row in rows if row.is_size and row.name != "kv_cache"]
    sizes = sizes or [row for row in rows if row.is_size]
    return max(sizes, key=lambda row: abs(row.difference), default=None)


def explanation(rows: Sequence[Row]) -> str:
    """The largest difference in a sentence or two, and what usually makes it."""
    row = largest(rows)
    if row is None:
        return "The log and the prediction share no size to compare."
    odd = next((other for other in rows if other.contradicted), None)
    if odd is not None:
        return _contradiction(next(other for other in rows if other.name == "kv_cache"), odd)
    outside = [other.label for other in rows if not other.within_range]
    if all(abs(other.difference) <= other.half_digit for other in rows):
        return "The log says what was predicted, to its last printed digit."
    cache = next((other for other in rows if other.name == "kv_cache"), row)
    if abs(cache.difference) > max(cache.half_digit, 2 * abs(row.difference)):
        more = "smaller" if cache.difference < 0 else "larger"
        return (
            f"The cache is {format_bytes(abs(round(cache.difference)))} {more} than predicted "
            f"({format_share(cache.share, 1, '+')}), and no size that the log prints beside it "
            f"accounts for that. {_outside(outside)}"
        )
    if abs(row.difference) <= row.half_digit:
        return f"Sizes agree to the last printed digit. {_outside(outside)}"
    more = "more" if row.difference > 0 else "less"
    size = format_bytes(abs(round(row.difference)))
    text = f"Furthest off: {row.label}, of which the log has {size} {more}"
    text += f" ({format_share(row.share, 1, '+')})"
    if row.within_range:
        return f"{text}, within the stated range. {_outside(outside)}"
    return f"{text}, outside the stated range. Usual causes: {CAUSES[row.name]}."


def _contradiction(cache: Row, odd: Row) -> str:
    each = "token" if odd.name == "tokens" else "block"
    logged, planned = (
        round(size / count)
        for size, count in ((cache.logged, odd.logged), (cache.predicted, odd.predicted))
    )
    return (
        f"The log's cache and its {each}s do not belong together for this plan: {logged:,} B a "
        f"{each}, where the plan takes {planned:,}. They are of different starts, or of another "
        "model, KV cache dtype or parallel size than the plan's."
    )


def _outside(labels: Sequence[str]) -> str:
    if not labels:
        return "No figure is outside its range."
    return f"Outside their range: {', '.join(labels)}."
