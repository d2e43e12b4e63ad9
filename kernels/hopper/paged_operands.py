"""What the tensor cores multiply in Hopper's paged decode, from shared memory, for a warp each.

16-bit caches are multiplied as they lie. An 8-bit cache is read as words of two entries and taken
apart in registers: products of the even and of the odd entries, in fp16.
"""

# ruff: noqa: RUF005 (Gluon has no unpacking into a tuple)

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from kernels.hopper.names import barrier, fence, view
from kernels.packed_bytes import row_power, unpack_bytes


@gluon.jit
def taken_apart(held, PACKED: gl.constexpr):
    """Words as one operand, or as the two that they hold."""
    if PACKED == "none":
        operands = (held,)
    else:
        even, odd = unpack_bytes(held, PACKED, gl.float16)
        operands = (even, odd)  # type: ignore[assignment]
    return operands


@gluon.jit
def query_operands(
    queries, LEFT: gl.constexpr, EACH: gl.constexpr, FIRST: gl.constexpr, PACKED: gl.constexpr
):
    """Queries as operands, from [parts of head_dim, warps, rows, 64], and what they are divided by.

    Against words they are the even and the odd entries of all head_dim, each row over its own power
    of two, [warps, rows]; for this the FIRST rows are written over, the others say nothing.
    """
    PARTS: gl.constexpr = queries.shape[0]
    WARPS: gl.constexpr = queries.shape[1]
    ROWS: gl.constexpr = queries.shape[2]
    operands = ()
    if PACKED == "none":
        power = 1.0
        for part in gl.static_range(PARTS):
            query = queries.index(part).load(LEFT)
            operands = operands + (query,)  # type: ignore[assignment]
    else:
        HALF: gl.constexpr = queries.shape[3] // 2
        WIDE: gl.constexpr = gl.BlockedLayout([1, 1, 8], [1, 4, 8], [WARPS, 1, 1], [2, 1, 0])
        peak = gl.zeros([WARPS, FIRST], gl.float32, gl.SliceLayout(2, WIDE))
        held = ()
        for part in gl.static_range(PARTS):
            some = queries.index(part).slice(0, FIRST, 1).load(WIDE).to(gl.float32)
            peak = gl.maximum(peak, gl.max(gl.abs(some), 2))
            held = held + (some,)  # type: ignore[assignment]
        divisor = row_power(peak)
        inverse = (1.0 / divisor)[:, :, None]
        apart = view(
            queries, gl.float16, [2, WARPS, ROWS, HALF * PARTS],
            gl.NVMMASharedLayout(2 * HALF * PARTS, 16, 3),
        )  # fmt: skip
        barrier()
        for part in gl.static_range(PARTS):
            some = (held[part] * inverse).to(gl.float16)
            even, odd = gl.split(some.reshape([WARPS, FIRST, HALF, 2]))
            apart.index(0).slice(0, FIRST, 1).slice(part * HALF, HALF, 2).store(even)
            apart.index(1).slice(0, FIRST, 1).slice(part * HALF, HALF, 2).store(odd)
        barrier()
        for entry in gl.static_range(2):
            query = apart.index(entry).load(LEFT)
            operands = operands + (query,)  # type: ignore[assignment]
        fence()  # the next queries come by TMA
        spread = gl.zeros([WARPS, FIRST, ROWS // FIRST], gl.float32, WIDE) + divisor[:, :, None]
        power = gl.convert_layout(spread.permute([0, 2, 1]).reshape([WARPS, ROWS]), EACH)
    return operands, power
