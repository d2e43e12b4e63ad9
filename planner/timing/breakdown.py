"""One pass as a duration with its range, and what it goes into.

decode_time(decode_pass(model, deployment, 64, 8192), gpu, deployment, speed).binds
"""

from dataclasses import dataclass

from planner.calibration import Roofs
from planner.deployment import Deployment
from planner.hardware import Gpu
from planner.timing.collectives import link_between
from planner.timing.passes import (
    PROMPT_LAUNCH_RANGE_S,
    PROMPT_LAUNCH_S,
    DecodePass,
    PrefillPass,
    StagePass,
    Timer,
)
from planner.timing.roofline import Costs, ideal_s, time_s
from planner.timing.speed import Speed

CAUSES = ("arithmetic", "weights", "kv_cache", "activations", "launches", "links")
LAUNCH_S = 20e-6
"""Host time of one launch without CUDA graphs, which a fast GPU waits for: an estimate."""


@dataclass(frozen=True, slots=True)
class Time:
    """A duration, its range, and what it goes into.

    bound_s: what the roofs alone allow. flops and moved_bytes: of one GPU's work. shares: parts of
    `seconds` by cause (arithmetic, weights, kv_cache, activations, launches, links), sum 1;
    launches is the time above the roofs.
    """

    seconds: float
    low_s: float
    high_s: float
    bound_s: float
    flops: float
    moved_bytes: float
    shares: dict[str, float]

    @property
    def binds(self) -> str:
        """The cause of most of it."""
        return max(self.shares, key=lambda name: self.shares[name])


def timer(gpu: Gpu, deployment: Deployment, speed: Speed, *, bound: bool = False) -> Timer:
    """Times of one deployment's passes; bound: what the roofs alone allow.

    Without CUDA graphs a pass takes at least the host's time for its launches.
    """

    def kernels_s(costs: Costs) -> float:
        if bound:
            return time_s(costs, speed.roofs)
        found = time_s(costs, speed.roofs, speed.efficiencies)
        return max(found, costs.launches * LAUNCH_S) if deployment.enforce_eager else found

    launch_s = 0.0 if bound else PROMPT_LAUNCH_S
    return Timer(kernels_s, lambda ranks: link_between(gpu, ranks), launch_s)


def prefill_time(found: PrefillPass, gpu: Gpu, deployment: Deployment, speed: Speed) -> Time:
    """A prompt alone on a replica: TTFT without waiting."""
    passes = [(times, stage) for times, stages in found.chunks for stage in stages]
    both = (timer(gpu, deployment, speed), timer(gpu, deployment, speed, bound=True))
    return _time(found.seconds(both[0]), found.seconds(both[1]), passes, both[0], speed)


def decode_time(found: DecodePass, gpu: Gpu, deployment: Deployment, speed: Speed) -> Time:
    """One step of all sequences: TPOT while no prompt is computed."""
    passes = [(1.0, stage) for stage in found.stages]
    both = (timer(gpu, deployment, speed), timer(gpu, deployment, speed, bound=True))
    return _time(found.seconds(both[0]), found.seconds(both[1]), passes, both[0], speed)


def _time(
    seconds: float, bound: float, passes: list[tuple[float, StagePass]], clock: Timer, speed: Speed
) -> Time:
    causes: dict[str, float] = {}
    flops = moved = host = 0.0
    low, high = speed.low, speed.high
    for times, stage in passes:
        for name, part in _causes(stage, clock, speed.roofs).items():
            causes[name] = causes.get(name, 0.0) + times * part
        host += times * stage.launches * clock.launch_s
        costs = stage.costs
        flops += times * costs.flops
        moved += times * (costs.weight_bytes + costs.kv_bytes + costs.activation_bytes)
    total = sum(causes.values())
    shares = {name: part / total for name, part in causes.items()}
    ends = [clock.link(m.ranks) for _, stage in passes for m in stage.messages]
    if ends:
        low += shares["links"] * (min(end.low for end in ends) - low)
        high += shares["links"] * (max(end.high for end in ends) - high)
    least, most = (end / PROMPT_LAUNCH_S for end in PROMPT_LAUNCH_RANGE_S)
    low += host / total * (least - low)
    high += host / total * (most - high)
    return Time(seconds, seconds * low, seconds * high, bound, flops, moved, shares)


def _causes(stage: StagePass, clock: Timer, roofs: Roofs) -> dict[str, float]:
    found = dict.fromkeys(CAUSES, 0.0)
    ideal_total = 0.0
    for work in stage.costs.work:
        ideal, bound = ideal_s(work, roofs)
        ideal_total += work.launches * ideal
        if bound == "compute":
            found["arithmetic"] += work.launches * ideal
        else:
            found["weights"] += work.launches * work.weight_bytes / roofs.read_bytes_per_s
            found["kv_cache"] += work.launches * work.kv_bytes / roofs.read_bytes_per_s
            found["activations"] += work.launches * work.activation_bytes / roofs.copy_bytes_per_s
    found["launches"] = max(0.0, clock.kernels_s(stage.costs) - ideal_total)
    found["launches"] += stage.launches * clock.launch_s
    found["links"] = clock.links_s(stage.messages)
    if stage.ring:
        hidden = clock.kernels_s(stage.attention)
        found["links"] += max(0.0, clock.links_s(stage.ring) - hidden)
    return found
