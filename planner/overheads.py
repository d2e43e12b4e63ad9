"""Memory that belongs to the run time and not to the model: estimates, each with its source."""

from planner.calibration import MemoryCalibration
from planner.estimate import Estimate
from planner.units import MIB, ceil_div

CONTEXT = Estimate(
    621 * MIB,
    274 * MIB,
    636 * MIB,
    "CUDA context: 621 MiB measured on an H200 (driver 580); 274 MiB with kernels loaded lazily "
    "and 636 with all at once reported elsewhere (pytorch PR 86509)",
)
LIBRARIES = Estimate(
    98 * MIB,
    64 * MIB,
    160 * MIB,
    "cuBLAS handle, workspace and kernels: 98 MiB measured on an H200 after the first matmul; the "
    "range, a third less to two thirds more, is assumed",
)
COLLECTIVES = Estimate(
    840 * MIB,
    366 * MIB,
    2253 * MIB,
    "NCCL group and first all-reduce: 366 + 474 MiB measured on two H200s, the group alone is the "
    "low end; up to 2.2 GiB in logs",
)
ALL_TO_ALL = Estimate(
    446 * MIB,
    300 * MIB,
    3359 * MIB,
    "NCCL all-to-all: 446 MiB measured on two H200s, a third less assumed; 3.28 GiB more reported "
    "on eight H100s (nccl#1685)",
)
GRAPHS = Estimate(
    512 * MIB,
    174 * MIB,
    1894 * MIB,
    "CUDA graphs: 0.17 to 1.85 GiB in vLLM start-up logs; PyTorch's pool of streams, made with the "
    "first graph, is 70 MiB of it on an H200",
)
BLOCK_TABLE_ENTRY_BYTES = 4


def runtime(
    *,
    gpus_per_replica: int,
    expert_parallel: bool,
    enforce_eager: bool,
    measured: MemoryCalibration | None = None,
    nvidia: bool = True,
) -> dict[str, Estimate]:
    """Overheads of one GPU by name, context first; `measured` on that GPU where it is given.

    Nobody measured other vendors' cards here: theirs are NVIDIA's with ranges twice as far out.
    """
    found = {"context": CONTEXT, "libraries": LIBRARIES}
    if measured is not None:
        found |= measured.estimates()
    if gpus_per_replica > 1:
        found["collectives"] = COLLECTIVES
    if expert_parallel:
        found["all_to_all"] = ALL_TO_ALL
    if not enforce_eager:
        found["cuda_graphs"] = GRAPHS
    if nvidia:
        return found
    own = set() if measured is None else set(measured.estimates())
    return {name: part if name in own else _borrowed(part) for name, part in found.items()}


def _borrowed(part: Estimate) -> Estimate:
    source = f"{part.source}; taken over from NVIDIA, range from half to twice as far"
    return Estimate(part.bytes, part.low_bytes // 2, part.high_bytes * 2, source)


def moved(measured: MemoryCalibration) -> tuple[tuple[str, int, int], ...]:
    """What a calibration changes: name of the overhead, bytes without it, bytes with it."""
    assumed = {"context": CONTEXT, "libraries": LIBRARIES}
    return tuple(
        (name, assumed[name].bytes if name in assumed else 0, estimate.bytes)
        for name, estimate in measured.estimates().items()
    )


def block_table_bytes(sequences: int, tokens: int, block_size: int, cache_groups: int = 1) -> int:
    """int32 block numbers: one row per sequence and cache group."""
    return BLOCK_TABLE_ENTRY_BYTES * sequences * ceil_div(tokens, block_size) * cache_groups
