"""`search`: the cheapest hardware that serves a model at a load and speed."""

import json
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from math import inf, nan
from typing import TYPE_CHECKING

from pydantic import ValidationError

from cli.deployment_flags import tokens
from cli.other_names import engine
from cli.source import named, read_model
from planner.errors import PlanRefused
from planner.export import first_error
from planner.hf_config import parse
from planner.search.space import (
    CACHES,
    IDEAL,
    RINGS,
    SERVING,
    USUAL_TPOT_S,
    USUAL_TTFT_P95_S,
    WEIGHTS,
    Space,
    Target,
)
from planner.timing.latency import SERVER, Request
from planner.units import counted
from presets.offers import offers, own_price, unpriced
from presets.speed import reference, speed_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from planner.search.candidates import Candidate, Found

FORMATS = ("text", "json", "csv")
ANY = "any"
SHOWN = 8
RATES = (
    "For requests per second instead of users: serve --find-rate has the rate that a deployment "
    "holds, serve --find-replicas the replicas that a rate needs."
)


def add_to(parser: ArgumentParser) -> None:
    """The command's flags."""
    parser.add_argument(
        "--model", required=True, metavar="ID|PATH", help="preset, Hub id, file or folder"
    )
    parser.add_argument("--prompt-tokens", type=tokens, default=8192, metavar="N",
                        help="of a request, such as 8192 or 8k")  # fmt: skip
    parser.add_argument("--output-tokens", type=tokens, default=1024, metavar="N",
                        help="of an answer")  # fmt: skip
    parser.add_argument("--cached-tokens", type=tokens, default=0, metavar="N",
                        help="prompt tokens found in the prefix cache")  # fmt: skip
    parser.add_argument("--concurrency", type=int, default=1, metavar="N",
                        help="users at once; each asks again when answered")  # fmt: skip
    for name, usual, what in (
        ("--ttft", USUAL_TTFT_P95_S, "to the first token (p95), 2 or 800ms"),
        ("--tpot", USUAL_TPOT_S, "per output token, such as 40ms"),
    ):
        parser.add_argument(name, type=limit, default=usual, metavar="S",
                            help=f"most seconds {what}; none lifts it")  # fmt: skip
    parser.add_argument("--gpu", action="append", default=[], metavar="ID",
                        help="only this GPU; may be repeated")  # fmt: skip
    parser.add_argument("--usd-per-gpu-hour", "--price", dest="price", action="append",
                        type=price, default=[], metavar="GPU=USD",
                        help="your price, also of a GPU without one; may be repeated")  # fmt: skip
    parser.add_argument("--marketplace", action="store_true", help="marketplace prices too")
    parser.add_argument("--engine", type=engine, choices=(ANY, IDEAL, *SERVING), default=ANY,
                        help="whose memory rules hold; ideal: bytes alone")  # fmt: skip
    parser.add_argument("--max-gpus", type=int, default=16, metavar="N",
                        help="GPUs in all")  # fmt: skip
    parser.add_argument("--allow-quantisation", action="store_true",
                        help="try formats that lose precision too")  # fmt: skip
    parser.add_argument("--weights-dtype", action="append", metavar="NAME",
                        help="only this weight format; may be repeated")  # fmt: skip
    parser.add_argument("--kv-cache-dtype", action="append", metavar="NAME",
                        help="only this cache format; may be repeated")  # fmt: skip
    parser.add_argument("--together", action="store_true",
                        help="do not try prompts and answers on GPUs of their own")  # fmt: skip
    parser.add_argument("--ray", metavar="ADDRESS", help="spread the search over a Ray cluster")
    parser.add_argument("--format", choices=FORMATS, default="text")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> str:
    """The search in the chosen format. What needs NumPy is imported by those who search."""
    from planner.search import data as search_data
    from planner.search.engine import commands
    from planner.search.search import search

    config = read_model(arguments.model)
    model = parse(config, arguments.model)
    target, space = chosen_target(arguments), chosen_space(arguments)
    known = offers(arguments.gpu, own_usd=dict(arguments.price), marketplace=arguments.marketplace)
    if not known:
        asked = ", ".join(arguments.gpu) or "any GPU"
        raise PlanRefused(
            f"no price is known for {asked}: give one with --usd-per-gpu-hour GPU=USD, or allow "
            "marketplace prices with --marketplace"
        )
    if arguments.ray is None:
        found = search(model, known, speed_of, target, space, config=config)
    else:
        from cli.ray_search import ray_search

        found = ray_search(
            model, known, reference(), target, space, address=arguments.ray, config=config
        )

    def command(candidate: "Candidate") -> str | None:
        found = commands(candidate, target, model, config=config, name=named(arguments.model))
        return "; ".join(f"{what}: {line}" if what else line for what, line in found) or None

    if arguments.format == "json":
        data = search_data.as_data(found, command=command)
        return json.dumps(data, indent=1, allow_nan=False) + "\n"
    if arguments.format == "csv":
        return search_data.as_csv(found)
    return as_text(found, space, command, unpriced(arguments.gpu, known))


def limit(text: str) -> float | None:
    """seconds(), or 'none'."""
    return None if text == "none" else seconds(text)


def seconds(text: str) -> float:
    """'2', '2s' or '800ms' as seconds."""
    number, scale = (text[:-2], 1e-3) if text.endswith("ms") else (text.removesuffix("s"), 1.0)
    try:
        found = float(number) * scale
    except ValueError:
        found = nan
    if not 0 < found < inf:
        raise ArgumentTypeError(f"{text[:40]!r} is no time above 0: write 2, 2s or 800ms")
    return found


def price(text: str) -> tuple[str, float]:
    """own_price() as argparse wants it."""
    try:
        return own_price(text)
    except PlanRefused as error:
        raise ArgumentTypeError(str(error)) from None


def chosen_target(arguments: Namespace) -> Target:
    """The target of the flags."""
    try:
        return Target(
            request=Request(
                prompt_tokens=arguments.prompt_tokens,
                output_tokens=arguments.output_tokens,
                cached_tokens=arguments.cached_tokens,
            ),
            concurrency=arguments.concurrency,
            ttft_p95_s=arguments.ttft,
            tpot_s=arguments.tpot,
        )
    except ValidationError as error:
        raise PlanRefused(first_error(error)) from None


def chosen_space(arguments: Namespace) -> Space:
    """The choices that the flags leave open."""
    names = {
        "weights_dtypes": arguments.weights_dtype,
        "kv_cache_dtypes": arguments.kv_cache_dtype,
    }
    if arguments.allow_quantisation:
        names = {
            name: values or usual
            for (name, values), usual in zip(names.items(), (WEIGHTS, CACHES), strict=True)
        }
    given = {name: tuple(values) for name, values in names.items() if values}
    try:
        engines = SERVING if arguments.engine == ANY else (arguments.engine,)
        rings = RINGS if engines == (IDEAL,) else (1,)
        return Space(
            max_gpus=arguments.max_gpus, engines=engines, rings=rings,
            apart=not arguments.together, **given,
        )  # fmt: skip
    except ValidationError as error:
        raise PlanRefused(first_error(error)) from None


def as_text(
    found: "Found",
    space: Space,
    command: "Callable[[Candidate], str | None]",
    missing: tuple[str, ...] = (),
) -> str:
    """The answer for a terminal. command: what starts a candidate's engine, if it has one.
    missing: GPUs left out because nobody gave a price."""
    from planner.admission.rules import label_of
    from planner.search import report

    limits = report.limits(found.target)
    lines = [report.headline(found)]
    started = command(found.winners[0]) if found.winners else None
    lead = "Start it with:\n" if "\n" in (started or "") else "Start it with: "
    lines += [f"{lead}{started}"] if started else []
    lines += [found.note] if found.note else []
    lines += ["Engines tried: " + ", ".join(label_of(engine) for engine in space.engines) + "."]
    lines += [
        "Formats tried: weights " + _names(space.weights_dtypes)
        + "; cache " + _names(space.kv_cache_dtypes)
        + ("." if _lossy(space) else " (--allow-quantisation tries those that lose precision)."),
        f"Limits: {limits or 'none'} (set them with --ttft and --tpot; none lifts one), "
        f"{counted(space.max_gpus, 'GPU')} at most (--max-gpus).",
        "",
    ]  # fmt: skip
    shown = [*found.frontier[:SHOWN], *found.quality_steps]
    if found.winners:
        lines += [
            "Nothing beats these in cost, speed and headroom at once (users: the most that were "
            "tried and kept within the limits; own: as the model is published; tight: the range of "
            "a time crosses its limit):"
        ]
        listed = (*found.frontier[:SHOWN], *found.quality_steps, *found.engine_steps)
        alike = report.shared_formats(listed)
        lines += [f"All with {alike}."] if alike else []

        def line(c: "Candidate") -> str:
            return _line(c, found.target, with_formats=alike is None)

        lines += [line(c) for c in found.frontier[:SHOWN]]
        better = report.next_quality(found)
        lines += ["", better] if better else []
        if len(found.quality_steps) > 1:
            lines += ["", "Cheapest by format of weights and cache:"]
            lines += [line(c) for c in found.quality_steps]
        if len(found.engine_steps) > 1:
            lines += ["", "Cheapest by engine (times are the same kernels'; memory is its own):"]
            lines += [line(c) for c in found.engine_steps]
        dearer = found.dearer(listed)
        if dearer:
            lines += ["", "Also met, on other GPUs:"]
            lines += [
                f"  {report.name(c, with_formats=alike is None)}: "
                f"{report.dearer(c, best, found.target)}"
                for c, best in dearer
            ]
    losers = found.nearest_losers
    if losers:
        lines += ["", "Why the others lost (each GPU's nearest try):"]
        lines += [f"  {report.name(c)}: {report.why(c, found.target)}" for c in losers[:SHOWN]]
        if len(losers) > SHOWN:
            lines.append(f"  and {len(losers) - SHOWN} more GPUs (--format csv lists everything)")
    assumed = report.assumed((*found.winners, *losers))
    lines += ["", assumed] if assumed else []
    left = (*found.unsupported, *report.without_candidates(found, space.engines))
    if left:
        lines += ["", "Not tried:", *(f"  {reason}" for reason in left)]
    if shown:
        lines += ["", "Prices:", *(f"  {line}" for line in report.prices(shown))]
        measured = report.efficiencies(shown, speed_of)
        lines += ["", "Efficiency:", *(f"  {line}" for line in measured)] if measured else []
    if missing:
        lines += [
            "",
            f"Left out for want of a price: {', '.join(missing)}. Give one with "
            "--usd-per-gpu-hour GPU=USD; --marketplace adds marketplace prices.",
        ]
    lines += ["", f"{found.points:,} points tried. Times are estimates: {reference().source}."]
    lines += [SERVER, *([report.AT_ONCE] if report.queues(found.target) else [])]
    lines.append(RATES)
    return "\n".join(lines) + "\n"


def _lossy(space: Space) -> bool:
    return any(name != "auto" for name in (*space.weights_dtypes, *space.kv_cache_dtypes))


def _names(formats: tuple[str, ...]) -> str:
    return ", ".join("the model's own" if name == "auto" else name for name in formats)


def _line(c: "Candidate", target: Target, *, with_formats: bool) -> str:
    from planner.search import report

    return (
        f"  ${c.usd_per_hour:7.2f}/h  TTFT p95 {report.ttft(c, target)}  TPOT "
        f"{report.tpot(c, target)}  {report.users(c)}  "
        f"{report.name(c, with_formats=with_formats, with_batch=True)}"
    )
