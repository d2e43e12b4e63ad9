"""Registers, shared memory and spills of every default tile, compiled here for cards elsewhere.

    python -m benchmarks.aot_report [--capability 80 90 100] [--json FILE]

Exits with 1 if a kernel needs more shared memory than its card has, or spills registers in a loop.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from itertools import chain
from pathlib import Path

import triton

from kernels.aot import Case, Usage, compile_case
from kernels.decode_cases import decode_cases
from kernels.prefill_cases import prefill_cases
from kernels.tiles import shared_memory_bytes

CASES = (prefill_cases, decode_cases)


def usages_of(cases: Callable[[int], Iterator[Case]], capability: int) -> list[Usage]:
    return [compile_case(case, capability) for case in cases(capability)]


def report(usages: Iterable[Usage]) -> str:
    lines = [
        f"Triton {triton.__version__}",
        "| kernel | sm | shared bytes | registers | stack | in loops | |",
    ]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    for usage in usages:
        limit = shared_memory_bytes(usage.capability)
        verdict = "fits" if usage.fits else "DOES NOT FIT"
        lines.append(
            f"| {usage.name} | {usage.capability} | {usage.shared_bytes:,} of {limit:,} | "
            f"{usage.registers} | {usage.stack_bytes} | {usage.spills_in_loops} | {verdict} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--capability", type=int, nargs="+", default=[80, 90, 100])
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    work = [(cases, capability) for capability in options.capability for cases in CASES]
    with ProcessPoolExecutor() as processes:
        usages = list(chain.from_iterable(processes.map(usages_of, *zip(*work, strict=True))))
    print(report(usages))
    if options.json:
        options.json.write_text(
            json.dumps(
                {"triton": triton.__version__, "kernels": [asdict(usage) for usage in usages]},
                indent=1,
            )
        )
    sys.exit(any(not usage.fits for usage in usages))


if __name__ == "__main__":
    main()
