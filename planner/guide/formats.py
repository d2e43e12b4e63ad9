"""Which number formats pay: of prefill attention, of the cache, of weights."""

from dataclasses import replace

from planner.formats.format_support import weights_support
from planner.guide.case import LOSSY, WORTH, Case, Decision, held, instead_of, worth
from planner.timing.breakdown import timer
from planner.timing.latency import Latency
from planner.timing.passes import PrefillPass, prefill_pass
from planner.timing.roofline import Costs
from planner.units import counted


def attention_arithmetic(case: Case) -> Decision:
    """Prefill attention multiplied in FP8, where that makes a prompt a tenth faster."""
    if case.speed.roofs.fp8_flops_per_s is None:
        why = f"{case.gpu.name} has no FP8 arithmetic"
        return Decision("attention arithmetic", "16 bits", why, 1.0)
    prompt = prefill_pass(
        case.model, case.deployment, case.request.prompt_tokens, case.request.cached_tokens
    )
    clock = timer(case.gpu, case.deployment, case.speed)
    seconds, faster = prompt.seconds(clock), in_fp8(prompt).seconds(clock)
    ratio = seconds / faster
    return Decision(
        "attention arithmetic",
        f"fp8, {LOSSY}" if ratio > WORTH else "16 bits",
        f"in fp8 a prompt takes {instead_of(faster, seconds)}{worth(ratio)}",
        ratio,
    )


def cache_format(case: Case) -> Decision:
    """FP8 where it is faster by a tenth, or holds users that memory lacks room for."""
    found = case.tried(case.deployment.replace(kv_cache_dtype="fp8"))
    if found is None:
        return Decision(
            "cache format", "the model's own", "no FP8 cache suits it and the card", 1.0
        )
    other, plan = found
    users = held(plan, case.asked)
    today = held(case.plan(case.deployment), case.asked)
    ratio = case.now.tpot.seconds / other.tpot.seconds
    enough = min(users, today) >= case.asked
    gain = ratio if enough else max(ratio, users / max(1, today))
    if enough:
        room = f"memory has room for {counted(case.asked, 'user')} either way"
    elif users == today:
        room = f"memory holds {counted(users, 'user')} either way"
    else:
        room = f"memory holds {counted(users, 'user')} instead of {today:,}"
    return Decision(
        "cache format",
        f"fp8, {LOSSY}" if gain > WORTH else "the model's own",
        f"with fp8 a step takes {instead_of(other.tpot.seconds, case.now.tpot.seconds)}, and "
        f"{room}{worth(gain)}",
        gain,
    )


def weight_format(case: Case) -> Decision:
    """The fastest of the formats, if it gains a tenth; its own otherwise."""
    tries = {}
    for name in ("fp8", "nvfp4", "int4"):
        if name == case.deployment.weights_dtype:
            continue
        found = case.tried(case.deployment.replace(weights_dtype=name))
        if found is not None:
            tries[name] = found[0]
    if not tries:
        return Decision("weights", "the model's own", "no other format suits it and the card", 1.0)
    name = min(tries, key=lambda key: tries[key].tpot.seconds)
    ratio = case.now.tpot.seconds / tries[name].tpot.seconds
    share = case.now.tpot.shares["weights"]
    return Decision(
        "weights",
        f"{name}, {LOSSY}" if ratio > WORTH else "the model's own",
        f"reading weights is {100 * share:.0f} % of a step; {name} makes it "
        f"{instead_of(tries[name].tpot.seconds, case.now.tpot.seconds)}"
        f"{_unpacked(case, name, tries[name])}{worth(ratio)}",
        ratio,
    )


def _unpacked(case: Case, name: str, found: Latency) -> str:
    """What a format does to prompts on a card without arithmetic for it."""
    if name != "int4" and weights_support(case.gpu, name) != "weight-only":
        return ""
    return (
        f" by memory alone: {case.gpu.name} multiplies in 16 bits, so a prompt takes "
        f"{instead_of(found.ttft.seconds, case.now.ttft.seconds)}"
    )


def in_fp8(found: PrefillPass) -> PrefillPass:
    """The same prompt with attention multiplied in FP8, as FlashAttention-3 can."""

    def changed(costs: Costs) -> Costs:
        return Costs(
            tuple(replace(w, numbers="fp8") if w.part == "attention" else w for w in costs.work)
        )

    return PrefillPass(
        tuple(
            (
                times,
                tuple(
                    replace(s, costs=changed(s.costs), attention=changed(s.attention))
                    for s in stages
                ),
            )
            for times, stages in found.chunks
        )
    )
