"""Search the tiles and split counts of `kernels/decode_tiles.py`.

    python -m benchmarks.find_decode_tiles [--only 32/8/128] [--json FILE]

Every candidate is compiled first, in several processes at once, and then timed alone, from a CUDA
graph. One kernel moves by 1-3 % between runs: smaller differences mean nothing.
"""

import argparse
import functools
import itertools
import json
import multiprocessing
from collections.abc import Iterator
from dataclasses import astuple, replace
from pathlib import Path

import torch

from benchmarks.decode_inputs import Inputs, graph_of
from benchmarks.decode_steps import FP8, RANK, ROPE, Case
from benchmarks.reading import milliseconds
from kernels.decode_tiles import DecodeTile, sm_count

CASES = (
    Case(32, 8, 128, 1, 131_072),
    Case(32, 8, 128, 8, 32_768),
    Case(32, 8, 128, 64, 8_192),
    Case(32, 32, 128, 8, 32_768),
    Case(16, 1, 256, 1, 131_072),
    Case(16, 1, 256, 64, 8_192),
    Case(64, 8, 64, 64, 8_192),
    Case(32, 8, 128, 64, 8_192, FP8),
    Case(32, 32, 128, 8, 32_768, FP8),
    Case(16, 1, 256, 256, 4_096, FP8),
    Case(64, 8, 64, 64, 8_192, FP8),
    Case(16, 0, 0, 1, 131_072),
    Case(16, 0, 0, 32, 32_768),
    Case(32, 0, 0, 64, 16_384),
    Case(128, 0, 0, 66, 8_192),
    Case(64, 0, 0, 128, 8_192),
    Case(16, 0, 0, 32, 32_768, FP8),
)
SHARED_MEMORY_BYTES = 233_472  # of one multiprocessor, all its programs together


def in_flight_bytes(case: Case, tile: DecodeTile) -> int:
    """Bytes of the cache a program holds in its pipeline."""
    token_bytes = (2 * case.head_dim or RANK + ROPE) * case.dtype.itemsize * tile.kv_heads
    return tile.block_n * token_bytes * (tile.num_stages - (tile.block_m < 64))


def candidates(case: Case) -> Iterator[DecodeTile]:
    """Steps of 8 to 74 KB, with the warps that move them in a few copies each."""
    many = not case.kv_heads and case.heads > 16
    for block_m, block_n in itertools.product((32, 64) if many else (16,), (16, 32, 64, 128)):
        step = in_flight_bytes(case, DecodeTile(16, block_n, 4, 2, 1))
        if not 8_192 <= step <= 74_000 or (block_m == 64 and case.dtype == FP8):
            continue
        warps = (
            (8,) if many else (1, 2, 4) if step < 24_000 else (2, 4, 8) if step < 40_000 else (8,)
        )
        for num_warps, num_stages in itertools.product(warps, (2, 3, 4)):
            tile = DecodeTile(block_m, block_n, num_warps, num_stages, 1)
            few = num_warps < 4 and num_stages != 3
            if in_flight_bytes(case, tile) <= (150_000 if many else 115_000) and not few:
                yield tile
    for kv_heads, block_n, num_stages in itertools.product((2, 4), (16, 32, 64), (3, 4, 5)):
        tile = DecodeTile(16, block_n, kv_heads, num_stages, 1, kv_heads)
        pairs = case.kv_heads and case.kv_heads % kv_heads == 0
        rows = case.q_tokens * case.heads // max(case.kv_heads, 1)
        if pairs and rows <= 16 and in_flight_bytes(case, tile) <= 115_000:
            yield tile


def fill(case: Case, tile: DecodeTile) -> list[int]:
    """Split counts that fill one wave, for each number of programs a multiprocessor could hold."""
    programs = case.batch * (case.kv_heads // tile.kv_heads or -(-case.heads // tile.block_m))
    sms = sm_count(torch.device("cuda", 0))
    most = max(1, SHARED_MEMORY_BYTES // (in_flight_bytes(case, tile) + 6_000))
    counts = {max(1, sms * places // programs) for places in (2, 3, 4, 6, 8) if places <= most}
    counts |= {max(1, sms // programs)} if tile.block_m > 16 else set()
    return sorted(count for count in counts if count <= case.seqlen // tile.block_n)


def compile_one(job: tuple[Case, DecodeTile]) -> None:
    case, tile = job
    small = Inputs.of(replace(case, batch=1, seqlen=256))
    for num_splits in {min(count, 2) for count in fill(case, tile)}:
        small.ours(tile, num_splits)


def compile_all(jobs: list[tuple[Case, DecodeTile]]) -> None:
    with multiprocessing.get_context("spawn").Pool(14) as pool:
        results = [pool.apply_async(compile_one, (job,)) for job in jobs]
        for job, result in zip(jobs, results, strict=True):
            try:
                result.get(timeout=120)
            except Exception as problem:
                print("does not run:", job[0].name, job[1], str(problem).splitlines()[0][:80])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", help="part of a case's name")
    parser.add_argument("--json", type=Path, help="write every number here")
    parser.add_argument("--milliseconds", type=int, default=25, help="time spent on each timing")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device here; this search times kernels on one")
    cases = [case for case in CASES if not options.only or options.only in case.name]
    compile_all([(case, tile) for case in cases for tile in candidates(case)])
    print("compiled", flush=True)
    found = []
    for case in cases:
        given = Inputs.of(case)
        results = []
        for tile in candidates(case):
            for num_splits in fill(case, tile):
                try:
                    run = graph_of(functools.partial(given.ours, tile, num_splits))
                    millis = milliseconds(run, warmup=5, rep=options.milliseconds)
                except Exception:  # does not fit; named by compile_all
                    break
                results.append((case.bytes / millis / 1e9, tile, num_splits))
        results.sort(key=lambda result: -result[0])
        print(case.name)
        for rate, tile, num_splits in results[:6]:
            shape = f"{tile.kv_heads}x{tile.block_m}x{tile.block_n}"
            shape += f" {tile.num_warps}w {tile.num_stages}s"
            print(f"  {rate:.3f} TB/s  {shape}  {num_splits} splits")
        found += [[case.name, rate, *astuple(tile), splits] for rate, tile, splits in results]
    if options.json:
        options.json.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
