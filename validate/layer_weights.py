"""The tensors of one layer on the device, in the planned formats, and the matmuls they feed."""

from math import prod

import torch

from planner.formats.weight_formats import WeightFormat
from planner.tensors import Weight
from validate.bench import Bench, fill_random
from validate.layer_kernels import matmul
from validate.weight_tensors import joined, sizes

COMPUTED = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp8": torch.float8_e4m3fn}
"""Weight formats that this room multiplies; others are allocated and not run."""


class Weights:
    """Tensors of one layer (or of what lies outside the layers) by name of the matmul they feed.

    `fill` comes later, when all are there: what it takes for a moment must not lie between them.
    """

    def __init__(self, bench: Bench, stored: tuple[tuple[Weight, WeightFormat], ...]) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        self.scales: dict[str, torch.Tensor] = {}
        self._random: list[torch.Tensor] = []
        for name, parts in joined(stored).items():
            self._allocate(bench, name, parts)

    def _allocate(self, bench: Bench, name: str, parts: list[tuple[Weight, WeightFormat]]) -> None:
        first, fmt = parts[0]
        dtype = COMPUTED.get(fmt.name, torch.float32 if fmt.name == "fp32" else None)
        if dtype is None:
            *scales, size = sizes(parts)
            for bytes_ in scales:
                self.scales[name] = torch.empty(bytes_, dtype=torch.uint8, device=bench.device)
            self.tensors[name] = torch.empty(size, dtype=torch.uint8, device=bench.device)
            return
        if fmt.tensor_bytes:
            self.scales[name] = torch.full(
                (sum(w.copies for w, _ in parts), fmt.tensor_bytes // 4), 1.0, device=bench.device
            )
        shape = (sum(w.shape[0] for w, _ in parts), *first.shape[1:])
        if first.copies > 1:
            shape = (first.copies, *shape)
        tensor = torch.empty(shape, dtype=dtype, device=bench.device)
        if first.role == "norm":
            tensor.fill_(1.0)
        elif prod(shape):
            self._random.append(tensor)
        self.tensors[name] = tensor

    def fill(self) -> None:
        """Random values, no zeros: those can run faster."""
        for tensor in self._random:
            fill_random(tensor, 0.02)

    @property
    def nbytes(self) -> int:
        return sum(t.nbytes for held in (self.tensors, self.scales) for t in held.values())

    def project(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """x by the matmul of that name, with its bias."""
        scale = self.scales[name].view(-1)[0] if name in self.scales else None
        out = matmul(x, self.tensors[name], scale)
        bias = self.tensors.get(f"{name}.bias")
        return out if bias is None or bias.shape[0] != out.shape[1] else out.add_(bias)
