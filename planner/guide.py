"""What to choose for a deployment, each choice with the figure that decides it.

    for decision in guide(model, gpu, deployment, speed, request, users):
        print(decision.topic, decision.choice, decision.because)

Nothing is a rule of thumb: every sentence is computed for this model, card and load.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from planner.deployment import Deployment
from planner.errors import PlanRefused, SizewellError
from planner.formats.format_support import missing
from planner.guide_attention import attention_choice
from planner.hardware import Gpu
from planner.model import Model
from planner.plan import Plan, make_plan
from planner.timing.disaggregation import disaggregate
from planner.timing.latency import Latency, Request, decode_time, latency, timer
from planner.timing.passes import decode_pass, in_fp8, prefill_pass
from planner.timing.speculation import Speculation, best
from planner.timing.speed import Speed
from planner.units import counted, format_bytes
from planner.workload import Workload

ACCEPTANCE = 0.7
"""Where none is given: between the 0.6 to 0.8 that draft heads report on chat and code."""
WORTH = 1.1
"""A choice that gains less than a tenth is not worth its trouble."""


@dataclass(frozen=True, slots=True)
class Decision:
    """topic and choice are names; figure is the number that decided, in the unit of `because`."""

    topic: str
    choice: str
    because: str
    figure: float


def guide(
    model: Model,
    gpu: Gpu,
    deployment: Deployment,
    speed: Speed,
    request: Request,
    users: int,
    *,
    acceptance: float = ACCEPTANCE,
) -> tuple[Decision, ...]:
    """The decisions for `users` users of this deployment."""
    case = _Case(model, gpu, deployment, speed, request, users)
    return tuple(case.decisions(acceptance))


class _Case:
    def __init__(
        self, model: Model, gpu: Gpu, deployment: Deployment, speed: Speed, request: Request,
        users: int,
    ) -> None:  # fmt: skip
        self.model, self.gpu, self.deployment = model, gpu, deployment
        self.speed, self.request, self.users = speed, request, users
        self.now = self.latency(deployment)

    def latency(self, deployment: Deployment) -> Latency:
        return latency(self.model, self.gpu, deployment, self.speed, self.request, self.users)

    def plan(self, deployment: Deployment) -> Plan:
        work = Workload(context=self.request.context, concurrency=self.users)
        return make_plan(self.model, self.gpu, deployment, work)

    def decisions(self, acceptance: float) -> Iterator[Decision]:
        name, because, ratio = attention_choice(
            self.model, self.gpu, self.speed, self.request.prompt_tokens
        )
        yield Decision("attention", name, because, ratio)
        yield self.attention_numbers()
        yield self.paging()
        if self.request.cached_tokens:
            yield self.prefix_cache()
        yield self.cache_format()
        yield self.weight_format()
        yield self.speculation(acceptance)
        yield self.layout()
        yield self.separation()

    def attention_numbers(self) -> Decision:
        """Prefill attention multiplied in FP8, where that makes a prompt a tenth faster."""
        if self.speed.roofs.fp8_flops_per_s is None:
            why = f"{self.gpu.name} has no FP8 arithmetic"
            return Decision("attention arithmetic", "16 bits", why, 1.0)
        prompt = prefill_pass(
            self.model, self.deployment, self.request.prompt_tokens, self.request.cached_tokens
        )
        clock = timer(self.gpu, self.deployment, self.speed)
        seconds, faster = prompt.seconds(clock), in_fp8(prompt).seconds(clock)
        ratio = seconds / faster
        return Decision(
            "attention arithmetic",
            "fp8" if ratio > WORTH else "16 bits",
            f"in fp8 a prompt takes {1e3 * faster:.1f} ms instead of {1e3 * seconds:.1f} ms"
            f"{_worth(ratio)}",
            ratio,
        )

    def paging(self) -> Decision:
        waste = self.plan(self.deployment).waste
        reserved = waste.over_reserved_bytes
        if not reserved:
            why = (
                "every sequence is as long as the longest, so reserving that length wastes nothing"
            )
            return Decision("cache allocation", "no matter", why, 0.0)
        return Decision(
            "cache allocation",
            "paged",
            f"reserving the longest context for every sequence would hold "
            f"{format_bytes(reserved)} of each replica that no token uses; blocks waste "
            f"{format_bytes(waste.rounding_bytes)}",
            float(reserved),
        )

    def prefix_cache(self) -> Decision:
        cold = self.request.model_copy(update={"cached_tokens": 0})
        without = latency(self.model, self.gpu, self.deployment, self.speed, cold, self.users)
        ratio = without.ttft.seconds / self.now.ttft.seconds
        return Decision(
            "prefix caching",
            "on" if ratio > WORTH else "no matter",
            f"a prompt takes {self.now.ttft.seconds:.2f} s instead of "
            f"{without.ttft.seconds:.2f} s, and answers run {_ratio(without, self.now):.2f} times "
            f"as fast under load{_worth(ratio)}",
            ratio,
        )

    def cache_format(self) -> Decision:
        """FP8 where it is faster by a tenth, or holds users that memory lacks room for."""
        found = self.tried(self.deployment.replace(kv_cache_dtype="fp8"))
        if found is None:
            return Decision(
                "cache format", "the model's own", "no FP8 cache suits it and the card", 1.0
            )
        other, plan = found
        users = plan.max_concurrency or self.users
        today = self.plan(self.deployment).max_concurrency or self.users
        ratio = self.now.tpot.seconds / other.tpot.seconds
        enough = today > self.users
        gain = ratio if enough else max(ratio, users / today)
        room = (
            f"memory has room for {counted(self.users, 'user')} either way"
            if enough
            else f"memory holds {counted(users, 'user')} instead of {today:,}"
        )
        return Decision(
            "cache format",
            "fp8" if gain > WORTH else "the model's own",
            f"with fp8 a step takes {1e3 * other.tpot.seconds:.1f} ms instead of "
            f"{1e3 * self.now.tpot.seconds:.1f} ms, and {room}{_worth(gain)}",
            gain,
        )

    def weight_format(self) -> Decision:
        """The fastest of the formats, if it gains a tenth; its own otherwise."""
        tries = {}
        for name in ("fp8", "nvfp4", "int4"):
            found = self.tried(self.deployment.replace(weights_dtype=name))
            if found is not None:
                tries[name] = found[0]
        if not tries:
            return Decision(
                "weights", "the model's own", "no other format suits it and the card", 1.0
            )
        name = min(tries, key=lambda key: tries[key].tpot.seconds)
        ratio = self.now.tpot.seconds / tries[name].tpot.seconds
        share = self.now.tpot.shares["weights"]
        return Decision(
            "weights",
            name if ratio > WORTH else "the model's own",
            f"reading weights is {100 * share:.0f} % of a step; {name} makes it "
            f"{1e3 * tries[name].tpot.seconds:.1f} ms instead of "
            f"{1e3 * self.now.tpot.seconds:.1f} ms{_worth(ratio)}",
            ratio,
        )

    def speculation(self, acceptance: float) -> Decision:
        found = speculation(self.now, self.model, acceptance)
        worth = found.speedup > WORTH
        if not found.draft_tokens:
            why = f"at an acceptance of {acceptance:.0%} no number of draft tokens gains anything"
            return Decision("speculation", "off", why, 1.0)
        return Decision(
            "speculation",
            counted(found.draft_tokens, "draft token") if worth else "off",
            f"at an acceptance of {acceptance:.0%} and with "
            f"{counted(found.draft_tokens, 'draft token')} a step of "
            f"{counted(self.now.users_per_replica, 'user')} "
            f"yields {found.tokens_per_step:.2f} tokens each in {1e3 * found.step_s:.1f} ms "
            f"instead of one in {1e3 * self.now.tpot.seconds:.1f} ms{_worth(found.speedup)}",
            found.speedup,
        )

    def layout(self) -> Decision:
        """The layout of as many GPUs that serves most requests, of those that fit."""
        gpus = self.deployment.gpus
        tries: dict[str, Latency] = {}
        for stages in (n for n in range(1, gpus + 1) if gpus % n == 0):
            for replicas in (n for n in range(1, gpus // stages + 1) if gpus // stages % n == 0):
                changed = self.deployment.replace(
                    tensor_parallel_size=gpus // stages // replicas,
                    pipeline_parallel_size=stages,
                    data_parallel_size=replicas,
                    decode_context_parallel_size=1,
                    context_parallel_size=1,
                )
                found = self.tried(changed)
                if found is not None and found[1].fits:
                    tries[_layout(changed)] = found[0]
        if gpus == 1:
            return Decision("layout", "one GPU", "one GPU leaves nothing to choose", 1.0)
        if not tries:
            return Decision("layout", "none", f"no layout of {gpus} GPUs holds this load", 0.0)
        name = max(tries, key=lambda key: tries[key].requests_per_s)
        best, mine = tries[name].requests_per_s, self.now.requests_per_s
        links = f"links take {100 * tries[name].tpot.shares['links']:.0f} % of a step"
        if name == _layout(self.deployment):
            others = [found.requests_per_s for key, found in tries.items() if key != name]
            next_best = (
                f"the next best layout serves {100 * (1 - max(others) / best):.1f} % less"
                if others
                else "no other layout holds this load"
            )
            why = f"{best:.3g} requests a second, {links}; {next_best}"
            return Decision("layout", f"{name}, as it is", why, 1.0)
        ratio = best / mine
        worth = ratio > WORTH or not self.plan(self.deployment).fits
        return Decision(
            "layout",
            name if worth else "as it is",
            f"{'it' if worth else name} serves {best:.3g} requests a second against {mine:.3g} as "
            f"it is, {links}{'' if worth else _worth(ratio)}",
            ratio,
        )

    def separation(self) -> Decision:
        """Prefill and decode apart where prompts slow answers down by half or more."""
        ratio = float(self.now.load.tpot_s) / self.now.tpot.seconds
        because = (
            f"prompts of others stretch a token from {1e3 * self.now.tpot.seconds:.1f} ms to "
            f"{1e3 * float(self.now.load.tpot_s):.1f} ms"
        )
        one = self.deployment.replace(data_parallel_size=1)
        try:
            found = disaggregate(
                self.model, self.gpu, one, one, self.speed, self.request, self.users
            )
        except PlanRefused:
            return Decision("prefill and decode", "together", because, ratio)
        because += (
            f"; apart, with {counted(found.prefill_replicas, 'replica')} for prompts and "
            f"{found.decode_replicas:,} for answers, it would take {1e3 * found.tpot_s:.1f} ms on "
            f"{counted(found.gpus, 'GPU')} instead of {self.deployment.gpus}, and send "
            f"{format_bytes(found.transfer_bytes)} a prompt"
        )
        return Decision(
            "prefill and decode", "apart" if ratio > 1.5 else "together", because, ratio
        )

    def tried(self, deployment: Deployment) -> tuple[Latency, Plan] | None:
        """Its times and plan; None where shapes, formats or the card's kernels forbid it."""
        try:
            plan = self.plan(deployment)
            formats = plan.footprint.assignment.bytes_by_format()
            if missing(self.gpu, formats, plan.footprint.kv_format.name) is not None:
                return None
            return self.latency(deployment), plan
        except SizewellError:
            return None


def speculation(now: Latency, model: Model, acceptance: float) -> Speculation:
    """The best number of draft tokens for `now`, drafted by one extra layer and the head.

    That is what multi-token-prediction layers and EAGLE heads are: one layer's share of a step.
    """
    draft_s = now.tpot.seconds * 2 / model.num_hidden_layers
    replica, context = now.users_per_replica, now.request.mean_context

    def step_s(tokens: int) -> float:
        found = decode_pass(model, now.deployment, replica, context, tokens)
        return decode_time(found, now.gpu, now.deployment, now.speed).seconds

    return best(step_s, draft_s, acceptance, most=6)


def _ratio(slow: Latency, fast: Latency) -> float:
    return float(slow.load.tpot_s) / float(fast.load.tpot_s)


def _worth(ratio: float) -> str:
    """Why a choice that gains something is not taken; nothing where it is."""
    return "" if ratio > WORTH else ": less than a tenth is not worth it"


def _layout(deployment: Deployment) -> str:
    parts = [
        f"tensor parallel {deployment.tensor_parallel_size}",
        counted(deployment.pipeline_parallel_size, "stage"),
        counted(deployment.data_parallel_size, "replica"),
    ]
    return ", ".join(parts)
