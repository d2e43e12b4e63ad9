"""Search tiles and splits of paged decode by batch: how full the last round of programs is matters.

    python -m benchmarks.find_decode_splits [--batches 17 300] [--seqlen 4096] [--heads 32 8 128]

For each batch every tile, with the splits it would be given and with 1 to 8, what the kernel
chooses by itself, and torch SDPA on a contiguous cache, called in turn in shuffled order: TB/s of
cache read. A tile is named by KV heads x keys, warps, stages and splits. The table of tiles by load
in `kernels/decode_tiles.py` is from such searches.
"""

import argparse
import functools

import torch

from benchmarks.decode_inputs import Inputs, peers
from benchmarks.decode_steps import Case
from benchmarks.reading import Run
from benchmarks.rounds import in_rounds
from kernels.decode_tiles import DecodeTile

BATCHES = (17, 24, 33, 50, 64, 70, 80, 90, 96, 110, 128, 140, 160, 180, 200, 230, 256, 300)
TILES = (
    DecodeTile(16, 32, 2, 2, 6),
    DecodeTile(16, 32, 4, 3, 3),
    DecodeTile(16, 64, 4, 3, 2),
    DecodeTile(16, 32, 2, 3, 2, kv_heads=2),
    DecodeTile(16, 64, 2, 3, 1, kv_heads=2),
    DecodeTile(16, 16, 4, 3, 2, kv_heads=4),
    DecodeTile(16, 32, 4, 3, 1, kv_heads=4),
    DecodeTile(16, 16, 8, 3, 1, kv_heads=8),
)
SPLITS = (None, 1, 2, 3, 4, 5, 6, 8)


def runs(case: Case) -> dict[str, Run]:
    """What is compared, each called once so that it is compiled."""
    given = Inputs.of(case)
    sdpa = peers(case, given)["sdpa"]
    found: dict[str, Run] = {"SDPA": sdpa, "chosen": given.ours}
    for tile in TILES:
        if case.kv_heads % tile.kv_heads:
            continue
        shape = f"{tile.kv_heads}x{tile.block_n} {tile.num_warps}w {tile.num_stages}s"
        for splits in SPLITS:
            found[f"{shape} {splits or 'own'}"] = functools.partial(given.ours, tile, splits)
    found["SDPA again"] = sdpa
    for run in found.values():
        run()
    torch.cuda.synchronize()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seqlen", type=int, default=4_096)
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument(
        "--heads", type=int, nargs=3, default=(32, 8, 128), metavar=("QUERY", "KV", "DIM")
    )
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device here; this search times kernels on one")
    torch.manual_seed(0)
    heads, kv_heads, head_dim = options.heads
    for batch in options.batches:
        case = Case(heads, kv_heads, head_dim, batch, options.seqlen)
        rates = {n: case.bytes / ms / 1e9 for n, ms in in_rounds(runs(case), 1.0).items()}
        fixed = ("SDPA", "SDPA again", "chosen")
        best = sorted((n for n in rates if n not in fixed), key=lambda n: -rates[n])[:5]
        print(case.name, ", ".join(f"{n} {rates[n]:.3f}" for n in (*fixed, *best)), flush=True)


if __name__ == "__main__":
    main()
