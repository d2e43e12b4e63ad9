"""Host side of rows that are in several programs' shares: their pieces, and the kernel that joins.

A row is a sequence's block of KV heads, or of MLA a sequence.
"""

from collections.abc import Hashable
from functools import cache
from typing import Any

import torch

from kernels.launcher import Launcher

WARPS = 4
HELD_VALUES = 32  # of a thread
WIDEST = 128  # columns that a program has: a warp reads four of each lane


@cache
def _kernel() -> Any:
    from kernels.hopper.paged_join import hopper_paged_join

    return hopper_paged_join


def join_constexprs(shape: dict[str, Any], rows: int, programs: int) -> dict[str, Any]:
    """The kernel's compile-time arguments; `shape` has all but how the work is cut.

    A row is expected in programs / rows pieces, and two ends.
    """
    expected = programs // rows + 2
    pieces = min(128, 1 << (expected - 1).bit_length())
    values = HELD_VALUES * 32 * WARPS // pieces
    width = min(WIDEST, shape["HEAD_DIM"], values)
    places = shape["HEADS"] * shape["Q_TOKENS"] * shape["GROUP"]
    return {
        "BY_ROW": rows < programs,
        **shape,
        "PIECES": pieces,
        "PLACES": min(places & -places, max(WARPS, values // width)),
        "WIDTH": width,
    }


class Join:
    """A launch over `rows` rows, each a block of `head_blocks` of a sequence, in equal shares."""

    def __init__(
        self,
        shape: dict[str, Any],
        batch: int,
        head_blocks: int,
        max_blocks: int,
        programs: int,
        left: int | None,
        kind: tuple[Hashable, ...],
    ) -> None:
        """`shape`: MOST, TILE, Q_TOKENS, GROUP, BLOCK_SIZE, HEADS and HEAD_DIM of the kernel."""
        rows = batch * head_blocks
        constants = join_constexprs(shape, rows, programs)
        self._results = shape["HEADS"] * shape["Q_TOKENS"] * shape["GROUP"]
        self._head_dim = shape["HEAD_DIM"]
        self._sizes = left, programs, batch, head_blocks, max_blocks
        self._launch = Launcher(
            _kernel(),
            (
                min(rows, programs - 1),
                self._results // constants["PLACES"],
                self._head_dim // constants["WIDTH"],
            ),
            constants,
            kind,
            num_warps=WARPS,
            launch_pdl=True,
        )

    def buffers(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Room for two pieces of every program, fp32, and for their log-sum-exps."""
        programs = self._sizes[1]
        results = 2 * programs * self._results
        return torch.empty((results, self._head_dim), device=device), torch.empty(
            results, device=device
        )

    def run(
        self,
        piece_out: torch.Tensor,
        piece_lse: torch.Tensor,
        cache_seqlens: torch.Tensor,
        out: torch.Tensor,
        lse: torch.Tensor,
    ) -> None:
        """Write `out` and `lse` of the rows that are in several pieces."""
        pointers = (piece_out, piece_lse, cache_seqlens, out, lse)
        self._launch((*pointers, *self._sizes), pointers)
