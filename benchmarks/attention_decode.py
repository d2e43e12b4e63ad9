"""Decode attention side by side on one GPU: TB/s of cache read, medians, L2 flushed.

    python -m benchmarks.attention_decode [--only paged mla] [--json FILE]

Ours reads pages of 16 tokens, or of 64 where a case says so (vLLM's for FlashMLA), in random order,
a page's values behind its keys as in `kernels.kv_cache`; torch SDPA and FlashAttention-3
(`fa3-fwd`, optional) read a contiguous cache and are timed before and after ours, so that the
spread of one kernel within the run can be read off the table. Ceilings are measured first. Bytes
are those of the cache, once; "of read" is against reading 4 GiB, "of the same read" against only
reading as many bytes as the case: a short read takes its start and the flush's written lines with
it. "of its pages" is against only reading the case's own pages in their order, which costs more
than one run of bytes does.
"""

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path

import torch
import triton

from benchmarks.decode_inputs import Inputs, graph_of, peers
from benchmarks.decode_steps import BF16, MLA, PAGED, Case
from benchmarks.reading import Run, ceilings, milliseconds, reading, reading_pages

Row = dict[str, float | str]


def measure(case: Case) -> Row:
    given = Inputs.of(case)
    row: Row = {"case": case.name, "gb": case.bytes / 1e9}

    def time(name: str, run: Run) -> None:
        try:
            row[name] = milliseconds(run) * 1e3
        except Exception as problem:  # a peer that cannot run here must not end the table
            row[f"{name}_problem"] = str(problem).splitlines()[0][:120]

    time("read", reading(case.bytes))
    time("pages", reading_pages(given.pages, given.read))
    others = peers(case, given)
    for name, run in others.items():
        time(f"{name}_before", run)
    time("ours", given.ours)
    time("graph", graph_of(given.ours))
    for name, run in others.items():
        time(f"{name}_after", run)
    return row


def table(rows: list[Row], cases: list[Case], limits: dict[str, float]) -> str:
    names = ["sdpa", "fa3", "fa3_paged"]
    head = ["case", "GB", *names, "ours us", "ours", "graph", "of read", "of the same read"]
    head += ["of its pages", "TFLOP/s", "vs sdpa"]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for row, case in zip(rows, cases, strict=True):

        def rate(name: str, row: Row = row, case: Case = case) -> float:
            return case.bytes / 1e6 / float(row.get(name, math.nan))

        cells = [case.name, f"{case.bytes / 1e9:.2f}"]
        cells += [f"{rate(n + '_before'):.2f}/{rate(n + '_after'):.2f}" for n in names]
        sdpa = max(rate("sdpa_before"), rate("sdpa_after"))
        cells += [f"{float(row.get('ours', math.nan)):.1f}", f"{rate('ours'):.2f}"]
        cells += [f"{rate('graph'):.2f}", f"{rate('ours') / limits['read_tb_per_s']:.3f}"]
        cells += [f"{rate('ours') / rate(name):.3f}" for name in ("read", "pages")]
        cells += [f"{rate('ours') * case.flops / case.bytes:.0f}", f"{rate('ours') / sdpa:.3f}"]
        lines.append("| " + " | ".join(cells).replace("nan/nan", "-").replace("nan", "-") + " |")
    return "\n".join(lines)


def speedups(rows: list[Row], cases: list[Case]) -> Iterator[str]:
    """Tokens per second over an 8-bit cache against the same step over bf16."""
    micros = {case: float(row.get("ours", math.nan)) for row, case in zip(rows, cases, strict=True)}
    for case in cases:
        twin = Case(**{**case.__dict__, "dtype": BF16})
        if case.dtype != BF16 and twin in micros:
            yield f"{case.name}: {micros[twin] / micros[case]:.2f}x the tokens/s of bf16"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=["paged", "mla"], default=["paged", "mla"])
    parser.add_argument("--json", type=Path, help="write every number here too")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device here; this benchmark measures one")
    torch.manual_seed(0)
    limits = ceilings()
    print(torch.cuda.get_device_name(), torch.__version__, f"triton {triton.__version__}")
    print("ceilings:", ", ".join(f"{name} {value:.4g}" for name, value in limits.items()))
    cases = [*(PAGED if "paged" in options.only else ()), *(MLA if "mla" in options.only else ())]
    rows = [measure(case) for case in cases]
    print(table(rows, cases, limits))
    print("TB/s of cache read, L2 flushed; peers before/after ours; graph: CUDA-graph replay")
    print("\n".join(speedups(rows, cases)))
    problems = {
        f"{name.removesuffix('_problem')}: {value}"
        for row in rows
        for name, value in row.items()
        if name.endswith("_problem")
    }
    print("\n".join(sorted(problems)))
    if options.json:
        options.json.write_text(json.dumps({"ceilings": limits, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
