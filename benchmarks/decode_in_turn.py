"""Versions of the decode kernels against each other, called in turn in one process on one GPU.

    python -m benchmarks.decode_in_turn HEAD~1 --cases "32/8/128 33x4096" "MLA 16 128x1..8192"
    python -m benchmarks.decode_in_turn one/kernels other/kernels [--seconds 1] [--graph]

A version is a commit, or a folder that is another `kernels/`; the working tree's come last. Cases
are named as in benchmarks.attention_decode, bf16 if they say no other; without any, all of its.
Microseconds, medians of rounds of one call each, after a matmul and with L2 written over. A round
begins and ends with the first version, which shows how far the card moves; torch SDPA on a
contiguous cache is called too where it can be. `apart`: how far results lie from the working
tree's, relative to their norm.
"""

import argparse
import functools
import tempfile
from pathlib import Path

import torch

from benchmarks.decode_inputs import OURS, Inputs, Kernels, graph_of, peers
from benchmarks.decode_steps import MLA, PAGED, Case
from benchmarks.other_kernels import load
from benchmarks.reading import Run
from benchmarks.rounds import in_rounds

HERE = "tree"


def case_named(name: str) -> Case:
    try:
        return Case.named(name)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def measure(
    case: Case, versions: dict[str, Kernels], seconds: float, graph: bool
) -> tuple[dict[str, float], float]:
    """Microseconds of each, and how far results lie apart."""
    given = Inputs.of(case)
    runs: dict[str, Run] = {
        name: functools.partial(given.ours, kernels=kernels) for name, kernels in versions.items()
    }
    expected = given.ours().double()
    apart = max(
        float((given.ours(kernels=kernels).double() - expected).norm() / expected.norm())
        for kernels in versions.values()
    )
    if sdpa := peers(case, given).get("sdpa"):
        runs["sdpa"] = sdpa
    if graph:
        runs = {name: graph_of(run) for name, run in runs.items()}
    first = next(iter(runs))
    runs[f"{first} again"] = runs[first]
    return {name: 1e3 * ms for name, ms in in_rounds(runs, seconds).items()}, apart


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("versions", nargs="+", metavar="VERSION")
    parser.add_argument("--cases", type=case_named, nargs="+", default=[*PAGED, *MLA])
    parser.add_argument("--seconds", type=float, default=1.0, help="of rounds for each case")
    parser.add_argument("--graph", action="store_true", help="replay CUDA graphs")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device here; this benchmark measures one")
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        versions = {
            name: load(name, f"kernels_{place}", Path(folder))
            for place, name in enumerate(options.versions)
        }
        versions[HERE] = OURS
        print(torch.cuda.get_device_name(), torch.__version__)
        for case in options.cases:
            micros, apart = measure(case, versions, options.seconds, options.graph)
            cells = (f"{name} {us:.1f} ({us / micros[HERE]:.3f})" for name, us in micros.items())
            print(f"{case.name}: {', '.join(cells)}; apart {apart:.1e}", flush=True)


if __name__ == "__main__":
    main()
