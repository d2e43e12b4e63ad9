"""Search the tile choices of `kernels/tiles.py`: every candidate checked, then timed.

    python -m benchmarks.find_tiles hopper --dim 128 --lengths 2048 16384
    python -m benchmarks.find_tiles portable --dim 128 --lengths 16384 --dtype float16

Candidates that do not compile, do not fit or give a wrong result are listed with the reason. One
kernel moves by 1-3 % between runs: smaller differences mean nothing.
"""

import argparse
import itertools
from collections.abc import Callable, Iterator

import torch

from benchmarks.attention_prefill import (
    TOKENS,
    error,
    flash_attention_3,
    flops,
    milliseconds,
    numbers,
)
from kernels import flash_kernel
from kernels.hopper import flash as hopper_flash
from kernels.tiles import HopperTile, Tile

Launch = Callable[..., None]


def hopper_candidates(head_dim: int, element_bytes: int) -> Iterator[HopperTile]:
    """Only tiles whose loops do not spill: three consumers have 160 registers, not 240."""
    block_n = 64 if head_dim == 256 else 128
    for consumers, stages, section, late, chained, pingpong in itertools.product(
        (2, 3), (2, 3), (1, 4), (True, False), (False, True), (False, True)
    ):
        small = head_dim == 64 and element_bytes == 2
        fits = stages == 2 or head_dim * element_bytes <= 128
        if fits and (consumers == 2 or (small and not late)):
            yield HopperTile(consumers, block_n, stages, section, late, chained, pingpong)


def portable_candidates(head_dim: int, element_bytes: int) -> Iterator[Tile]:
    for block_m, block_n, warps, stages in itertools.product(
        (64, 128), (32, 64, 128), (4, 8), (2, 3)
    ):
        tile_bytes = (block_m + 2 * stages * block_n) * head_dim * element_bytes
        if tile_bytes <= 232_448 and not (block_m == 64 and warps == 8):
            yield Tile(block_m, block_n, warps, stages)


def search(
    launch: Launch,
    candidates: list[HopperTile] | list[Tile],
    seqlen: int,
    head_dim: int,
    causal: bool,
    dtype: torch.dtype,
) -> None:
    heads, kv_heads, batch = numbers(seqlen, head_dim)
    q, k, v = (
        torch.randn(batch, seqlen, h, head_dim, device="cuda", dtype=torch.bfloat16).to(dtype)
        for h in (heads, kv_heads, kv_heads)
    )
    out_dtype = torch.bfloat16 if dtype.itemsize == 1 else dtype
    work = flops(batch, heads, seqlen, head_dim, causal)
    print(f"\nD={head_dim} S={seqlen} {'causal' if causal else 'no mask'} {dtype} ({TOKENS=})")
    fa3 = flash_attention_3()
    if fa3:
        print(f"{work / milliseconds(lambda: fa3(q, k, v, causal=causal)) / 1e9:7.1f} TFLOP/s FA3")
    found: list[tuple[float, str]] = []
    window = (-1, 0 if causal else -1)
    for tile in candidates:
        out = torch.full((*q.shape[:3], head_dim), float("nan"), dtype=out_dtype, device="cuda")

        def run(tile: object = tile, out: torch.Tensor = out) -> None:
            launch(q, k, v, out, None, head_dim**-0.5, window, (None,) * 3, tile=tile)

        try:
            run()
            wrong = error(out, q, k, v, causal)
            if not wrong < (0.1 if dtype.itemsize == 1 else 0.01):
                found.append((0.0, f"{tile}: error {wrong:.2g}"))
                continue
            found.append((work / milliseconds(run) / 1e9, f"{tile} (error {wrong:.1e})"))
        except Exception as problem:
            found.append((0.0, f"{tile}: {str(problem).splitlines()[0][:100]}"))
    for speed, text in sorted(found, reverse=True):
        print(f"{speed:7.1f} TFLOP/s {text}")
    if fa3:
        print(f"{work / milliseconds(lambda: fa3(q, k, v, causal=causal)) / 1e9:7.1f} TFLOP/s FA3")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kernel", choices=["hopper", "portable"])
    parser.add_argument("--dim", type=int, nargs="+", default=[128])
    parser.add_argument("--lengths", type=int, nargs="+", default=[2048, 16384])
    parser.add_argument("--dtype", default="bfloat16")
    options = parser.parse_args()
    dtype: torch.dtype = getattr(torch, options.dtype)
    torch.manual_seed(0)
    for head_dim, seqlen, causal in itertools.product(options.dim, options.lengths, (True, False)):
        if options.kernel == "hopper":
            tiles = list(hopper_candidates(head_dim, dtype.itemsize))
            search(hopper_flash.launch, tiles, seqlen, head_dim, causal, dtype)
        else:
            plain = list(portable_candidates(head_dim, dtype.itemsize))
            search(flash_kernel.launch, plain, seqlen, head_dim, causal, dtype)


if __name__ == "__main__":
    main()
