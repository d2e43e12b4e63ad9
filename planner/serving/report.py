"""A simulation as data and as text, and its requests one by one."""

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, fields
from typing import Any

from planner.serving.histogram import Histogram
from planner.serving.metrics import Served, Slo
from planner.serving.replica import BYTES_ALONE, MAX_BLOCKS, Replica
from planner.serving.simulator import Result
from planner.units import counted, format_bytes, format_share

QUANTILES = (0.5, 0.9, 0.95, 0.99)
OVER_TIME = (
    "duration_s", "requests_per_s", "goodput_per_s", "output_tokens_per_s", "mean_queue",
    "mean_running", "block_use", "fragmentation", "prefix_hit_share",
)  # fmt: skip
"""What has no figure where nothing was served."""


def requests_csv(served: Iterable[Served], slo: Slo) -> str:
    """A line for each finished request, in order of arrival; within_slo is 1 or 0."""
    out = io.StringIO()
    names = [f.name for f in fields(Served)]
    writer = csv.DictWriter(out, [*names, "within_slo"], lineterminator="\n")
    writer.writeheader()
    for one in sorted(served, key=lambda s: s.arrival_s):
        kept = one.ttft_s <= slo.ttft_s and one.tpot_s <= slo.tpot_s
        writer.writerow({**asdict(one), "within_slo": int(kept)})
    return out.getvalue()


def as_data(found: Result) -> dict[str, Any]:
    """Everything measured; times in seconds, shares of 1; None where there is no figure."""
    recorder, replica = found.recorder, found.replica
    data = {
        "replicas": found.replicas,
        "pool": {
            "memory": replica.memory,
            "num_blocks": replica.num_blocks,
            "block_size": replica.block_size,
            "block_bytes": replica.block_bytes,
            "kv_cache_bytes": replica.kv_cache_bytes or replica.num_blocks * replica.block_bytes,
            "max_num_seqs": replica.max_num_seqs,
            "max_num_batched_tokens": replica.max_num_batched_tokens,
        },
        "drafting": None
        if not replica.draft_tokens
        else {
            "draft_tokens": replica.draft_tokens,
            "tokens_per_step": replica.tokens_per_step,
            "lookahead": replica.lookahead,
            "how": replica.drafting,
        },
        "requests": {
            "arrived": recorder.arrived_count,
            "finished": found.finished,
            "refused": found.refused,
            "refused_too_long": recorder.too_long_count,
            "refused_by_pool": found.refused - recorder.too_long_count,
            "within_slo": recorder.within_slo,
            "within_ttft": recorder.within_ttft,
            "within_tpot": recorder.within_tpot,
        },
        "slo": {
            "ttft_s": recorder.slo.ttft_s,
            "tpot_s": recorder.slo.tpot_s,
            "share": recorder.slo.share,
            "attained": found.attained,
            "holds": found.holds,
        },
        **{
            name: _spread(h)
            for name, h in (("ttft_s", found.ttft), ("tpot_s", found.tpot), ("e2e_s", found.e2e))
        },
        "duration_s": found.duration_s,
        "requests_per_s": found.requests_per_s,
        "goodput_per_s": found.goodput_per_s,
        "output_tokens_per_s": found.output_tokens_per_s,
        "mean_queue": found.mean_queue,
        "mean_running": found.mean_running,
        "most_running_on_a_replica": recorder.most_running,
        "block_use": found.block_use,
        "most_used_blocks": recorder.most_used_blocks,
        "fragmentation": found.fragmentation,
        "preemptions": recorder.preemptions,
        "prompt_tokens_computed_again": recorder.computed_again_tokens,
        "prefix_hit_share": found.found_share,
        "steps": found.steps,
    }
    return data if found.finished else data | dict.fromkeys(OVER_TIME)


def _spread(of: Histogram) -> dict[str, float | None]:
    found: dict[str, float | None] = {"mean": of.mean}
    found |= {f"p{round(q * 100)}": of.quantile(q) for q in QUANTILES} | {"max": of.largest}
    return found if of.count else dict.fromkeys(found)


def pool(one: Replica) -> str:
    """What requests share on a replica, whose memory that is, and the limits of a batch."""
    if one.memory == BYTES_ALONE:
        whose = "by bytes alone, without what an engine keeps back"
    else:
        whose = f"as {one.memory} gives them"
    if one.kept_blocks:
        whose += f", which keeps {one.kept_blocks:,} of its {one.num_blocks + one.kept_blocks:,}"
    size = one.kv_cache_bytes or one.num_blocks * one.block_bytes
    blocks = f"{counted(one.num_blocks, 'block')} of {counted(one.block_size, 'token')}"
    if one.block_size == MAX_BLOCKS:
        blocks = f"{counted(one.num_blocks, 'state')}, one a request"
    return (
        f"{blocks} ({format_bytes(size)} per GPU) {whose}; at most "
        f"{counted(one.max_num_seqs, 'sequence')} and "
        f"{counted(one.max_num_batched_tokens, 'token')} a step"
    )


def verdict(found: Result) -> str:
    """The answer in a sentence; where it does not hold, in another which limit is missed."""
    if not found.finished:
        return f"Nothing is served: {refusals(found)}."
    recorder, slo = found.recorder, found.recorder.slo
    said = (
        f"{'Holds' if found.holds else 'Does not hold'}: {_attained(found.attained, slo.share)} of "
        f"requests see their first token within {slo.ttft_s:g} s and then a token every "
        f"{slo.tpot_s * 1e3:g} ms (asked: {100 * slo.share:g} %)."
    )
    if found.holds:
        return said
    first, after = (
        format_share(kept / recorder.arrived_count, 1)
        for kept in (recorder.within_ttft, recorder.within_tpot)
    )
    return f"{said} TTFT alone is kept by {first}, TPOT alone by {after}."


def _attained(share: float, asked: float) -> str:
    """With as many places as tell it from what was asked, and from all."""
    for places in range(1, 7):
        said = float(f"{100 * share:.{places}f}")
        if (said >= 100 * asked) == (share >= asked) and (said < 100 or share == 1):
            break
    return format_share(share, places)


def refusals(found: Result) -> str:
    """How many requests are refused, and by which limit; nothing where none is."""
    if not found.refused:
        return ""
    one, too_long = found.replica, found.recorder.too_long_count
    longest, room = one.max_model_len, one.num_blocks * one.block_size
    limits = (
        (too_long, f"longer than the model's limit of {longest:,} tokens (max_model_len)"),
        (found.refused - too_long, f"needing more than the pool's {room:,} tokens"),
    )
    why = [text if n == found.refused else f"{n:,} {text}" for n, text in limits if n]
    arrived = counted(found.recorder.arrived_count, "request")
    return f"{found.refused:,} of {arrived} refused, {', '.join(why)}"


def as_text(found: Result) -> str:
    """The simulation for a terminal."""
    recorder = found.recorder
    lines = [verdict(found)]
    if found.finished and found.refused:
        lines.append(f"{refusals(found)}.")
    lines.append(f"One replica: {pool(found.replica)}.")
    if found.replica.drafting:
        lines.append(f"Drafting: {found.replica.drafting}.")
    if not found.finished:
        return "\n".join(lines) + "\n"
    lines.append("")
    for name, h, scale, unit in (
        ("TTFT", found.ttft, 1.0, "s"),
        ("TPOT", found.tpot, 1e3, "ms"),
        ("E2E", found.e2e, 1.0, "s"),
    ):
        if not h.count:
            lines.append(f"  {name}  none: every answer is one token")
            continue
        each = "  ".join(f"p{round(q * 100)} {h.quantile(q) * scale:,.3f}" for q in QUANTILES)
        lines.append(f"  {name}  mean {h.mean * scale:,.3f}  {each}  {unit}")
    lines += [
        "",
        f"  {counted(found.finished, 'request')} in {found.duration_s:,.1f} s on "
        f"{counted(found.replicas, 'replica')}: {found.requests_per_s:,.2f} a second, "
        f"{found.goodput_per_s:,.2f} within the SLO, {found.output_tokens_per_s:,.0f} tokens/s",
        f"  queue {found.mean_queue:,.2f} on average, running {found.mean_running:,.1f}, at most "
        f"{recorder.most_running:,} on a replica",
        f"  blocks {format_share(found.block_use, 1)} in use, "
        f"{format_share(found.fragmentation, 1)} of their slots empty, "
        f"{counted(recorder.preemptions, 'preemption')}, "
        f"{format_share(found.found_share, 1)} of prompt tokens found in the prefix cache",
    ]
    return "\n".join(lines) + "\n"
