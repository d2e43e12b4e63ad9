"""What a quantity is given and gives back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from planner.attention import Heads
from planner.hardware import Gpu
from planner.model import Model
from planner.timing.speed import Speed

Figure = float | tuple[float, ...]
Inputs = dict[str, Any]
ELEMENT_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}


@dataclass(frozen=True, slots=True)
class Presets:
    """Where models, GPUs and how fast these are come from."""

    model_of: Callable[[str], Model]
    gpu_of: Callable[[str], Gpu]
    speed_of: Callable[[Gpu], Speed]


Quantity = Callable[[Inputs, Presets], Figure]


def heads_given(inputs: Inputs) -> Heads:
    """One layer of multi-head attention, one head unless told otherwise."""
    heads, width = inputs.get("heads", 1), inputs.get("head_dim", 1)
    return Heads(heads, heads, width, width, None)


def one_or_all(found: tuple[float, ...]) -> Figure:
    """A single figure stands alone."""
    return found if len(found) > 1 else found[0]
