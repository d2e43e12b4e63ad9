"""A replica under steady load: users who send the next request as soon as the last is answered.

Prompts and answers share the GPU: while a prompt is computed in chunks, running answers take one
token with every chunk and wait for it. All figures may be arrays.
"""

from dataclasses import dataclass

from planner.timing.elementwise import Number, choose, larger, log, smaller

TAIL = 0.05
"""The part of requests that may be slower than the quoted TTFT: 5 %, so the figure is p95."""


@dataclass(frozen=True, slots=True)
class Load:
    """One replica with so many users. Times in seconds, rates per second.

    utilisation: share of time in which a prompt is being computed. saturated: prompts fill all
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
) -> Load:
    """The load of `users` on one replica.

    prefill_s: one prompt alone, of which computed_tokens in so many chunks; decode_s: a step of
    all users; cache_s: the part of that step which reads the cache. A chunk that carries `users`
    answers takes its own time, theirs at the prompt's pace per token, and cache_s. In one cycle
    every user's prompt is computed once and every answer grows by output_tokens:

        cycle = users x prompt + max(0, output_tokens - users x chunks) x decode

    Waiting follows M/D/1 with its exponential tail, and never exceeds all other users' prompts.
    """
    riding = chunks * users
    prompt_s = prefill_s * (1 + riding / computed_tokens) + chunks * cache_s
    alone = larger(output_tokens - riding, 0)
    cycle = users * prompt_s + alone * decode_s
    saturated = riding >= output_tokens
    tpot = choose(saturated, prompt_s / chunks, cycle / output_tokens)
    busy = users * prompt_s / cycle
    queue = smaller(users - 1, waiting(smaller(busy, 0.999)))
    queued = prompt_s * (1 + queue)
    ttft = choose(saturated, larger(cycle - output_tokens * tpot, queued), queued)
    return Load(
        tpot_s=tpot,
        ttft_p95_s=ttft,
        cycle_s=cycle,
        requests_per_s=users / cycle,
        utilisation=busy,
        prefill_share=users * prefill_s / cycle,
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
