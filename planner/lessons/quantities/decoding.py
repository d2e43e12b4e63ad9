"""Work of generating tokens with and without a cache, and of a prompt in chunks."""

from collections.abc import Callable

from planner.attention import flops
from planner.deployment import Deployment
from planner.lessons import decode_steps
from planner.lessons.quantities.given import Figure, Inputs, Presets, Quantity, heads_given

WORK: dict[str, Callable[[int], tuple[int, int]]] = {
    "all": decode_steps.pair_totals,
    "step": decode_steps.step_pairs,
}
"""Query-key pairs without and with a cache: of an answer, or of its last step."""
SIDES = {"without": 0, "with": 1}


def _pairs(inputs: Inputs, _: Presets) -> Figure:
    without, with_cache = decode_steps.pair_totals(inputs["tokens"])
    return float(without), float(with_cache)


def _growth(inputs: Inputs, _: Presets) -> Figure:
    """How many times the pairs when the tokens double."""
    n, count = inputs["tokens"], WORK[inputs["of"]]
    found = tuple(count(2 * n)[i] / count(n)[i] for i in (0, 1))
    return found[SIDES[inputs["cache"]]] if "cache" in inputs else found


def _answer_speedup(inputs: Inputs, presets: Presets) -> Figure:
    """Estimated, for one user of one GPU; an answer is the tokens of its prompt and its own."""
    model, gpu = presets.model_of(inputs["model"]), presets.gpu_of(inputs["gpu"])
    alone, speed = Deployment(), presets.speed_of(gpu)
    found = (
        decode_steps.seconds(model, gpu, alone, speed, prompt=prompt, answer=answer)
        for prompt, answer in inputs["answers"]
    )
    return tuple(each.ratio for each in found)


def _chunked_flops(inputs: Inputs, _: Presets) -> float:
    """Attention of a prompt in chunks over that of the prompt in one pass."""
    heads, n, chunk = heads_given(inputs), inputs["tokens"], inputs["chunk"]
    ends = range(chunk, n + 1, chunk)
    return sum(flops(heads, chunk, end) for end in ends) / flops(heads, n, n)


QUANTITIES: dict[str, Quantity] = {
    "projections": lambda i, _: float(decode_steps.totals(i["tokens"])[0]),
    "pairs": _pairs,
    "pairs when doubled": _growth,
    "answer speedup": _answer_speedup,
    "chunked flops": _chunked_flops,
}
