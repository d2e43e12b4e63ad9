"""The device under test: random tensors on it, and the results that later checks build on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from planner.calibration import KernelPoint, Roofs
from planner.timing.roofline import Efficiencies
from validate.record import Case

DTYPES = {
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp32": torch.float32,
    "fp8": torch.float8_e4m3fn,
}
PIECE = 2**28
"""Elements drawn at a time, so that random numbers need no second copy of a large tensor."""


@dataclass
class Bench:
    """Where checks run. rehearsal: on the CPU in the interpreter, where times mean nothing.

    `facts` hold what earlier checks found (card, roofs, points) in the form of the record.
    """

    device: torch.device
    leave_free: float = 0.03
    emit: Callable[[Case], None] = lambda case: None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def rehearsal(self) -> bool:
        return self.device.type == "cpu"

    @property
    def floats(self) -> str:
        """The 16-bit format to work in: the interpreter has no bf16."""
        return "fp16" if self.rehearsal else "bf16"

    @cached_property
    def sm_count(self) -> int:
        if self.rehearsal:
            return 4
        return int(torch.cuda.get_device_properties(self.device).multi_processor_count)

    @property
    def capability(self) -> tuple[int, int]:
        return (8, 0) if self.rehearsal else torch.cuda.get_device_capability(self.device)

    @property
    def has_fp8(self) -> bool:
        """Whether matrices of fp8 can be multiplied here."""
        return not self.rehearsal and self.capability >= (8, 9)

    @property
    def roofs(self) -> Roofs | None:
        found: Mapping[str, float] = self.facts.get("roofs", {})
        return Roofs(**found) if found else None

    @property
    def efficiencies(self) -> Efficiencies:
        return Efficiencies(KernelPoint(**p) for p in self.facts.get("points", ()))

    def add_point(self, point: KernelPoint) -> None:
        self.facts.setdefault("points", []).append(point.model_dump())

    def empty(self, *shape: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device=self.device)

    def random(self, *shape: int, dtype: torch.dtype, scale: float = 1.0) -> torch.Tensor:
        """Normal values of standard deviation `scale`; never zeros, which can run faster."""
        tensor = self.empty(*shape, dtype=dtype)
        fill_random(tensor, scale)
        return tensor

    def synchronize(self) -> None:
        if not self.rehearsal:
            torch.cuda.synchronize(self.device)

    def free_memory(self) -> None:
        """Give back what earlier checks left in the allocator, workspaces of cuBLAS included.

        PyTorch keeps one of 32 MiB on Hopper for every stream that ever multiplied.
        """
        import gc

        gc.collect()
        if not self.rehearsal:
            torch._C._cuda_clearCublasWorkspaces()
            torch.cuda.empty_cache()


def tensor_of(out: torch.Tensor | tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """What a kernel returns, without its log-sum-exp."""
    return out if isinstance(out, torch.Tensor) else out[0]


def fill_random(tensor: torch.Tensor, scale: float = 1.0) -> None:
    """Normal values in place; a large tensor repeats its first piece, which costs only copies."""
    flat = tensor.view(-1)
    first = flat[:PIECE]
    if tensor.dtype.itemsize == 1:
        step = PIECE // 8
        for start in range(0, first.numel(), step):
            part = first[start : start + step]
            part.copy_(torch.randn(part.shape, device=tensor.device, dtype=torch.float16) * scale)
    else:
        first.normal_(0.0, scale)
    for start in range(PIECE, flat.numel(), PIECE):
        piece = flat[start : start + PIECE]
        piece.copy_(first[: piece.numel()])
