"""`serve`: requests of a trace or of a distribution on the plan's replicas, simulated."""

import csv
import io
import json
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from cli.deployment_flags import tokens
from cli.other_names import engine
from cli.search_command import seconds
from cli.serve_inputs import case_of, longest_of, requests_of, trace_of
from cli.serve_study import choice
from cli.source import read_model
from planner.errors import PlanRefused
from planner.search.space import IDEAL, SERVING

if TYPE_CHECKING:
    from planner.serving.requests import Request

FORMATS = ("text", "json", "csv", "requests-csv")
PRESETS = ("azure-conversation-2023", "azure-code-2023")


def add_to(parser: ArgumentParser) -> None:
    """The command's flags."""
    parser.add_argument(
        "--model",
        required=True,
        metavar="ID|PATH",
        help="a preset's id or Hub id, a file or a folder",
    )
    parser.add_argument("--gpu", required=True, metavar="ID", help="such as h100-sxm5-80gb")
    parser.add_argument("--tensor-parallel-size", "-tp", type=int, default=1, metavar="N",
                        help="GPUs that share each layer")  # fmt: skip
    parser.add_argument("--weights-dtype", default="auto", metavar="NAME", help="see list formats")
    parser.add_argument("--kv-cache-dtype", default="auto", metavar="NAME", help="see list formats")
    parser.add_argument("--block-size", type=int, metavar="N",
                        help="tokens; 16, or the engine's")  # fmt: skip
    parser.add_argument("--engine", type=engine, choices=(*SERVING, IDEAL), default="vllm",
                        help=f"whose memory a replica has; {IDEAL}: by bytes alone")  # fmt: skip
    parser.add_argument("--engine-version", metavar="V", help="such as 0.19.1")
    parser.add_argument("--gpu-memory-utilization", type=float, metavar="SHARE")
    parser.add_argument("--max-num-batched-tokens", type=tokens, metavar="N",
                        help="of a step; else the engine's")  # fmt: skip
    parser.add_argument("--max-num-seqs", type=int, metavar="N",
                        help="sequences in a batch; else the engine's")  # fmt: skip
    parser.add_argument("--max-model-len", type=tokens, metavar="N",
                        help="tokens of the longest sequence; else the engine's")  # fmt: skip
    parser.add_argument("--no-enable-prefix-caching", action="store_true")
    parser.add_argument("--lookahead", type=int, default=0, metavar="N",
                        help="tokens drafted a step, by an EAGLE-like layer")  # fmt: skip
    parser.add_argument("--speculative-config", metavar="JSON", help="as vLLM takes it")
    parser.add_argument("--acceptance", type=float, metavar="A",
                        help="of each draft token, 0 to 1; 0.7 is assumed")  # fmt: skip
    parser.add_argument("--batching", choices=("continuous", "static"), default="continuous")
    parser.add_argument("--reserve", default="paged",
                        choices=("paged", "longest", "power_of_two", "exact"))  # fmt: skip
    parser.add_argument("--replicas", type=int, default=1, metavar="N",
                        help="copies of the deployment")  # fmt: skip
    parser.add_argument("--router", default="least_requests",
                        choices=("least_requests", "round_robin", "session"))  # fmt: skip
    parser.add_argument("--trace", metavar="FILE.csv",
                        help="TIMESTAMP, ContextTokens, GeneratedTokens")  # fmt: skip
    parser.add_argument("--speedup", type=float, default=1.0, metavar="X",
                        help="the trace arrives so many times as fast")  # fmt: skip
    parser.add_argument("--workload", choices=PRESETS, default=PRESETS[0])
    parser.add_argument("--prompt-tokens", type=tokens, metavar="N",
                        help="instead of the workload's")  # fmt: skip
    parser.add_argument("--output-tokens", type=tokens, metavar="N",
                        help="instead of the workload's")  # fmt: skip
    parser.add_argument("--shared-prefix-tokens", type=tokens, default=0, metavar="N",
                        help="that all prompts begin with")  # fmt: skip
    parser.add_argument("--rate", type=float, default=1.0, metavar="R", help="requests per second")
    parser.add_argument("--variation", type=float, default=1.0, metavar="CV",
                        help="of the gaps: 0 even, 1 Poisson")  # fmt: skip
    parser.add_argument("--requests", type=int, default=2000, metavar="N",
                        help="drawn without a trace")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn")
    parser.add_argument("--ttft", type=seconds, default=2.0, metavar="S",
                        help="SLO: to the first token, 2 or 800ms")  # fmt: skip
    parser.add_argument("--tpot", type=seconds, default=0.05, metavar="S",
                        help="SLO: per output token, such as 50ms")  # fmt: skip
    parser.add_argument(
        "--share", type=float, default=0.95, metavar="SHARE", help="of requests that must keep it"
    )
    parser.add_argument("--find-rate", action="store_true",
                        help="highest rate that holds the SLO, over --seeds")  # fmt: skip
    parser.add_argument("--find-replicas", action="store_true", help="fewest that hold it")
    parser.add_argument("--seeds", type=int, default=3, metavar="N",
                        help="draws for --find-rate")  # fmt: skip
    parser.add_argument("--try", dest="tried", type=choice, action="append", default=[],
                        metavar="NAME=V,V", help="compare values, such as replicas=1,2,4; "
                        "may be repeated")  # fmt: skip
    parser.add_argument("--claims", action="store_true",
                        help="claims about serving, tried on this replica")  # fmt: skip
    parser.add_argument("--sensitivity", action="store_true",
                        help="what moves the highest rate, TTFT and TPOT")  # fmt: skip
    parser.add_argument("--ray", metavar="ADDRESS", help="spread what --try compares over Ray")
    parser.add_argument("--format", choices=FORMATS, default="text",
                        help="csv: the course over time, or a line for each try; requests-csv: "
                        "a line for each request")  # fmt: skip
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> str:
    """The simulation in the chosen format."""
    from cli import serve_questions, serve_study
    from planner.hf_config import parse
    from planner.serving import objective, report, study
    from planner.serving.metrics import Slo
    from planner.serving.simulator import simulate
    from presets.gpus import load_gpu
    from presets.speed import speed_of

    for name in ("requests", "seeds", "max_num_seqs", "max_model_len"):
        value = getattr(arguments, name)
        if value is not None and not 1 <= value <= 10**8:
            flag = f"--{name.replace('_', '-')}"
            raise PlanRefused(f"{flag} {value:,} must be from 1 to {10**8:,}")
    if arguments.shared_prefix_tokens < 0:
        raise PlanRefused("--shared-prefix-tokens must be at least 0")
    if arguments.speedup != 1 and not arguments.trace:
        raise PlanRefused("--speedup is of a trace: add --trace FILE.csv, or choose a --rate")
    if not 0 < arguments.share <= 1:
        raise PlanRefused(f"--share {arguments.share:g} must be above 0 and at most 1")
    if (arguments.find_rate or arguments.find_replicas) and arguments.trace:
        raise PlanRefused("--find-rate and --find-replicas draw requests: leave out --trace")
    question = serve_questions.asked(arguments)
    if arguments.tried and arguments.format == "requests-csv":
        raise PlanRefused("--format requests-csv is of one simulation: leave out --try")
    if arguments.tried:
        return serve_study.run(arguments)
    if arguments.ray is not None:
        raise PlanRefused("--ray spreads what --try compares: add --try replicas=1,2,4")
    gpu = load_gpu(arguments.gpu)
    config = read_model(arguments.model)
    slo = Slo(arguments.ttft, arguments.tpot, arguments.share)
    model = parse(config, arguments.model)
    setup = study.Setup(model, gpu, speed_of(gpu), slo, (), config)
    if question == "claims":
        return serve_questions.claims(arguments, setup)
    if question == "sensitivity":
        return serve_questions.sensitivity(arguments, setup)
    data: dict[str, Any] = {}
    note = ""
    replicas = arguments.replicas

    def traffic(rate: float, seed: int) -> "Iterable[Request]":
        return requests_of(arguments, rate, seed)

    def requests() -> "Iterable[Request]":
        return traffic(arguments.rate, arguments.seed) if trace is None else trace

    trace = trace_of(arguments, arguments.speedup) if arguments.trace else None
    replica = study.replica_for(setup, case_of(arguments, (), model), longest_of(requests()))
    if arguments.find_rate:
        found = objective.rate_interval(
            replica, traffic, slo, range(arguments.seed, arguments.seed + arguments.seeds),
            replicas=replicas, router=arguments.router,
        )  # fmt: skip
        data["highest_rate_per_s"] = {"mean": found.mean, "low": found.low, "high": found.high,
                                      "seeds": found.samples}  # fmt: skip
        spread = "one seed, so no interval" if found.samples == 1 else (
            f"95 % interval {found.low:,.2f} to {found.high:,.2f}, {found.samples} seeds"
        )  # fmt: skip
        note += f"Highest rate that holds the SLO: {found.mean:,.2f} requests/s ({spread}).\n"
    if arguments.find_replicas:
        replicas, _ = objective.replicas_for(
            replica, traffic, arguments.rate, slo, seed=arguments.seed, router=arguments.router
        )
        data["replicas_needed"] = replicas
        note += f"Replicas needed at {arguments.rate:g} requests/s: {replicas}.\n"
    served: list[Any] = []
    each = served.append if arguments.format == "requests-csv" else None
    result = simulate(
        requests(), replica, replicas=replicas, router=arguments.router, slo=slo, each=each
    )
    if arguments.format == "requests-csv":
        return report.requests_csv(served, slo)
    if arguments.format == "json":
        return json.dumps(report.as_data(result) | data, indent=1, allow_nan=False) + "\n"
    if arguments.format == "csv":
        return as_csv(result.timeline_rows())
    return note + report.as_text(result)


def as_csv(rows: list[dict[str, float]]) -> str:
    """One line per span of time."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
