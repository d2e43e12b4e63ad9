"""Forward passes of a deployment: what each pipeline stage computes, and what it sends.

    decode = decode_pass(model, deployment, sequences=64, context=8192)
    decode.seconds(timer)

A pass is compiled once, from the model's structure, and timed for any GPU. `sequences` may be an
array; times then are arrays.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from planner.deployment import Deployment
from planner.formats.quantization import assign
from planner.model import Model
from planner.parallelism import count_in, stage_spans
from planner.timing.collectives import Link
from planner.timing.elementwise import Number, larger
from planner.timing.messages import Message, messages, ring_messages
from planner.timing.one_pass import Phase
from planner.timing.roofline import Costs
from planner.timing.step_costs import step_costs
from planner.units import ceil_div

CHUNK_SAMPLES = 3
PROMPT_LAUNCH_S = 12.4e-6
"""What a launch adds to a pass over a prompt, which runs without CUDA graphs: the host's work and
gaps between kernels. Fitted to TensorRT-LLM 0.5's first tokens of 128-token prompts on A100 and
H100 (docs/source/performance.md, 2023: 7 to 61 ms), where the furthest off is 25 %."""
PROMPT_LAUNCH_RANGE_S = (0.0, 28e-6)
"""Of single rows of that table, and nothing where an engine captures graphs of short prompts. What
a server adds before and after (HTTP, tokeniser, queues between processes) is not in it."""


@dataclass(frozen=True, slots=True)
class Timer:
    """How long launches and messages take on one kind of GPU, or on many at once."""

    kernels_s: Callable[[Costs], Number]
    link: Callable[[int], Link]
    """The link that this many GPUs share."""
    launch_s: float = 0.0
    """What each launch without CUDA graphs adds."""

    def links_s(self, messages: tuple[Message, ...]) -> Number:
        return sum((m.seconds(self.link(m.ranks)) for m in messages), 0.0)


@dataclass(frozen=True, slots=True)
class StagePass:
    """One pass of one pipeline stage. attention: those of its launches that read the cache.
    launches: those outside CUDA graphs. ring: what a prefill ring passes on beside attention."""

    costs: Costs
    attention: Costs
    messages: tuple[Message, ...]
    launches: int = 0
    ring: tuple[Message, ...] = ()

    def seconds(self, timer: Timer) -> Number:
        """Of the ring's sending, what attention does not hide."""
        found = (
            timer.kernels_s(self.costs)
            + timer.links_s(self.messages)
            + self.launches * timer.launch_s
        )
        if not self.ring:
            return found
        return found + larger(timer.links_s(self.ring) - timer.kernels_s(self.attention), 0.0)


@dataclass(frozen=True, slots=True)
class DecodePass:
    """One step of all sequences: every stage works on its part of them at the same time.

    A token passes all stages, and the slowest sets the pace of all.
    """

    stages: tuple[StagePass, ...]

    def seconds(self, timer: Timer) -> Number:
        return len(self.stages) * _slowest(self.stages, timer)

    def attention_s(self, timer: Timer) -> Number:
        """The part of it that reads the cache: what decoding adds to a pass over a prompt."""
        found: Number = timer.kernels_s(self.stages[0].attention)
        for stage in distinct(self.stages)[1:]:
            found = larger(found, timer.kernels_s(stage.attention))
        return len(self.stages) * found


@dataclass(frozen=True, slots=True)
class PrefillPass:
    """All chunks of one prompt: (times, one chunk's stages), the last chunk once at the end."""

    chunks: tuple[tuple[float, tuple[StagePass, ...]], ...]

    @property
    def count(self) -> int:
        return round(sum(times for times, _ in self.chunks))

    def service_s(self, timer: Timer) -> Number:
        """What it takes from its batch, of as many batches as there are stages: every chunk passes
        all of them at the pace of the slowest."""
        stages = len(self.chunks[0][1])
        return stages * sum((times * _slowest(each, timer) for times, each in self.chunks), 0.0)

    def seconds(self, timer: Timer) -> Number:
        """From start to the first token: chunks follow each other through the stages."""
        *before, (_, last) = self.chunks
        total = sum((stage.seconds(timer) for stage in last), 0.0)
        for times, stages in before:
            total = total + times * _slowest(stages, timer)
        return total


def distinct(stages: Iterable[StagePass]) -> tuple[StagePass, ...]:
    """Each stage once, in order."""
    return tuple({id(stage): stage for stage in stages}.values())


def _slowest(stages: tuple[StagePass, ...], timer: Timer) -> Number:
    found: Number = stages[0].seconds(timer)
    for stage in distinct(stages)[1:]:
        found = larger(found, stage.seconds(timer))
    return found


def attention_share(model: Model, deployment: Deployment, prompt: int) -> float:
    """The part of a prompt's FLOPs that is attention; the rest grows linearly with it."""
    found = {True: 0.0, False: 0.0}
    for times, stages in prefill_pass(model, deployment, prompt).chunks:
        for work in (work for stage in stages for work in stage.costs.work):
            found[work.part == "attention"] += times * work.launches * work.flops
    return found[True] / (sum(found.values()) or 1.0)


def decode_pass(
    model: Model, deployment: Deployment, sequences: Number, context: int, tokens: int = 1
) -> DecodePass:
    """A step of `tokens` tokens for each sequence of one replica, at one context length."""
    pipeline = deployment.pipeline_parallel_size
    held = ceil_div(context, deployment.decode_context_parallel_size)
    counts = {held: -(-sequences // pipeline)}
    return DecodePass(_stages(model, deployment, "decode", tokens, counts))


def prefill_pass(
    model: Model, deployment: Deployment, prompt: int, cached: int = 0, chunk: int | None = None
) -> PrefillPass:
    """One prompt of which `cached` tokens are found in the prefix cache, in chunks.

    Of many chunks a few are computed and stand for the rest: their cost grows linearly. In a ring
    each rank has its part of a chunk, striped, so that all have the same share of the mask, and
    passes its part of all keys and values on to the others.
    """
    size = deployment.max_num_batched_tokens if chunk is None else chunk
    return PrefillPass(
        tuple(
            (times, _chunk(model, deployment, tokens, context, 1))
            for times, tokens, context in chunks(prompt, min(cached, prompt - 1), size)
        )
    )


def prompts_together(computed_tokens: int, chunk: int) -> int:
    """How many such prompts one chunk has room for; 1 where a prompt fills it."""
    return max(1, chunk // computed_tokens)


def packed_pass(
    model: Model, deployment: Deployment, prompt: int, cached: int, count: int
) -> PrefillPass:
    """`count` prompts of which each is computed whole, in one chunk."""
    tokens = prompt - min(cached, prompt - 1)
    return PrefillPass(((1.0, _chunk(model, deployment, tokens, prompt, count)),))


def _chunk(
    model: Model, deployment: Deployment, tokens: int, context: int, count: int
) -> tuple[StagePass, ...]:
    """A pass over the last `tokens` of the `context` of each of `count` sequences."""
    ring = deployment.context_parallel_size
    mine = ceil_div(tokens, ring)
    reach = context - (tokens - mine) // 2
    stages = _stages(model, deployment, "prefill", mine, {reach: count})
    return _ringed(model, deployment, stages, count * ceil_div(context, ring))


def _ringed(
    model: Model, deployment: Deployment, stages: tuple[StagePass, ...], block: int
) -> tuple[StagePass, ...]:
    """The stages with what a ring of ranks, each with a block of tokens, passes around."""
    if deployment.context_parallel_size == 1:
        return stages
    known: dict[int, StagePass] = {}
    found = []
    spans = stage_spans(model.num_hidden_layers, deployment.pipeline_parallel_size)
    for stage, span in zip(stages, spans, strict=True):
        if id(stage) not in known:
            sent = tuple(ring_messages(model, deployment, block, span))
            known[id(stage)] = replace(stage, ring=sent)
        found.append(known[id(stage)])
    return tuple(found)


def chunks(prompt: int, cached: int, size: int) -> Iterator[tuple[float, int, int]]:
    """(times, tokens, context at its end) of a prompt's chunks, the last one apart."""
    full = (prompt - cached - 1) // size
    kept = min(full, CHUNK_SAMPLES)
    for i in range(kept):
        at = i if kept == full else round(i * (full - 1) / (kept - 1))
        yield full / kept, size, cached + (at + 1) * size
    yield 1.0, prompt - cached - full * size, prompt


def _stages(
    model: Model, deployment: Deployment, phase: Phase, tokens: int, counts: dict[int, Number]
) -> tuple[StagePass, ...]:
    """Stages of equal structure are the same object, so that each is timed once."""
    parts = assign(model, deployment.weights_dtype).layers
    found = []
    known: dict[tuple[object, ...], StagePass] = {}
    for span in stage_spans(model.num_hidden_layers, deployment.pipeline_parallel_size):
        ends = (span.start == 0, span.stop == model.num_hidden_layers)
        alike = (*ends, *(count_in(part.layers, span) for part in parts))
        if alike in known:
            found.append(known[alike])
            continue
        costs = step_costs(model, deployment, phase, tokens, counts, span)
        sequences: Number = sum(counts.values())
        sent = tuple(messages(model, deployment, phase, tokens * sequences, sequences, span))
        attention = Costs(tuple(work for work in costs.work if work.part == "attention"))
        launches = costs.launches if phase == "prefill" else 0
        known[alike] = StagePass(costs, attention, sent, launches)
        found.append(known[alike])
    return tuple(found)
