"""The parts of a GPU's memory in the order, words and colours that every figure uses."""

from dataclasses import dataclass

from planner.memory import Parts


@dataclass(frozen=True, slots=True)
class Component:
    """One part: its name in Parts, what people read, its colour on light and on dark."""

    key: str
    label: str
    light: str
    dark: str
    estimated: bool = False


COMPONENTS = (
    Component("weights", "Weights", "#2457a7", "#7aa7ef"),
    Component("kv_cache", "KV cache and state", "#b5541c", "#f0a06a"),
    Component("block_rounding", "Empty ends of blocks", "#8a6d00", "#e0c04a"),
    Component("block_tables", "Block tables", "#7a4b8f", "#c79adb"),
    Component("attention_workspace", "Attention workspace", "#0f766e", "#5fc9bf"),
    Component("activations", "Activations", "#a02c5a", "#f08ab0", estimated=True),
    Component("runtime", "Run time", "#5b6472", "#a9b3c1", estimated=True),
)
DRAFT = Component("draft", "Draft model", "#356b2f", "#93cf86")
"""Beside the weights on the Engine page, which is the only one that has it."""

TRAINING = (
    Component("quantisation_scales", "Quantisation scales", "#0a6c93", "#4fc3ea"),
    Component("copies_in_fp8", "Copies in fp8", "#4338ca", "#aaa5ff"),
    Component("gathered", "Largest module, gathered", "#b3261e", "#ff8f85"),
    Component("exchanged", "Buffers of data parallelism", "#6b4423", "#cfa98a", estimated=True),
    Component("pipeline_buffers", "Pipeline buffers", "#566b00", "#c3dc5a", estimated=True),
    Component("dequantised_matrix", "Dequantised matrix", "#a21caf", "#f09bf7", estimated=True),
    Component("fragmentation", "Fragmentation", "#2b323c", "#e4e8ee", estimated=True),
)
"""Parts that only the Train page has; the others there take the colours above."""


def component_bytes(parts: Parts) -> dict[str, int]:
    """Bytes by component key."""
    return {component.key: getattr(parts, component.key) for component in COMPONENTS}
