"""A replica under steady load: users who send the next request as soon as the last is answered.

Prompts and answers share the GPU: while a prompt is computed in chunks, running answers take one
token with every chunk and wait for it. Short prompts share a chunk. All figures may be arrays.
"""

from dataclasses import dataclass

from planner.timing.elementwise import Number, choose, larger, log, smaller

TAIL = 0.05
"""The part of requests that may be slower than the quoted TTFT: 5 %, so the figure is p95."""


@dataclass(frozen=True, slots=True)
class Load:
    """One replica with so many users. Times in seconds, rates per second.

    utilisation: share of time in which prompts are being computed. saturated: prompts fill all
    the time there is, so requests queue and TTFT is mostly waiting.
    """

    tpot_s: Number
    ttft_p95_s: Number
    cycle_s: Number
    requests_per_s: Number
    utilisation: Number
    prefill_share: Number
    saturated: Number


def steady_load(
    *,
    users: Number,
    output_tokens: int,
    computed_tokens: int,
    chunks: Number,
    prefill_s: Number,
    decode_s: Number,
    cache_s: Number,
    together: Number = 1,
    together_s: Number = 0.0,
    stages: int = 1,
    alone_s: Number | None = None,
) -> Load:
    """The load of `users` on one replica.

    prefill_s: one prompt alone, of which computed_tokens in so many chunks; decode_s: a step of
    all users; cache_s: the part of that step which reads the cache. together: short prompts that
    one chunk has room for, together_s: a chunk full of them.

    Pipeline stages work on as many batches at once, each of which is a replica of its own with its
    part of the users: prefill_s and together_s are then the time that a prompt takes from its
    batch, and alone_s, where given, what it takes from start to end.

    In every output_tokens steps each user's prompt is due once, so that users / output_tokens of
    them meet in a step: n, at least one and at most `together`. The others = users / n - 1 prompts
    of other users are computed while an answer grows. A chunk takes its own time, that of the
    answers of other users which ride along and of the other prompts in it at the chunk's pace per
    token, and cache_s; where prompts queue, only those ride that have begun to answer. In one cycle
    every user's prompt is computed, whose last chunk gives the first token, and every answer grows
    by the rest, one token with each chunk of others and one with each step between them:

        cycle = users / n x chunk + max(0, output_tokens - 1 - others x chunks) x decode
        TPOT = (cycle - own prompt) / (output_tokens - 1)

    A user who is alone so has TPOT = decode and cycle = TTFT + (output_tokens - 1) x TPOT.

    Waiting follows M/D/1 with its exponential tail, as busy as `together` at a time would make it;
    it is at most one chunk while there is room in the next, and never more than all other users'
    prompts.
    """
    batch = -(-users // stages)
    n = smaller(larger(batch / output_tokens, 1.0), together)
    several = together > 1
    beyond = (together_s - prefill_s) / (larger(together - 1, 1) * computed_tokens)
    pace = choose(several, beyond, prefill_s / computed_tokens)
    rest = output_tokens - 1
    riding = chunks * (batch / n - 1)
    own_s = prefill_s + pace * (n - 1) * computed_tokens
    riders = smaller(batch - n, output_tokens * n / chunks)
    prompt_s = own_s + chunks * (pace * riders + cache_s * riders / batch)
    alone = larger(rest - riding, 0)
    cycle = batch / n * prompt_s + alone * decode_s
    saturated = riding > rest * (1 + 1e-9)
    between = (cycle - prompt_s) / rest if rest else decode_s + 0 * cycle
    tpot = choose(saturated, prompt_s / chunks, between)
    busy = batch / n * prompt_s / cycle
    full = waiting(smaller(busy * n / together, 0.999))
    queue = smaller(batch - 1, larger(full, smaller(waiting(smaller(busy, 0.999)), 1.0)))
    through = 1.0 if alone_s is None else alone_s / prefill_s
    queued = prompt_s * (through + queue)
    ttft = choose(saturated, larger(cycle - rest * tpot, queued), queued)
    return Load(
        tpot_s=tpot,
        ttft_p95_s=ttft,
        cycle_s=cycle,
        requests_per_s=users / cycle,
        utilisation=busy,
        prefill_share=batch / n * own_s / cycle,
        saturated=saturated,
    )


def waiting(busy: Number) -> Number:
    """Service times that 95 % of requests wait at most, at this utilisation of an M/D/1 queue.

    Up to one service time P(wait > t) = 1 - (1 - busy) e^(busy t) (Erlang); beyond, the tail is
    (1 - busy) / (busy + d - 1) e^(-d t), where d solves busy (e^d - 1) = d, here by a fit that is
    within 5 % of the root for busy of 0.1 to 0.999.
    """
    decay = -log(busy) * (1.6 + 0.42 * busy)
    tail = log((1 - busy) / (busy + decay - 1) / TAIL) / decay
    short = log((1 - TAIL) / (1 - busy)) / busy
    return larger(choose(short <= 1, short, tail), 0.0)
