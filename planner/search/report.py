"""A search in words, for the page and the command line."""

from collections.abc import Callable, Iterable

from planner.admission.rules import label_of
from planner.deployment import Deployment
from planner.engines.registry import ENGINES
from planner.fixes import layout
from planner.formats.format_support import weights_support
from planner.hardware import Gpu
from planner.search.candidates import Candidate, Found, candidate_cost
from planner.search.space import IDEAL, Target
from planner.timing.speed import UNMEASURED, Speed
from planner.units import ceil_div, counted, format_bytes

AT_ONCE = (
    "Each user asks again as soon as the last answer ends: a GPU that answers faster is asked more "
    "often, and a prompt may wait longer there."
)
"""Why a faster GPU can miss a limit on the first token that a slower one keeps."""


ASSUMED = (
    "Speed assumed: {} has the times of the other engines' kernels here, which it is not known to "
    "reach with many users, so it beats no other engine by them."
)


def assumed(candidates: Iterable[Candidate]) -> str | None:
    """What the speed of some of them rests on, None where all is known."""
    names = {ENGINES[c.engine].label for c in candidates if c.speed_assumed}
    return ASSUMED.format(" and ".join(sorted(names))) if names else None


def queues(target: Target) -> bool:
    """Whether users wait for each other, and a limit holds for the wait."""
    return target.ttft_p95_s is not None and target.concurrency > 1


def name(candidate: Candidate, *, with_formats: bool = True, with_batch: bool = False) -> str:
    """'4 × H200 SXM 141GB, tensor parallel 4, weights fp8, cache bf16 (own), vLLM'.

    own: the model's own format, nothing converted. with_batch: also the batch that its times and
    users rest on, which may be all that sets two rows apart.
    """
    deployment = candidate.deployment
    gpu = candidate.offer.gpu
    parts = [f"{candidate.gpus} × {gpu.name}"]
    if gpu.machine_gpus is not None and candidate.gpus > gpu.joined_gpus:
        joined = "machines" if gpu.link_domain_gpus is None else "racks"
        parts.append(f"{ceil_div(candidate.gpus, gpu.joined_gpus)} {joined} over a network")
    if candidate.prompts is not None:
        prompts, count = candidate.prompts, candidate.prompt_replicas
        parts.append(
            f"{count * prompts.gpus} for prompts ({spread_over(prompts, count)}) and "
            f"{deployment.gpus} for answers "
            f"({spread_over(deployment, deployment.data_parallel_size)})"
        )
    else:
        parts.append(spread_over(deployment, deployment.data_parallel_size))
    if with_batch:
        parts.append(f"batches of {deployment.max_num_batched_tokens:,} tokens")
    if with_formats:
        parts.append(formats(candidate))
    if candidate.engine != IDEAL:
        parts.append(ENGINES[candidate.engine].label)
    if candidate.speed_assumed:
        parts.append("speed assumed")
    if candidate.basis == "unmeasured":
        parts.append(f"{UNMEASURED}: slow end")
    return ", ".join(parts)


def formats(candidate: Candidate) -> str:
    """'weights fp8, cache bf16 (own)'."""
    deployment, own = candidate.deployment, "auto"
    weights = candidate.weights + (" (own)" if deployment.weights_dtype == own else "")
    if weights_support(candidate.offer.gpu, candidate.weights) == "weight-only":
        weights += " weight-only"
    cache = candidate.cache + (" (own)" if deployment.kv_cache_dtype == own else "")
    return f"weights {weights}, cache {cache}"


def shared_formats(candidates: Iterable[Candidate]) -> str | None:
    """The formats of all of them where they agree."""
    found = {formats(candidate) for candidate in candidates}
    return found.pop() if len(found) == 1 else None


def ttft(candidate: Candidate, target: Target) -> str:
    """'0.73 s (0.62 to 0.91)': TTFT p95 with its range, 'tight' where that crosses the limit."""
    return _ranged(candidate, candidate.ttft_p95_s or 0.0, target.ttft_p95_s, 1.0, 2, "s")


def tpot(candidate: Candidate, target: Target) -> str:
    """TPOT likewise, in ms."""
    return _ranged(candidate, candidate.tpot_s or 0.0, target.tpot_s, 1e3, 1, "ms")


def _ranged(
    candidate: Candidate, seconds: float, limit: float | None, scale: float, digits: int, unit: str
) -> str:
    low, high = seconds * candidate.time_low, seconds * candidate.time_high
    tight = limit is not None and low <= limit < high
    return (
        f"{seconds * scale:.{digits}f} {unit} ({low * scale:.{digits}f} to "
        f"{high * scale:.{digits}f}{', tight' if tight else ''})"
    )


def dearer(winner: Candidate, best: Candidate, target: Target) -> str:
    """Why a card that meets the target is not among the first."""
    than = f"{best.gpus} × {best.offer.gpu.name} at ${best.usd_per_hour:.2f}"
    more = f"dearer than {than}" if winner.usd_per_hour > best.usd_per_hour else f"as {than}"
    if winner.usd_per_hour < best.usd_per_hour:
        more = f"cheaper than {than} if the speed assumed of it holds"
    return (
        f"meets it at ${winner.usd_per_hour:.2f}, {more}; TTFT p95 {ttft(winner, target)}, "
        f"TPOT {tpot(winner, target)}"
    )


def spread_over(deployment: Deployment, replicas: int) -> str:
    """'tensor parallel 2, 3 replicas' and what else splits the work."""
    parts = [layout(deployment)]
    if replicas > 1:
        parts.append(counted(replicas, "replica"))
    if deployment.context_parallel_size > 1:
        parts.append(f"prompts in a ring of {deployment.context_parallel_size}")
    if deployment.decode_context_parallel_size > 1:
        parts.append(f"decode context parallel {deployment.decode_context_parallel_size}")
    if deployment.enable_expert_parallel:
        parts.append("expert parallel")
    return ", ".join(parts)


def users(candidate: Candidate) -> str:
    """'at least 32 users' where nobody tried more, else 'about 24 users' of those steps."""
    if candidate.users_open:
        return f"at least {counted(candidate.users, 'user')}"
    return f"about {counted(candidate.users, 'user')}"


def limits(target: Target) -> str:
    """'TTFT p95 within 2 s and TPOT within 40 ms', empty without limits."""
    parts = []
    if target.ttft_p95_s is not None:
        parts.append(f"TTFT p95 within {target.ttft_p95_s:g} s")
    if target.tpot_s is not None:
        parts.append(f"TPOT within {1e3 * target.tpot_s:g} ms")
    return " and ".join(parts)


def prices(candidates: Iterable[Candidate]) -> tuple[str, ...]:
    """The price of each GPU among them, with its date and source."""
    found = {
        (
            c.offer.gpu.id,
            c.offer.lot,
            c.offer.usd_per_gpu_hour,
        ): f"{c.offer.gpu.name}: {c.offer.words()}"
        for c in candidates
    }
    return tuple(found.values())


def efficiencies(candidates: Iterable[Candidate], speed: Callable[[Gpu], Speed]) -> tuple[str, ...]:
    """Where the times of each GPU among them are from, unless they are the reference card's."""
    gpus = {c.offer.gpu.id: c.offer.gpu for c in candidates if c.basis != "borrowed"}
    return tuple(speed(gpu).source.partition("; kernels shaped")[0] for gpu in gpus.values())


def why(candidate: Candidate, target: Target) -> str:
    """What a loser misses first, with the figure and the limit."""
    if candidate.lost is None:
        return "meets the target"
    if candidate.lost == "memory":
        return _short(candidate, target)
    if candidate.lost == "ttft":
        figure, limit = candidate.ttft_p95_s or 0.0, target.ttft_p95_s or 0.0
        return f"TTFT p95 {figure:.2f} s, {_over(figure / limit)} the {limit:g} s allowed"
    figure, limit = candidate.tpot_s or 0.0, target.tpot_s or 0.0
    return f"TPOT {figure * 1e3:.1f} ms, {_over(figure / limit)} the {limit * 1e3:g} ms allowed"


def _over(ratio: float) -> str:
    """'2.3 times', or in words where the first digit would say 1.0."""
    return "just over" if ratio < 1.05 else f"{ratio:.1f} times"


def _short(candidate: Candidate, target: Target) -> str:
    """How much memory is missing: in bytes, and in sequences where an engine counts them."""
    short = f"{format_bytes(-candidate.headroom_bytes)} short on the fullest GPU"
    if candidate.engine == IDEAL:
        return f"memory: {short}"
    asked = ceil_div(target.concurrency, candidate.deployment.data_parallel_size)
    runs = f"memory: it runs {candidate.admitted:,} of {counted(asked, 'sequence')} at once"
    return runs if candidate.headroom_bytes >= 0 else f"{runs}, {short}"


def without_candidates(found: Found, engines: Iterable[str]) -> tuple[str, ...]:
    """Of the engines tried, those that took nothing at all, each with its first reason."""
    used = {c.engine for c in (*found.winners, *found.losers)}
    lines = []
    for engine in engines:
        if engine not in used:
            start = label_of(engine)
            lines += [r.reason for r in found.refusals if r.reason.startswith(start)][:1]
    return tuple(lines)


def headline(found: Found) -> str:
    """The answer in a sentence."""
    target = found.target
    ask = (
        f"{counted(target.concurrency, 'user')} at {target.request.prompt_tokens:,} + "
        f"{target.request.output_tokens:,} tokens"
    )
    if limits(target):
        ask += f" with {limits(target)}"
    if not found.winners:
        nearest = found.losers[0] if found.losers else None
        if nearest is None:
            return f"Nothing that was tried can hold this model for {ask}."
        return f"Nothing serves {ask}; nearest is {name(nearest)}: {why(nearest, target)}."
    best = found.winners[0]
    price = candidate_cost(best, target)
    return (
        f"${best.usd_per_hour:.2f} an hour serves {ask}: {name(best)}. TTFT p95 "
        f"{ttft(best, target)}, TPOT {tpot(best, target)}, "
        f"${price.usd_per_million_input_tokens:.2f} in and "
        f"${price.usd_per_million_output_tokens:.2f} out per million tokens."
    )


def next_quality(found: Found) -> str | None:
    """What keeping more bits than the cheapest winner costs, None where it keeps the most."""
    if not found.winners:
        return None
    best = found.winners[0]
    kept = (best.deployment.weights_dtype, best.deployment.kv_cache_dtype)
    for other in found.quality_steps[1:]:
        mine = (other.deployment.weights_dtype, other.deployment.kv_cache_dtype)
        if all(m in (k, "auto") for m, k in zip(mine, kept, strict=True)):
            more = other.usd_per_hour - best.usd_per_hour
            return f"More precise for ${more:.2f} an hour more: {name(other)}."
    return None
