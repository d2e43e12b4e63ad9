"""Where a kernel can keep numbers on one card: registers, shared memory, L2 and device memory.

    for level in levels(gpu):
        print(level.name, level.bytes, level.bytes_per_s)

A size or a rate that no data gives is None, and a level without a size is left out.
"""

from dataclasses import dataclass
from typing import Literal

from planner.hardware import Gpu

Name = Literal["Registers", "Shared memory", "L2 cache", "Device memory"]

REGISTER_BYTES = 65_536 * 4
"""Of one NVIDIA multiprocessor: 64 K registers of 32 bits (CUDA programming guide, technical
specifications of compute capabilities 7.0 to 12.x)."""
SHARED_BYTES_PER_CLOCK = 32 * 4
"""32 banks of 32 bits on each NVIDIA multiprocessor (the same guide, shared memory)."""


@dataclass(frozen=True, slots=True)
class Level:
    """One level of the whole card. each_bytes: what one multiprocessor has, where it has its own.

    bytes_per_s: all multiprocessors together, at the boost clock.
    """

    name: Name
    bytes: int
    each_bytes: int | None = None
    bytes_per_s: int | None = None

    def tokens(self, head_bytes: int) -> int:
        """Tokens whose K and V of one head, head_bytes each, one multiprocessor's part holds."""
        return (self.bytes if self.each_bytes is None else self.each_bytes) // head_bytes


def levels(gpu: Gpu) -> tuple[Level, ...]:
    """From the nearest to the farthest, as far as the card's data go."""
    found: list[Level] = []
    many, shared = gpu.sm_count, gpu.smem_per_sm_bytes
    if many is not None and gpu.vendor == "NVIDIA":
        found.append(Level("Registers", many * REGISTER_BYTES, REGISTER_BYTES))
    if many is not None and shared is not None:
        found.append(Level("Shared memory", many * shared, shared, shared_bytes_per_s(gpu)))
    if gpu.l2_bytes is not None:
        found.append(Level("L2 cache", gpu.l2_bytes))
    found.append(Level("Device memory", gpu.memory_bytes, None, gpu.memory_bandwidth_bytes_per_s))
    return tuple(found)


def shared_bytes_per_s(gpu: Gpu) -> int | None:
    """Multiprocessors x 128 B x clock; None where one of them is not known."""
    if gpu.vendor != "NVIDIA" or gpu.sm_count is None or gpu.boost_clock_hz is None:
        return None
    return gpu.sm_count * SHARED_BYTES_PER_CLOCK * gpu.boost_clock_hz
