"""`latency`: how fast one deployment is, what binds it, what it costs and what to choose."""

import json
from argparse import ArgumentParser, Namespace
from dataclasses import asdict, dataclass
from typing import Any

from cli import deployment_flags, long_contexts
from cli.deployment_flags import chosen_deployment, chosen_gpu, tokens
from cli.engine_flags import draft_of, speculative_config
from cli.search_command import chosen_target
from cli.source import read_model
from planner.cost import Cost, cost, tokens_per_joule
from planner.engines.drafter import check_fits
from planner.guide import guide
from planner.guide.case import Decision
from planner.guide.drafted import Drafted, drafted
from planner.guide.speculation import speculation
from planner.hf_config import parse
from planner.long_context import LengthCost, RingCost, costs, ring_cost
from planner.model import Model
from planner.offer import Offer
from planner.positions import reach
from planner.timing.breakdown import Time
from planner.timing.drafting import drafter_for
from planner.timing.latency import SERVER, Latency
from planner.timing.queueing import Queued, queued
from planner.timing.speculation import ACCEPTANCE
from planner.units import counted
from presets.offers import cheapest_offer
from presets.speed import speed_of

FORMATS = ("text", "json")
ALONE = (
    "Users are counted by bytes alone; an engine keeps some memory back and may run fewer at once: "
    "plan --engine vllm says how many."
)
CAUSES = {
    "arithmetic": "arithmetic",
    "weights": "reading weights",
    "kv_cache": "reading the KV cache",
    "activations": "moving activations",
    "launches": "starting kernels",
    "links": "the links between GPUs",
}


@dataclass(frozen=True, slots=True)
class Energy:
    """Power of one GPU, and output tokens for each joule of all of them."""

    watts_per_gpu: float
    output_tokens_per_joule: float


def add_to(parser: ArgumentParser) -> None:
    """The command's flags."""
    deployment_flags.add_to(parser)
    for name, default, help_text in (
        ("--prompt-tokens", 8192, "of a request, such as 8192 or 8k"),
        ("--output-tokens", 1024, "of an answer"),
        ("--cached-tokens", 0, "prompt tokens found in the prefix cache"),
        ("--concurrency", 1, "users at once; each asks again when answered"),
    ):
        reader = tokens if name.endswith("-tokens") else int
        parser.add_argument(name, type=reader, default=default, metavar="N", help=help_text)
    parser.add_argument("--speculative-config", metavar="JSON", help="as vLLM takes it; a head "
                        "without a model is taken to be one of the model's own shape")  # fmt: skip
    parser.add_argument("--acceptance", type=float, metavar="A",
                        help="of each draft token, 0 to 1; 0.7 is assumed")  # fmt: skip
    parser.add_argument(
        "--usd-per-gpu-hour", type=float, metavar="USD", help="else the cheapest listed, whole lots"
    )
    parser.add_argument("--watts", type=float, metavar="W", help="measured per GPU, else its limit")
    parser.add_argument("--lengths", type=long_contexts.lengths, default=(), metavar="N,N",
                        help="one sequence alone at each of these, as 8k,32k")  # fmt: skip
    parser.add_argument("--format", choices=FORMATS, default="text")
    parser.set_defaults(run=run, ttft=None, tpot=None)


def run(arguments: Namespace) -> str:
    """The times in the chosen format."""
    model, gpu = parse(read_model(arguments.model), arguments.model), chosen_gpu(arguments)
    deployment, target = chosen_deployment(arguments), chosen_target(arguments)
    speed = speed_of(gpu)
    case = queued(model, gpu, deployment, speed, target.request, target.concurrency)
    found = case.now
    price, energy = _price(arguments, found), _energy(arguments, found)
    acceptance = ACCEPTANCE if arguments.acceptance is None else arguments.acceptance
    speculated = speculation(found, model, acceptance)
    drafts = _drafted(arguments, model, case)
    decisions: tuple[Decision, ...] = ()
    if case.at_once:
        decisions = guide(
            model, gpu, deployment, speed, target.request, case.at_once,
            asked=target.concurrency, acceptance=acceptance,
        )  # fmt: skip
    ring = ring_cost(model, gpu, deployment, speed, target.request.prompt_tokens)
    lengths = costs(model, gpu, deployment, speed, arguments.lengths)
    if arguments.format == "json":
        data = {
            **as_data(case, price, energy, decisions),
            "speculation": asdict(speculated),
            "drafting": None if drafts is None else drafting_data(drafts),
            "ring": None if ring is None else asdict(ring),
            "reach": asdict(reach(model)),
            "lengths": [asdict(length) for length in lengths],
        }
        return json.dumps(data, indent=1, allow_nan=False) + "\n"
    return as_text(case, price, energy, decisions, drafts, ring, lengths)


def _drafted(arguments: Namespace, model: Model, case: Queued) -> Drafted | None:
    """What --speculative-config gives."""
    config = speculative_config(arguments.speculative_config)
    if config is None:
        return None
    tokens = config.num_speculative_tokens
    draft = draft_of(config)
    if draft is not None:
        check_fits(draft, model, config.method)
    return drafted(
        case.now, model, drafter_for(model, config.method, draft, tokens), tokens,
        arguments.acceptance, case.plan.max_concurrency,
    )  # fmt: skip


def drafting_data(of: Drafted) -> dict[str, Any]:
    """What drafting gives, by number of users as well; low_s and high_s bound tpot_s."""
    low, high = of.range_s
    return {
        "drafter": of.drafter.label,
        "acceptance": of.acceptance,
        "acceptance_assumed": of.assumed,
        **asdict(of.at_once),
        "low_s": low,
        "high_s": high,
        "by_users": {users: asdict(found) for users, found in of.by_users.items()},
        "followed_to_users": of.most,
        "loses_from_users": of.loses_from,
    }


@dataclass(frozen=True, slots=True)
class Priced:
    """What it costs, and at which price."""

    cost: Cost
    offer: Offer


def _price(arguments: Namespace, found: Latency) -> Priced | None:
    gpus = found.deployment.gpus
    offer = cheapest_offer(found.gpu, gpus, arguments.usd_per_gpu_hour)
    if offer is None:
        return None
    bill = cost(
        usd_per_hour=offer.usd_per_hour(gpus),
        gpus=gpus,
        requests_per_s=found.requests_per_s,
        prompt_tokens=found.request.prompt_tokens,
        output_tokens=found.request.output_tokens,
        prefill_share=float(found.load.prefill_share),
        watts_per_gpu=_watts(arguments, found),
    )
    return Priced(bill, offer)


def _watts(arguments: Namespace, found: Latency) -> float | None:
    return found.gpu.tdp_w if arguments.watts is None else arguments.watts


def _energy(arguments: Namespace, found: Latency) -> Energy | None:
    watts = _watts(arguments, found)
    if watts is None:
        return None
    gpus = found.deployment.gpus
    return Energy(watts, tokens_per_joule(found.output_tokens_per_s, gpus, watts))


def as_data(
    case: Queued, price: Priced | None, energy: Energy | None, decisions: tuple[Decision, ...]
) -> dict[str, Any]:
    """Seconds, ratios and dollars; a time with its range, its bound and what it goes into.

    Times are those of users_at_once; where that is 0, of all users as if memory held them.
    """
    found, plan = case.now, case.plan

    def time(of: Time) -> dict[str, Any]:
        return {**asdict(of), "binds": of.binds}

    return {
        "schema_version": 1,
        "gpu": found.gpu.id,
        "deployment": found.deployment.model_dump(),
        "request": found.request.model_dump(),
        "concurrency": plan.workload.concurrency,
        "memory": {
            "fits": plan.fits,
            "total_bytes_per_gpu": plan.total_bytes_per_gpu,
            "users_at_once": case.at_once,
            "wait_s": case.wait_s,
            "notes": list(case.sentences),
        },
        "ttft": time(found.ttft),
        "tpot": time(found.tpot),
        "under_load": {
            "ttft_p95_s": float(found.load.ttft_p95_s),
            "tpot_s": float(found.load.tpot_s),
            "requests_per_s": found.requests_per_s,
            "output_tokens_per_s": found.output_tokens_per_s,
            "output_tokens_per_s_per_gpu": found.output_tokens_per_s_per_gpu,
            "prefill_utilisation": float(found.load.utilisation),
            "saturated": bool(found.load.saturated),
        },
        "mfu_prefill": found.mfu_prefill,
        "mfu_decode": found.mfu_decode,
        "mbu_decode": found.mbu_decode,
        "ridge_flops_per_byte": found.ridge_flops_per_byte,
        "intensity_decode_flops_per_byte": found.intensity_decode,
        "cost": None if price is None else _bill(price, found.deployment.gpus),
        "energy": None if energy is None else asdict(energy),
        "decisions": [asdict(decision) for decision in decisions],
        "speed_source": found.speed.source_for(plan.model),
    }


def _bill(price: Priced, gpus: int) -> dict[str, Any]:
    offer = price.offer
    return asdict(price.cost) | {
        "usd_per_gpu_hour": offer.usd_per_gpu_hour, "gpus_charged": offer.charged(gpus),
        "price_source": offer.note,
    }  # fmt: skip


def as_text(
    case: Queued,
    price: Priced | None,
    energy: Energy | None,
    decisions: tuple[Decision, ...],
    drafts: Drafted | None = None,
    ring: RingCost | None = None,
    lengths: tuple[LengthCost, ...] = (),
) -> str:
    """The answer for a terminal; what does not fit comes before its times."""
    found = case.now
    load, gpu, roofs = found.load, found.gpu, found.speed.roofs
    lines = [
        f"{found.deployment.gpus} × {found.gpu.name}, "
        f"{counted(case.plan.workload.concurrency, 'user')} at "
        f"{found.request.prompt_tokens:,} + {found.request.output_tokens:,} tokens",
        *case.sentences,
        "",
        f"TTFT alone   {_range(found.ttft)}  mostly {CAUSES[found.ttft.binds]}",
        f"TPOT alone   {_range(found.tpot)}  mostly {CAUSES[found.tpot.binds]}",
        f"under load   TTFT p95 {1e3 * float(load.ttft_p95_s):,.0f} ms, TPOT "
        f"{1e3 * float(load.tpot_s):,.1f} ms, {found.requests_per_s:,.3g} requests/s",
        f"throughput   {found.output_tokens_per_s:,.0f} tokens/s, "
        f"{found.output_tokens_per_s_per_gpu:,.0f} per GPU",
        f"utilisation  MFU {_share(found.mfu_prefill, found.peak_flops_per_s, 'FLOP/s')} "
        "in prefill, "
        f"MBU {_share(found.mbu_decode, gpu.memory_bandwidth_bytes_per_s, 'B/s')} in decode",
        f"ridge        {found.ridge_flops_per_byte:.0f} FLOP/B, of what is reached: "
        f"{_rate(found.reached_flops_per_s, 'FLOP/s')} / {_rate(roofs.read_bytes_per_s, 'B/s')}; "
        f"a decode step has {found.intensity_decode:.0f}",
    ]
    if price is not None:
        lines.append(
            f"cost         ${price.cost.usd_per_hour:.2f} an hour, "
            f"${price.cost.usd_per_million_input_tokens:.2f} in and "
            f"${price.cost.usd_per_million_output_tokens:.2f} out per million tokens"
        )
        lines.append(f"price        {price.offer.words(found.deployment.gpus)}")
    if energy is not None:
        lines.append(
            f"energy       {energy.output_tokens_per_joule:.2g} tokens per joule at "
            f"{energy.watts_per_gpu:,g} W per GPU"
        )
    if ring is not None:
        lines.append(f"ring         {long_contexts.ring_line(ring)}")
    lines += long_contexts.table(lengths)
    if drafts is not None:
        lines += ["", "Drafting, without other prompts beside it:"]
        lines += [f"  {sentence}" for sentence in drafts.sentences]
        lines.append("  users  " + "  ".join(f"{n:>5,}" for n in drafts.by_users))
        each = "  ".join(f"{found.speedup:>5.2f}" for found in drafts.by_users.values())
        lines.append("  times  " + each)
        lines.append("  The draft's own memory is not taken off: plan --engine vllm does that.")
    if decisions:
        lines += ["", "What to choose, and the figure that decides:"]
    lines += [f"  {d.topic}: {d.choice} ({d.because})" for d in decisions]
    lines += ["", f"Times are estimates: {found.speed.source_for(case.plan.model)}.", SERVER, ALONE]
    return "\n".join(lines) + "\n"


def _range(of: Time) -> str:
    return f"{1e3 * of.seconds:9,.1f} ms ({1e3 * of.low_s:,.1f} to {1e3 * of.high_s:,.1f})"


def _share(share: float | None, peak: int | None, unit: str) -> str:
    if share is None or peak is None:
        return "unknown"
    return f"{100 * share:.0f} % of the published {_rate(peak, unit)}"


def _rate(per_s: float, unit: str) -> str:
    tera = per_s / 1e12
    return f"{tera:,.0f} T{unit}" if tera >= 100 else f"{tera:.3g} T{unit}"
