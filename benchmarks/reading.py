"""What a card reads, copies and multiplies at best: the ceilings that decode attention is held to.

L2 is written over before each sample.
"""

from collections.abc import Callable

import torch
import triton
import triton.language as tl
import triton.testing

Run = Callable[[], object]


def milliseconds(run: Run, warmup: int = 30, rep: int = 100) -> float:
    """Median GPU time of one call; do_bench writes over the L2 cache before every sample."""
    return float(triton.testing.do_bench(run, warmup=warmup, rep=rep, return_mode="median"))


@triton.jit  # type: ignore[untyped-decorator]
def read_kernel(source, out, BLOCK: tl.constexpr) -> None:  # type: ignore[no-untyped-def]
    block = tl.program_id(0).to(tl.int64)
    values = tl.load(source + block * BLOCK + tl.arange(0, BLOCK))
    tl.store(out + block, tl.sum(values, axis=0))


def reading(size: int, block: int = 8_192) -> Run:
    """Reads `size` bytes, rounded to whole blocks of 4-byte words, and does nothing else."""
    words = torch.empty(size // 4 // block * block, device="cuda", dtype=torch.int32).random_()
    sums = torch.empty(words.numel() // block, device="cuda", dtype=torch.int32)
    return lambda: read_kernel[(sums.numel(),)](words, sums, BLOCK=block, num_warps=8)


@triton.jit  # type: ignore[untyped-decorator]
def read_pages_kernel(  # type: ignore[no-untyped-def]
    pages, table, out, PARTS: tl.constexpr, BLOCK: tl.constexpr
) -> None:
    place = tl.program_id(0)
    page = tl.load(table + place).to(tl.int64)
    words = pages + page * (PARTS * BLOCK) + tl.arange(0, BLOCK)
    values = tl.load(words)
    for part in tl.static_range(1, PARTS):
        values ^= tl.load(words + part * BLOCK)
    tl.store(out + place, tl.xor_sum(values, axis=0))


def reading_pages(pages: torch.Tensor, table: torch.Tensor) -> Run:
    """Reads the pages in the table's order, one program a page, and does nothing else."""
    held = pages[0].numel() * pages.element_size() // 4
    block = min(held & -held, 8_192)
    source = pages.flatten().view(torch.int32)
    sums = torch.empty(table.numel(), device="cuda", dtype=torch.int32)
    return lambda: read_pages_kernel[(sums.numel(),)](
        source, table, sums, PARTS=held // block, BLOCK=block,
        num_warps=max(1, min(8, block // 128)),
    )  # fmt: skip


def ceilings() -> dict[str, float]:
    """What this card does today: reading 4 GiB, copying 2 GiB, and a bf16 matmul."""
    reads = [milliseconds(reading(2**32, block)) for block in (4_096, 8_192, 16_384)]
    big = torch.empty(2**30, device="cuda", dtype=torch.int32).random_()
    half = big[: 2**29]
    n = 8192
    a, b = (torch.randn(n, n, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return {
        "read_tb_per_s": big.nbytes / min(reads) / 1e9,
        "copy_tb_per_s": 2 * half.nbytes / milliseconds(lambda: big[2**29 :].copy_(half)) / 1e9,
        "bf16_tflops": 2 * n**3 / milliseconds(lambda: a @ b) / 1e9,
    }
