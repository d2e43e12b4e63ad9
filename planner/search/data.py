"""A search as plain data, for programs and files."""

import csv
import io
from collections.abc import Callable
from typing import Any

from planner.engines.registry import ENGINES
from planner.search.candidates import Candidate, Found, candidate_cost
from planner.search.report import why
from planner.search.space import IDEAL, Target

SCHEMA_VERSION = 1


def row(candidate: Candidate, target: Target) -> dict[str, Any]:
    """One candidate, a flat record. Seconds, bytes and dollars; None where memory ruled it out."""
    deployment, prompts = candidate.deployment, candidate.prompts
    price = candidate_cost(candidate, target) if candidate.requests_per_s else None
    rate = candidate.requests_per_s
    outputs = None if rate is None else rate * target.request.output_tokens
    return {
        "gpu": candidate.offer.gpu.id,
        "gpus": candidate.gpus,
        "engine": candidate.engine,
        "engine_version": ENGINES[candidate.engine].versions[0] if candidate.engine != IDEAL
        else None,
        "tensor_parallel_size": deployment.tensor_parallel_size,
        "pipeline_parallel_size": deployment.pipeline_parallel_size,
        "data_parallel_size": deployment.data_parallel_size,
        "enable_expert_parallel": deployment.enable_expert_parallel,
        "context_parallel_size": deployment.context_parallel_size,
        "decode_context_parallel_size": deployment.decode_context_parallel_size,
        "prompt_replicas": candidate.prompt_replicas,
        "prompt_tensor_parallel_size": prompts and prompts.tensor_parallel_size,
        "prompt_pipeline_parallel_size": prompts and prompts.pipeline_parallel_size,
        "prompt_max_num_batched_tokens": prompts and prompts.max_num_batched_tokens,
        "transfer_s": candidate.transfer_s,
        "weights_dtype": deployment.weights_dtype,
        "kv_cache_dtype": deployment.kv_cache_dtype,
        "weights_format": candidate.weights,
        "kv_cache_format": candidate.cache,
        "max_num_batched_tokens": deployment.max_num_batched_tokens,
        "efficiency": candidate.basis,
        "speed_assumed": candidate.speed_assumed,
        "time_low": candidate.time_low,
        "time_high": candidate.time_high,
        "usd_per_hour": candidate.usd_per_hour,
        "usd_per_million_input_tokens": None if price is None
        else price.usd_per_million_input_tokens,
        "usd_per_million_output_tokens": None if price is None
        else price.usd_per_million_output_tokens,
        "output_tokens_per_joule": None if price is None else price.output_tokens_per_joule,
        "ttft_s": candidate.ttft_s,
        "ttft_p95_s": candidate.ttft_p95_s,
        "tpot_s": candidate.tpot_s,
        "output_tokens_per_s": outputs,
        "total_bytes_per_gpu": candidate.total_bytes,
        "budget_bytes_per_gpu": candidate.budget_bytes,
        "sequences_admitted_per_replica": candidate.admitted,
        "headroom_bytes_per_gpu": candidate.headroom_bytes,
        "users_within_target": candidate.users,
        "users_is_lower_bound": candidate.users_open,
        "lost": candidate.lost,
        "excess": candidate.excess,
        "price_source": candidate.offer.note,
    }  # fmt: skip


Command = Callable[[Candidate], str | None]


def as_data(found: Found, *, most: int = 20, command: Command | None = None) -> dict[str, Any]:
    """The whole answer; lists are cut to `most` entries, counts are not. command: what starts a
    winner's engine, if it has one."""
    target = found.target

    def full(candidate: Candidate) -> dict[str, Any]:
        started = {} if command is None else {"command": command(candidate)}
        return row(candidate, target) | started

    return {
        "schema_version": SCHEMA_VERSION,
        "target": target.model_dump(),
        "points_tried": found.points,
        "winner_count": len(found.winners),
        "loser_count": len(found.losers),
        "winners": [full(c) for c in found.winners[:most]],
        "frontier": [full(c) for c in found.frontier[:most]],
        "quality_steps": [full(c) for c in found.quality_steps],
        "engine_steps": [full(c) for c in found.engine_steps],
        "nearest_losers": [
            {**row(c, target), "reason": why(c, target)} for c in found.nearest_losers
        ],
        "refusals": sorted({refusal.reason for refusal in found.refusals}),
        "unsupported": list(found.unsupported),
        "note": found.note,
    }


def as_csv(found: Found) -> str:
    """Every candidate, winners first, one a line, with what each loser misses first."""
    rows = [
        row(candidate, found.target) | {"reason": why(candidate, found.target)}
        for candidate in (*found.winners, *found.losers)
    ]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
