"""Numbers that a producer warp leaves in shared memory for the consumers, each for two turns.

Worked out by every consumer again they would cost registers.
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl


@gluon.jit
def tell(notes, turn, FIELD: gl.constexpr, value):
    """Leave a number, in the producer's one warp; read from the next phase of a barrier on."""
    note = notes.index(2 * FIELD + (turn & 1))
    note.store(gl.full([1], value, gl.int32, gl.BlockedLayout([1], [32], [1], [0])))


@gluon.jit
def told(notes, turn, FIELD: gl.constexpr):
    """Read such a number, in a consumer's warps."""
    note = notes.index(2 * FIELD + (turn & 1))
    return gl.max(note.load(gl.BlockedLayout([1], [32], [gl.num_warps()], [0])), 0)
