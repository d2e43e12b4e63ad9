"""Whether one request of max_model_len fits, and the refusal that vLLM words where it does not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from planner.engines.vllm.kv_groups import Group, bytes_per_block
from planner.engines.vllm.kv_pages import LayerSpec
from planner.engines.vllm.versions import Rules
from planner.units import GIB

NOTHING_LEFT = (
    "No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when "
    "initializing the engine."
)


@dataclass(frozen=True, slots=True)
class Lengths:
    """What a request's blocks depend on besides the layers."""

    max_model_len: int
    in_flight: int
    context_split: int

    def at(self, max_model_len: int) -> "Lengths":
        return replace(self, max_model_len=max_model_len)

    def blocks(self, groups: Sequence[Group]) -> int:
        """Blocks of one request over all groups."""
        return sum(g.blocks(self.max_model_len, self.in_flight, self.context_split) for g in groups)

    def layer_bytes(self, groups: Sequence[Group]) -> int:
        """Bytes of one request, layer by layer, without the padding of groups."""
        return sum(
            spec.page_bytes * spec.blocks(self.max_model_len, self.in_flight, self.context_split)
            for group in groups
            for _, spec in group.layers
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """The engine's sentence, the longest length that it estimates would do, and what was asked."""

    sentence: str
    estimated_max_model_len: int | None = None
    needed_bytes: int | None = None


def ungrouped(specs: Sequence[LayerSpec], stage: range) -> tuple[Group, ...]:
    """A stage's layers as older versions check them: each by itself."""
    return tuple(Group(((i, specs[i]),), specs[i]) for i in stage)


def first_refusal(
    workers: Sequence[tuple[Group, ...]], budgets: Sequence[int], lengths: Lengths, rules: Rules
) -> Refusal | None:
    """Of the workers in order, each with its groups and its budget."""
    found = (_check(*pair, lengths, rules) for pair in zip(workers, budgets, strict=True))
    return next((refused for refused in found if refused is not None), None)


def _check(
    groups: tuple[Group, ...], budget: int, lengths: Lengths, rules: Rules
) -> Refusal | None:
    """The refusal if one request of max_model_len does not fit, None if it does."""
    if rules.check_keeps_null_block:
        budget -= bytes_per_block(groups)
    if budget <= 0:
        return Refusal(NOTHING_LEFT)

    def needed(max_model_len: int) -> int:
        asked = lengths.at(max_model_len)
        if not rules.check_counts_groups:
            return asked.layer_bytes(groups)
        counted = groups if rules.check_counts_every_group else groups[:1]
        return bytes_per_block(groups) * asked.blocks(counted)

    most = lengths.max_model_len
    if needed(most) <= budget:
        return None
    longest = _longest(needed, budget, most)
    return Refusal(_sentence(most, needed(most), budget, longest, rules), longest, needed(most))


def _longest(needed: Callable[[int], int], budget: int, most: int) -> int:
    """The longest length that fits, 0 if none does; needs grow with length."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if needed(middle) <= budget:
            low = middle
        else:
            high = middle - 1
    return low


def _sentence(length: int, needed: int, budget: int, longest: int, rules: Rules) -> str:
    """The message as that version words it, up to its advice."""

    def gib(size: int) -> str:
        return str(round(size / GIB, 2)) if rules.since(14) else f"{size / GIB:.2f}"

    whose = "model's" if rules.since(22) else "models's"
    said = (
        f"To serve at least one request with the {whose} max seq len ({length}), ({gib(needed)} "
        f"GiB KV cache is needed, which is larger than the available KV cache memory ({gib(budget)}"
        " GiB)."
    )
    if longest > 0:
        said += f" Based on the available memory, the estimated maximum model length is {longest}."
    elif not rules.since(14):
        said += " "
    return f"{said} Try increasing `gpu_memory_utilization` or decreasing `max_model_len`."
