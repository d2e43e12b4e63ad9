"""Host side of sequences in several shares of Hopper's MLA decode: pieces, and who joins them."""

from functools import cache
from typing import Any

import torch

from kernels.launcher import Launcher

WARPS = 4
HELD_VALUES = 64  # of a thread, half of it where their sums cross lanes
WIDEST = 128  # columns of a program: a warp reads four of each lane


@cache
def _kernel() -> Any:
    from kernels.hopper.mla_join import hopper_mla_join

    return hopper_mla_join


def constexprs(batch: int, rows: int, rank: int, shares: int) -> dict[str, Any]:
    """The kernel's compile-time arguments, for a launch or an ahead-of-time compile.

    A sequence is expected in shares / batch pieces and two ends.
    """
    pieces = min(128, 1 << (shares // batch + 1).bit_length())
    values = HELD_VALUES * 32 * WARPS // pieces // (1 if pieces <= 16 else 2)
    width = min(WIDEST, rank, values)
    return {
        "ROWS": rows,
        "RANK": rank,
        "PIECES": pieces,
        "PLACES": min(1 << (rows - 1).bit_length(), max(WARPS, values // width)),
        "WIDTH": width,
    }


class Pieces:
    """What `shares` equal shares leave of `batch` sequences of `rows` query rows each."""

    def __init__(
        self, batch: int, rows: int, rank: int, shares: int, device: torch.device, out: torch.dtype
    ) -> None:
        constants = constexprs(batch, rows, rank, shares)
        self._shape = 2 * shares, rows, rank
        self._ends = 2, batch
        grid = batch, -(-rows // constants["PLACES"]), rank // constants["WIDTH"]
        self._join = Launcher(
            _kernel(), grid, constants, (device, out), num_warps=WARPS, launch_pdl=True
        )

    def buffers(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Room for results, fp32, and log-sum-exps of two pieces a share, and for the shares that
        sequences begin and end in.
        """
        return (
            torch.empty(self._shape, device=device),
            torch.empty(self._shape[:2], device=device),
            torch.empty(self._ends, device=device, dtype=torch.int32),
        )

    def join(
        self,
        buffers: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
        out: torch.Tensor,
        lse: torch.Tensor,
    ) -> None:
        """Write `out` and `lse` of the sequences that are in several shares."""
        pointers = (*buffers, out, lse)
        self._join(pointers, pointers)
