"""`serve --try`: the same traffic on several replicas, layouts, formats or rates, compared.

    serve ... --trace t.csv --try replicas=1,2,4 --try speedup=1,2 --ray auto

Every combination is one simulation; with --ray they run on a cluster, with the same answer.
"""

import csv
import io
import json
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from math import inf
from typing import Any

from planner.errors import PlanRefused
from planner.units import format_share

TRIED: dict[str, type[int] | type[float] | type[str]] = {
    "replicas": int,
    "speedup": float,
    "rate": float,
    "tensor_parallel_size": int,
    "weights_dtype": str,
    "kv_cache_dtype": str,
    "block_size": int,
    "max_num_batched_tokens": int,
    "max_num_seqs": int,
    "lookahead": int,
    "acceptance": float,
}
MOST_CASES = 10_000
HEAD = (
    "gpus", "holds", "attained", "ttft_p95_s", "tpot_p95_s", "requests_per_s", "goodput_per_s",
    "refused",
)  # fmt: skip


def choice(text: str) -> tuple[str, list[Any]]:
    """'replicas=1,2,4' as a name and its values. For argparse."""
    name, equals, values = text.partition("=")
    field = name.strip().replace("-", "_")
    kind = TRIED.get(field)
    if kind is None or not equals:
        known = ", ".join(key.replace("_", "-") for key in TRIED)
        raise ArgumentTypeError(f"{text!r}: write NAME=VALUE,VALUE with one of {known}")
    found = []
    for value in values.split(","):
        try:
            found.append(kind(value))
        except ValueError:
            number = "whole number" if kind is int else "number"
            raise ArgumentTypeError(f"{text!r}: {value!r} is no {number}") from None
    return field, found


def run(arguments: Namespace) -> str:
    """All combinations, in the chosen format."""
    from planner.serving.study import Setup, fewest_gpus, run_case

    setup, cases = _setup(arguments)
    if arguments.ray is None:
        rows = [run_case(setup, case) for case in cases]
    else:
        from cli.ray_cluster import spread

        rows = spread(run_case, setup, cases, address=arguments.ray)
    assert isinstance(setup, Setup)
    best = fewest_gpus(rows)
    if arguments.format == "json":
        return json.dumps({"cases": rows, "fewest_gpus": best}, indent=1, allow_nan=False) + "\n"
    table = [_line(row) for row in rows]
    if arguments.format == "csv":
        return _csv(table)
    return _text(table, best)


def _setup(arguments: Namespace) -> tuple[Any, list[Any]]:
    from cli.serve_inputs import case_of, requests_of, trace_of
    from cli.source import read_model
    from planner.hf_config import parse
    from planner.serving.metrics import Slo
    from planner.serving.study import Setup
    from presets.gpus import load_gpu
    from presets.speed import speed_of

    tried = dict(arguments.tried)
    if len(tried) < len(arguments.tried):
        raise PlanRefused("--try takes each name once: write its values together, such as 1,2,4")
    if arguments.trace and "rate" in tried:
        raise PlanRefused("--try rate draws requests: leave out --trace, or try speedup")
    if arguments.find_rate or arguments.find_replicas:
        raise PlanRefused("--try compares what it names: leave out --find-rate and --find-replicas")
    gpu = load_gpu(arguments.gpu)
    config = read_model(arguments.model)
    model = parse(config, arguments.model)
    traffics: dict[float, tuple[Any, ...]] = {}
    cases = []
    for chosen in _combinations(tried):
        one = Namespace(**{**vars(arguments), **chosen})
        rate = 0.0 if one.trace else one.rate
        if not 0 < one.speedup < inf:
            raise PlanRefused(f"--speedup {one.speedup:g} must be above 0 and finite")
        if one.max_num_seqs is not None and one.max_num_seqs < 1:
            raise PlanRefused(f"--max-num-seqs {one.max_num_seqs} must be at least 1")
        if rate not in traffics:
            requests = trace_of(one, 1.0) if one.trace else requests_of(one, rate, one.seed)
            traffics[rate] = tuple(requests)
        cases.append(
            replace(
                case_of(one, tuple((name, str(value)) for name, value in chosen.items()), model),
                traffic=list(traffics).index(rate),
                speedup=one.speedup,
            )
        )
    slo = Slo(arguments.ttft, arguments.tpot, arguments.share)
    return Setup(model, gpu, speed_of(gpu), slo, tuple(traffics.values()), config), cases


def _combinations(tried: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    count = 1
    for values in tried.values():
        count *= len(values)
    if count > MOST_CASES:
        raise PlanRefused(f"{count:,} combinations are more than {MOST_CASES:,}: try fewer values")
    for one in product(*tried.values()):
        yield dict(zip(tried, one, strict=True))


def _line(row: dict[str, Any]) -> dict[str, Any]:
    """One combination, flat."""
    chosen: dict[str, Any] = row["chosen"]
    if "slo" not in row:
        return chosen | dict.fromkeys(HEAD) | {"refused": row["refused"]}
    figures = (
        row["gpus"], row["slo"]["holds"], row["slo"]["attained"], row["ttft_s"]["p95"],
        row["tpot_s"]["p95"], row["requests_per_s"], row["goodput_per_s"], None,
    )  # fmt: skip
    return chosen | dict(zip(HEAD, figures, strict=True))


def _csv(table: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return out.getvalue()


def _text(table: list[dict[str, Any]], best: dict[str, Any] | None) -> str:
    lines = []
    if best is None:
        lines.append("No combination holds the SLO.")
    else:
        chosen = ", ".join(f"{_name(key)} {value}" for key, value in best["chosen"].items())
        count = best["gpus"]
        lines.append(f"Fewest GPUs that hold the SLO: {count:,} ({chosen}).")
    for row in table:
        chosen = "  ".join(f"{_name(key)} {row[key]}" for key in row if key not in HEAD)
        if row["refused"] is not None:
            lines.append(f"  {chosen}: refused: {row['refused']}")
            continue
        tpot = row["tpot_p95_s"]
        lines.append(
            f"  {chosen}: {'holds' if row['holds'] else 'does not hold'}, "
            f"{format_share(row['attained'], 1)} within the SLO, "
            f"TTFT p95 {row['ttft_p95_s']:,.3f} s, TPOT p95 "
            f"{'none' if tpot is None else f'{1e3 * tpot:,.1f} ms'}, "
            f"{row['requests_per_s']:,.2f} requests/s on "
            f"{row['gpus']:,} GPU{'' if row['gpus'] == 1 else 's'}"
        )
    return "\n".join(lines) + "\n"


def _name(field: str) -> str:
    return field.replace("_", " ")
