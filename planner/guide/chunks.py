"""How many tokens a step may take: prompts in chunks hold answers up for less, and take longer."""

from planner.deployment import Deployment
from planner.guide.case import WORTH, Case, Decision, worth
from planner.timing.breakdown import timer
from planner.timing.passes import PrefillPass, decode_pass, prefill_pass
from planner.units import counted

TOPIC = "prompt chunks"
SIZES = tuple(2**e for e in range(9, 16))


def prompt_chunks(case: Case) -> Decision:
    """The fewest tokens a step with which a prompt takes at most a tenth longer than at best."""
    if case.now.users_per_replica == 1:
        why = "one user has no answer that a prompt of others could hold up"
        return Decision(TOPIC, "no matter", why, 1.0)
    own = case.deployment.max_num_batched_tokens
    found = {}
    for size in sorted({own, *SIZES}):
        tried = case.tried(case.deployment.replace(max_num_batched_tokens=size))
        if tried is not None and (size == own or size > case.now.users_per_replica):
            found[size] = tried[0]
    if not found:
        return Decision(TOPIC, "as it is", "nothing else suits the model and the card", 1.0)
    best = min(times.ttft.seconds for times in found.values())
    size = min(n for n, times in found.items() if times.ttft.seconds <= WORTH * best)
    now, then = (
        case.deployment.replace(max_num_batched_tokens=n) for n in (own, size)
    )  # fmt: skip
    pause, shorter = longest_step_s(case, now), longest_step_s(case, then)
    slower = case.now.ttft.seconds / found[size].ttft.seconds
    gain = max(pause / shorter, slower)
    taken = gain > WORTH and size != own
    why = (
        f"with {counted(size, 'token')} a step an answer waits {1e3 * shorter:.0f} ms at most for "
        f"a prompt's chunk and a prompt alone takes {1e3 * found[size].ttft.seconds:.0f} ms"
    )
    if size != own:
        why += (
            f", against {1e3 * pause:.0f} ms and {1e3 * case.now.ttft.seconds:.0f} ms with {own:,}"
            f"{worth(gain)}"
        )
    return Decision(
        TOPIC, f"max_num_batched_tokens {size:,}" if taken else f"{own:,}, as it is", why, gain
    )


def longest_step_s(case: Case, deployment: Deployment) -> float:
    """The longest chunk of a prompt with the answers that ride in it: a token's longest wait."""
    clock = timer(case.gpu, deployment, case.speed)
    request, users = case.request, case.now.users_per_replica
    prompt = prefill_pass(case.model, deployment, request.prompt_tokens, request.cached_tokens)
    answers = decode_pass(case.model, deployment, users, request.mean_context)
    chunk = max(PrefillPass(((1.0, stages),)).service_s(clock) for _, stages in prompt.chunks)
    return float(chunk + answers.attention_s(clock))
