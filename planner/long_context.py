"""What a long context costs: memory, time, and what a ring of GPUs passes around.

    costs(model, gpu, deployment, speed, (8192, 131072))
    ring_cost(model, gpu, deployment, speed, 1_048_576)

How far a model reaches at all is in positions.py.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from planner.deployment import Deployment
from planner.footprint import footprint
from planner.hardware import Gpu
from planner.model import Model
from planner.parallelism import ring
from planner.timing.breakdown import decode_time, prefill_time, timer
from planner.timing.collectives import link_between, send_s
from planner.timing.passes import attention_share, decode_pass, prefill_pass
from planner.timing.speed import Speed


@dataclass(frozen=True, slots=True)
class LengthCost:
    """One sequence of `tokens`: cache over the whole model, a prompt, a step, and their growth.

    attention_share: the part of the prompt's FLOPs that is attention.
    """

    tokens: int
    cache_bytes: int
    prefill_s: float
    decode_s: float
    attention_share: float


def costs(
    model: Model, gpu: Gpu, deployment: Deployment, speed: Speed, lengths: Iterable[int]
) -> tuple[LengthCost, ...]:
    """What one sequence of each length costs alone."""
    compiled = footprint(model, gpu, deployment)
    found = []
    for tokens in lengths:
        prompt = prefill_pass(model, deployment, tokens)
        step = decode_pass(model, deployment, 1, tokens)
        found.append(
            LengthCost(
                tokens=tokens,
                cache_bytes=compiled.state_bytes + sum(t.bytes(tokens) for t in compiled.terms),
                prefill_s=prefill_time(prompt, gpu, deployment, speed).seconds,
                decode_s=decode_time(step, gpu, deployment, speed).seconds,
                attention_share=attention_share(model, deployment, tokens),
            )
        )
    return tuple(found)


@dataclass(frozen=True, slots=True)
class RingCost:
    """A prompt around a ring of `ranks` GPUs, per GPU and over all layers.

    plain_slowdown: how much longer contiguous blocks take than striped ones, because under a
    causal mask every step waits for the rank that has a whole block to compute. exposed_s is the
    sending that attention does not hide.
    """

    ranks: int
    sent_bytes: int
    send_s: float
    attention_s: float
    exposed_s: float
    plain_slowdown: float


def ring_cost(
    model: Model, gpu: Gpu, deployment: Deployment, speed: Speed, tokens: int
) -> RingCost | None:
    """The ring of `deployment`, None without one. Sources: Liu et al. 2023; Brandon et al. 2023."""
    ranks = deployment.context_parallel_size
    if ranks == 1:
        return None
    compiled = footprint(model, gpu, deployment.replace(context_parallel_size=1))
    sent = 0
    steps = 0
    for stage in compiled.stages:
        per_token = sum(term.bytes_per_entry // term.stride for term in stage.terms)
        passed = ring(per_token, tokens, ranks)
        sent = max(sent, passed.bytes_per_layer)
        steps = max(steps, passed.steps * len(stage.layers))
    link = link_between(gpu, ranks * deployment.tensor_parallel_size)
    sending = steps * float(send_s(sent / steps, link))
    whole = deployment.replace(max_num_batched_tokens=tokens)
    prompt = prefill_pass(model, whole, tokens)
    clock = timer(gpu, deployment, speed)
    attention = max(clock.kernels_s(stage.attention) for stage in prompt.chunks[-1][1])
    return RingCost(
        ranks=ranks,
        sent_bytes=sent,
        send_s=sending,
        attention_s=attention,
        exposed_s=max(0.0, sending - attention),
        plain_slowdown=(2 * ranks - 1) / ranks,
    )
