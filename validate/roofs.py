"""The roofs of this card: what it reads, copies and multiplies at best, measured and not read off
a datasheet."""

from collections.abc import Iterator
from statistics import median

import torch
import triton
import triton.language as tl

from planner.calibration import Roofs
from planner.hardware import Gpu
from validate.bench import DTYPES, Bench
from validate.record import Case, measured, skipped
from validate.timing import SUSTAINED_S, eager_s

READ_BLOCKS = (4096, 8192, 16384)


@triton.jit  # type: ignore[untyped-decorator]
def read_kernel(source, sums, BLOCK: tl.constexpr) -> None:  # type: ignore[no-untyped-def]
    block = tl.program_id(0).to(tl.int64)
    values = tl.load(source + block * BLOCK + tl.arange(0, BLOCK))
    tl.store(sums + block, tl.sum(values, axis=0))


def roof_cases(bench: Bench, gpu: Gpu | None, *, gib: float, matrix: int) -> Iterator[Case]:
    """Read, copy and matmul rates; published peaks are what they are compared with.

    gib: size of the tensor that is read. matrix: side of the square matrices.
    """
    found: dict[str, float] = {}
    yield from _bandwidth(bench, gpu, int(gib * 2**28), found)
    yield from _arithmetic(bench, gpu, matrix, found)
    bench.facts["roofs"] = Roofs(**found).model_dump(exclude_none=True)


def _bandwidth(
    bench: Bench, gpu: Gpu | None, elements: int, found: dict[str, float]
) -> Iterator[Case]:
    peak = None if gpu is None else gpu.memory_bandwidth_bytes_per_s
    source = torch.empty(elements, dtype=torch.int32, device=bench.device).random_(0, 1000)
    sums = torch.empty(elements // min(READ_BLOCKS), dtype=torch.int32, device=bench.device)
    rates = []
    for block in READ_BLOCKS:
        seconds = eager_s(bench, lambda block=block: _read(source, sums, block))  # type: ignore[misc]
        rates.append([source.nbytes / s for s in seconds])
    best = max(rates, key=median)
    yield measured(_case("read", "Reading device memory", "bytes/s", peak), best)
    found["read_bytes_per_s"] = median(best)
    half = elements // 2
    seconds = eager_s(bench, lambda: source[half:].copy_(source[:half]))
    copies = [source.nbytes / s for s in seconds]
    yield measured(_case("copy", "Copying, read and written bytes", "bytes/s", peak), copies)
    found["copy_bytes_per_s"] = median(copies)


def _arithmetic(
    bench: Bench, gpu: Gpu | None, matrix: int, found: dict[str, float]
) -> Iterator[Case]:
    for name in ("bf16", "fp16", "fp8"):
        published = None if gpu is None else getattr(gpu, f"{name}_flops_per_s")
        case = _case(name, f"Matrix product of {matrix} x {matrix} in {name}", "FLOP/s", published)
        if name == "fp8" and not bench.has_fp8:
            yield skipped(case, "this device multiplies no fp8 matrices")
            continue
        dtype = DTYPES[name] if not bench.rehearsal else torch.float32
        a, b = (bench.random(matrix, matrix, dtype=dtype) for _ in range(2))
        rates_ = [
            2 * matrix**3 / s
            for s in eager_s(bench, _product(bench, a, b), samples=15, warm_s=SUSTAINED_S)
        ]
        yield measured(case, rates_)
        found[f"{name}_flops_per_s"] = median(rates_)


def _read(source: torch.Tensor, sums: torch.Tensor, block: int) -> None:
    read_kernel[(source.numel() // block,)](source, sums, BLOCK=block, num_warps=8)


def _product(bench: Bench, a: torch.Tensor, b: torch.Tensor):  # type: ignore[no-untyped-def]
    if a.dtype != torch.float8_e4m3fn:
        return lambda: a @ b
    one = torch.ones((), device=bench.device)
    return lambda: torch._scaled_mm(a, b.t(), one, one, out_dtype=torch.bfloat16)


def _case(name: str, title: str, unit: str, published: float | None) -> Case:
    how = "published peak" if published else ""
    return Case(f"card/{name}", "card", title, unit, how, published)  # type: ignore[arg-type]
