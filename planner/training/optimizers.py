"""What an optimizer keeps for a tensor, beside the master copy.

    OPTIMIZERS["adamw"].state_bytes((4096, 4096), "linear")  # 8 per parameter

Sources: torch.optim (AdamW, SGD, Muon: momentum for matrices, AdamW for the rest), bitsandbytes
(8-bit states with an fp32 scale per 256, fp32 below 4,096 elements), Adafactor (Shazeer and Stern
2018: one row and one column of second moments per matrix), Lion (Chen et al. 2023).
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from planner.tensors import Role
from planner.units import ceil_div

EIGHT_BIT_BLOCK = 256
EIGHT_BIT_LEAST = 4096
MATRICES: tuple[Role, ...] = ("linear", "expert", "router")


@dataclass(frozen=True, slots=True)
class Optimizer:
    """state_bytes(shape, role): bytes of the states of one tensor of that shape."""

    name: str
    description: str
    state_bytes: Callable[[tuple[int, ...], Role], int]


def _per_element(size: int) -> Callable[[tuple[int, ...], Role], int]:
    return lambda shape, role: size * prod(shape)


def _eight_bit(shape: tuple[int, ...], role: Role) -> int:
    n = prod(shape)
    if n < EIGHT_BIT_LEAST:
        return 8 * n
    return 2 * (n + 4 * ceil_div(n, EIGHT_BIT_BLOCK))


def _factored(shape: tuple[int, ...], role: Role) -> int:
    if len(shape) < 2:
        return 4 * prod(shape)
    return 4 * (prod(shape[:-1]) + prod((*shape[:-2], shape[-1])))


def _muon(shape: tuple[int, ...], role: Role) -> int:
    return (4 if role in MATRICES and len(shape) == 2 else 8) * prod(shape)


OPTIMIZERS = {
    o.name: o
    for o in (
        Optimizer("adamw", "AdamW, two fp32 moments", _per_element(8)),
        Optimizer("adam", "Adam, two fp32 moments", _per_element(8)),
        Optimizer("adamw_bf16", "AdamW, two bf16 moments", _per_element(4)),
        Optimizer("adamw_8bit", "AdamW, two 8-bit moments in blocks of 256", _eight_bit),
        Optimizer("adafactor", "Adafactor, rows and columns of second moments", _factored),
        Optimizer("muon", "Muon for matrices, AdamW for the rest", _muon),
        Optimizer("lion", "Lion, one fp32 moment", _per_element(4)),
        Optimizer("sgd", "SGD without momentum", _per_element(0)),
        Optimizer("sgd_momentum", "SGD, one fp32 momentum", _per_element(4)),
    )
}
