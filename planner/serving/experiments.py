"""Claims about serving, run: what comes out for a replica, beside what is claimed, and why.

Each experiment is a saturated replica (all requests wait from the start) or a memory alone.
"""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from planner.errors import PlanRefused
from planner.serving import beams, chats
from planner.serving.replica import Replica, Reserve
from planner.serving.requests import Request, Sampler
from planner.serving.simulator import Result, simulate
from planner.units import format_share

RESERVED = 2048
"""Tokens that contiguous engines reserved in the paper behind the claim (Kwon et al. 2023)."""

CLAIMED_OVER_HF = 24

WHOLE = (
    f"A reservation has the {RESERVED:,} tokens of the paper, or the next power of two that holds "
    "the longest request."
)

LARGE_BLOCK = 128
"""Tokens of the larger blocks of the 1,000 chats."""

RESERVATIONS = 40
"""Whole-length reservations in the memory of the paging experiments, where it is not smaller."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One experiment: the claim and its source, rows of figures, what came out, and why."""

    claim: str
    source: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    found: str
    why: str


def _longest(replica: Replica) -> int:
    """Tokens of the longest request that also fits as one contiguous reservation."""
    blocks = replica.num_blocks - replica.fixed_blocks
    room = blocks * replica.block_size - replica.lookahead
    return min(replica.max_model_len, room // LARGE_BLOCK * LARGE_BLOCK)


def _requests(replica: Replica, prompt: Sampler, output: Sampler, count: int) -> list[Request]:
    """Requests of these lengths that all wait from the start, without those too long to serve."""
    rng = random.Random(1)
    longest = _longest(replica)
    drawn = [Request(0.0, prompt(rng), output(rng)) for _ in range(count)]
    found = [one for one in drawn if one.tokens <= longest]
    if not found:
        raise PlanRefused(
            f"every request is longer than the {max(0, longest):,} tokens that this replica takes: "
            "choose shorter prompts and answers"
        )
    return found


def _reservation(replica: Replica, requests: list[Request]) -> int:
    """Tokens of a whole-length reservation: a power of two with room for the longest request."""
    longest = max(one.tokens for one in requests)
    return min(max(RESERVED, 1 << (longest - 1).bit_length()), _longest(replica))


def _saturated(replica: Replica, requests: Iterable[Request]) -> Result:
    return simulate(requests, replica)


def paged_memory(replica: Replica, prompt: Sampler, output: Sampler) -> Outcome:
    """Blocks on demand against contiguous room: waste, requests at once, throughput."""
    work = _requests(replica, prompt, output, 800)
    room = _reservation(replica, work)
    base = replica.changed(max_model_len=room, prefix_caching=False)
    base = base.changed(num_blocks=min(base.num_blocks, RESERVATIONS * base.blocks(room)))
    kinds: dict[Reserve, str] = {
        "longest": f"contiguous, {room:,} tokens each",
        "power_of_two": "contiguous, next power of two",
        "exact": "contiguous, exact length known",
        "paged": f"blocks of {replica.block_size} on demand",
    }
    found = {name: _saturated(base.changed(reserve=name), work) for name in kinds}
    rows = tuple(
        (label, f"{found[name].running_while_busy:,.1f}",
         format_share(found[name].fragmentation, 1),
         f"{found[name].requests_per_s:,.2f}", f"{found[name].recorder.preemptions:,}")
        for name, label in kinds.items()
    )  # fmt: skip
    more = found["paged"].running_while_busy / found["longest"].running_while_busy
    faster = found["paged"].requests_per_s / found["longest"].requests_per_s
    limit = (
        "max_num_seqs" if found["paged"].recorder.most_running >= base.max_num_seqs else "memory"
    )
    return Outcome(
        "Paging wastes under 4 % of the cache instead of 60 to 80 %, and serves 2 to 4 times as "
        "many requests at once, 4 times the throughput",
        "Kwon et al. 2023, and articles after it",
        ("Memory", "Requests at once", "Slots without a token", "Requests/s", "Preemptions"),
        rows,
        f"{more:.1f} times as many requests at once as reservations of {room:,} tokens, "
        f"{faster:.1f} times the throughput; {format_share(found['paged'].fragmentation, 1)} of "
        f"slots unused against {format_share(found['longest'].fragmentation)}.",
        "The gain is the reserved length over the mean length in use; the paged batch is limited "
        f"by {limit} here, in memory for {RESERVATIONS} reservations at most. {WHOLE} Throughput "
        "grows less than the batch once prompts fill the arithmetic.",
    )


def continuous_batching(replica: Replica, prompt: Sampler, output: Sampler) -> Outcome:
    """New requests as places come free, against whole batches."""
    work = _requests(replica, prompt, output, 1200)
    rows, rates = [], {}
    for size in (8, 32, 128):
        for batching in ("static", "continuous"):
            most = min(size, replica.max_num_seqs)
            one = replica.changed(batching=batching, max_num_seqs=most, prefix_caching=False)
            found = _saturated(one, work)
            rates[size, batching] = found.requests_per_s
            rows.append((f"{batching}, {size} sequences", f"{found.running_while_busy:,.1f}",
                         f"{found.requests_per_s:,.2f}"))  # fmt: skip
    gains = [rates[n, "continuous"] / rates[n, "static"] for n in (8, 32, 128)]
    whole = rates[128, "continuous"] / rates[8, "static"]
    return Outcome(
        "Continuous batching gives 5 to 10 times the throughput of static batching",
        "articles on Orca and vLLM, for typical chats",
        ("Batching", "Requests at once", "Requests/s"),
        tuple(rows),
        f"{min(gains):.1f} to {max(gains):.1f} times at the same batch size; {whole:.1f} times "
        "from static batches of 8 to continuous batches of 128.",
        "A static batch waits for its longest answer, so the gain at one batch size is the longest "
        "answer over the mean one. Larger factors also change the batch size or the memory.",
    )


def both_against_neither(replica: Replica, prompt: Sampler, output: Sampler) -> Outcome:
    """Blocks and continuous batches against whole-length reservations in static batches."""
    work = _requests(replica, prompt, output, 600)
    room = _reservation(replica, work)
    base = replica.changed(max_model_len=room, prefix_caching=False)
    sizes = tuple(min(n, base.max_num_seqs) for n in (1, 4, 8, 16, 32))
    tries = {
        f"static, batches of {size}, {room:,} tokens each": base.changed(
            reserve="longest", batching="static", max_num_seqs=size
        )
        for size in dict.fromkeys(sizes)
    }
    tries[f"continuous, {room:,} tokens each"] = base.changed(reserve="longest")
    tries["continuous, blocks on demand"] = base
    found = {name: _saturated(one, work) for name, one in tries.items()}
    best = found["continuous, blocks on demand"].requests_per_s
    gains = [best / one.requests_per_s for one in found.values()]
    slowest = next(iter(found.values())).requests_per_s
    rows = tuple(
        (
            name,
            f"{one.running_while_busy:,.1f}",
            f"{one.requests_per_s:,.2f}",
            f"{one.requests_per_s / slowest:,.1f}",
        )
        for name, one in found.items()
    )
    near = min(range(len(tries) - 2), key=lambda i: abs(gains[i] - CLAIMED_OVER_HF))
    last = len(tries) - 3
    return Outcome(
        "vLLM yields up to 24 times the throughput of Hugging Face Transformers",
        "an article on attention, after vLLM's announcement of 2023",
        ("Memory and batching", "Requests at once", "Requests/s", "Times as fast"),
        rows,
        f"{gains[0]:.1f} times static batches of one, {gains[last]:.1f} times those of "
        f"{sizes[-1]}; nearest to 24 against batches of {sizes[near]} ({gains[near]:.1f}).",
        "The factor is that of the batch it is compared with: a step of one answer reads all "
        "weights for it. The same kernels are taken on both sides, and prompts without padding; "
        "what else a library does slower is not in it.",
    )


def agent_prefixes(replica: Replica, sessions: int = 60, turns: int = 10) -> Outcome:
    """Agents that send tools and history with every call, with and without prefix caching."""
    tools, grows, answers = 4000, 600, 80

    def after(request: Request, end: float) -> Request | None:
        if request.turn + 1 == turns:
            return None
        prompt = request.tokens + grows
        return Request(end + 0.5, prompt, answers, tools, 0, request.session, request.turn + 1)

    rows, rates = [], []
    for caching in (False, True):
        work = [Request(0.0, tools + grows, answers, tools, 0, s) for s in range(sessions)]
        found = simulate(work, replica.changed(prefix_caching=caching), after=after)
        rates.append(found.requests_per_s)
        rows.append((
            "with prefix caching" if caching else "without", f"{found.requests_per_s:,.2f}",
            format_share(found.found_share), f"{found.ttft.quantile(0.95):,.2f} s",
            f"{found.tpot.quantile(0.5) * 1e3:,.1f} ms",
        ))  # fmt: skip
    return Outcome(
        "Prefix caching routinely gives agents 5 times the throughput",
        "articles on agents with repeated tool prompts",
        ("Prefix cache", "Calls/s", "Prompt tokens found", "TTFT p95", "TPOT p50"),
        tuple(rows),
        f"{rates[1] / rates[0]:.1f} times the calls per second for {sessions} agents of {turns} "
        f"turns ({tools:,} tokens of tools, {grows} more a turn, {answers} answered).",
        "Only prompt work is saved: the bound is all work over what remains, answers and new "
        "tokens. Longer answers or think time lower it, longer histories raise it, and it is lost "
        "when the pool cannot keep the conversations.",
    )


def thousand_chats(replica: Replica, prompt: Sampler, output: Sampler) -> Outcome:
    """1,000 chats of varying length through the replica's memory."""
    drawn = _requests(replica, prompt, output, 1000)
    room = _reservation(replica, drawn)
    work = [(one.prompt_tokens, one.output_tokens) for one in drawn]
    memory = min(replica.num_blocks * replica.block_size, RESERVATIONS * room)
    tries: dict[str, Callable[[], chats.Fragments]] = {
        f"blocks of {size}": lambda size=size: chats.paged(work, memory, size)  # type: ignore[misc]
        for size in (16, LARGE_BLOCK)
    }
    exact = [prompt + output for prompt, output in work]
    tries["contiguous, exact length"] = lambda: chats.contiguous(work, memory, exact)
    tries[f"contiguous, {room:,} tokens"] = lambda: chats.contiguous(
        work, memory, [room] * len(work)
    )
    found = {name: run() for name, run in tries.items()}
    rows = tuple(
        (name, f"{f.at_once:,.1f}",
         *(format_share(share, 1) for share in (f.stored, f.reserved, f.scattered)),
         f"{f.rounds:,}")
        for name, f in found.items()
    )  # fmt: skip
    small, large = found["blocks of 16"], found[f"contiguous, {room:,} tokens"]
    return Outcome(
        "Paging eliminates fragmentation (exercise: 1,000 chats against contiguous allocation)",
        "an exercise in an article on paging",
        ("Memory", "Chats at once", "Stored", "Reserved, empty", "Free, scattered", "Rounds"),
        rows,
        f"{format_share(small.reserved, 1)} of the memory is lost inside blocks of 16, "
        f"{format_share(large.reserved, 1)} in reservations of {room:,} tokens; "
        f"{small.at_once / large.at_once:.1f} times the chats at once.",
        "Inside a block on average half of it is empty, so small is not nothing; free memory is "
        "never scattered with blocks, and is with contiguous room of varying length.",
    )


def beam_sharing(replica: Replica, prompt_tokens: int = 512, output_tokens: int = 256) -> Outcome:
    """Hypotheses over one prompt that share blocks until they write."""
    rows, savings = [], []
    for label, width, descend in (
        ("parallel samples", 4, 0.0), ("beam search", 4, 1.0), ("beam search", 8, 1.0),
    ):  # fmt: skip
        found = beams.beam_search(
            prompt_tokens, output_tokens, width, min(replica.block_size, 4096), descend=descend
        )
        savings.append(found.saving)
        rows.append((f"{label}, {width}", f"{found.mean:,.0f}", f"{found.copied_mean:,.0f}",
                     format_share(found.saving), f"{found.copies:,}"))  # fmt: skip
    return Outcome(
        "Copy-on-write eliminates duplicate storage in beam search and parallel sampling",
        "articles on vLLM; Kwon et al. 2023 saw 38 to 66 % (beams) and 6 to 31 % (samples)",
        ("Hypotheses", "Blocks, shared", "Blocks, own copies", "Saved", "Blocks copied"),
        tuple(rows),
        f"{format_share(savings[0])} saved by 4 samples, {format_share(savings[1])} by 4 beams, "
        f"{format_share(savings[2])} by 8.",
        f"A prompt of {prompt_tokens} is stored once; what samples answer is each one's own, so it "
        "is not eliminated. Beams also share answers, as they descend from few ancestors: here "
        "parents are drawn at random every step, which shares more than a model's scores may.",
    )
