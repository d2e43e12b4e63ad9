"""Tile choices by compute capability, head_dim and dtype, found by benchmarks/find_tiles.py.

A choice is looked up, never tuned at first use. `SHARED_MEMORY_BYTES` is what one block may use;
the ahead-of-time report (benchmarks/aot_report.py) checks every default tile against it.
"""

from dataclasses import dataclass

# CUDA programming guide, "maximum amount of shared memory per thread block".
SHARED_MEMORY_BYTES = {75: 65_536, 80: 166_912, 86: 101_376, 89: 101_376, 90: 232_448}
SHARED_MEMORY_BYTES |= {100: 232_448, 103: 232_448, 120: 101_376}


@dataclass(frozen=True)
class Tile:
    """One program's share of the work: query rows, keys per step, warps, pipeline stages."""

    block_m: int
    block_n: int
    num_warps: int
    num_stages: int


def shared_memory_bytes(capability: int) -> int:
    """Shared memory one block may use; an unknown card counts as the smallest since Ampere."""
    return SHARED_MEMORY_BYTES.get(capability, 101_376)


# (architecture class, padded head_dim, bytes per element) -> tile. Class 90 has the H100's and
# H200's shared memory (Blackwell servers too, except where 100 says otherwise), 80 the A100's, 86
# the 99 KiB of consumer cards. Class 90 was measured on an H200; the others only compile and fit.
_PREFILL = {
    (90, 64, 2): Tile(64, 128, 4, 2),
    (90, 128, 2): Tile(128, 64, 4, 2),
    (90, 256, 2): Tile(128, 64, 8, 2),
    (90, 64, 1): Tile(128, 128, 8, 2),
    (90, 128, 1): Tile(128, 64, 8, 2),
    (90, 256, 1): Tile(128, 64, 8, 2),
    (100, 128, 2): Tile(128, 128, 8, 2),
    (80, 64, 2): Tile(128, 64, 8, 3),
    (80, 128, 2): Tile(128, 64, 8, 3),
    (80, 256, 2): Tile(64, 32, 8, 2),
    (86, 64, 2): Tile(128, 64, 4, 2),
    (86, 128, 2): Tile(64, 64, 4, 2),
    (86, 256, 2): Tile(64, 32, 4, 1),
    (86, 64, 1): Tile(128, 64, 4, 2),
    (86, 128, 1): Tile(64, 64, 4, 2),
    (86, 256, 1): Tile(64, 32, 4, 2),
}
_PREFILL_FP32 = {64: Tile(32, 32, 8, 2), 128: Tile(32, 16, 8, 1), 256: Tile(16, 16, 4, 1)}


def padded_head_dim(head_dim: int) -> int:
    """Tensor shapes in a kernel are powers of two: 80 and 96 run as 128, 192 as 256."""
    return 1 << (head_dim - 1).bit_length()


def arch_class(capability: int) -> int:
    """The newest entry of the tables this card can use, by its shared memory."""
    shared = shared_memory_bytes(capability)
    if shared >= 232_448:
        return 90
    return 80 if shared >= 166_912 else 86


def prefill_tile(capability: int, head_dim: int, element_bytes: int) -> Tile:
    """Tile of the portable flash attention; `head_dim` is the larger of K's and V's."""
    padded = padded_head_dim(head_dim)
    if element_bytes == 4:
        return _PREFILL_FP32[padded]
    arch = arch_class(capability)
    if element_bytes == 1 and arch == 80:  # no A100 multiplies fp8; the interpreter does
        arch = 86
    newer = (100, padded, element_bytes)
    if arch == 90 and capability >= 100 and newer in _PREFILL:
        return _PREFILL[newer]
    return _PREFILL[arch, padded, element_bytes]


@dataclass(frozen=True)
class HopperTile:
    """Shape of the Hopper kernel: 64 query rows for each consumer, keys per step, ring stages.

    `late`: the fp32 weights become the second product's operand when the next scores are under way,
    which takes registers: they are carried over. Otherwise as soon as they are known.
    """

    consumers: int
    block_n: int
    num_stages: int = 2
    section: int = 1  # KV heads worked on at a time: more balance better, fewer reuse L2 better
    late: bool = True
    chained: bool = False  # row maxima by four short chains of comparisons
    pingpong: bool = False
    chunks: int = 1  # head_dim in so many tiles of its own width, not filled up to a power of two


def hopper_tile(
    head_dim: int, head_dim_v: int, element_bytes: int, causal: bool, span: int | None = None
) -> HopperTile | None:
    """Tile of the Hopper kernel, None where only the portable kernel fits.

    `span`: how many keys a query sees at most, where a window limits both sides.
    """
    shape = padded_head_dim(head_dim), padded_head_dim(head_dim_v)
    if shape not in ((64, 64), (128, 128), (256, 128), (256, 256)):
        return None
    section = 4 if causal else 1
    if shape[0] == 64 and element_bytes == 2:
        if span is not None and span <= 512:  # most of a wider tile would be masked
            return HopperTile(2, 64, 3, section, late=False, chained=True, pingpong=True)
        return HopperTile(3, 128, 3, section, late=False, chained=True, pingpong=True)
    chunks = 3 if (head_dim, head_dim_v) == (192, 128) else 1
    block_n = 64 if shape[0] == 256 and chunks == 1 else 128
    fp8 = element_bytes == 1
    return HopperTile(2, block_n, 2, section, fp8 or chunks == 1, chained=fp8, chunks=chunks)
