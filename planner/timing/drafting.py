"""What drafts, in time: the passes that propose tokens, and what they gain at a number of users.

    drafter = drafter_for(model, "eagle3", head)
    speculated(found, model, drafter, draft_tokens=3, acceptance=0.7).speedup

A draft model or head runs once for each token that it proposes; Medusa and DFlash propose all in
one pass; copying from the prompt takes the GPU no time. All of them run with the target's tensor
parallelism, on one pipeline stage (vLLM 0.33.0, v1/spec_decode). Drafts are chains: EAGLE-2 and
Medusa as published check a tree of them, which accepts more and costs more.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from planner.deployment import Deployment
from planner.engines.drafter import first_apart, medusa, self_drafting
from planner.errors import PlanRefused
from planner.formats.gguf_tensors import reshaped
from planner.memo import memo
from planner.model import LayerGroup, Model
from planner.tensors import Weight
from planner.timing.breakdown import decode_time
from planner.timing.latency import Latency
from planner.timing.passes import decode_pass
from planner.timing.speculation import Speculation, best, speculate

COPIED = ("ngram", "suffix")
AT_ONCE = ("medusa", "dflash")
LABELS = {
    "ngram": "n-grams of the prompt", "suffix": "suffixes of the text so far",
    "mtp": "the model's own prediction layers", "eagle": "an EAGLE head",
    "eagle3": "an EAGLE3 head", "dflash": "a DFlash head", "medusa": "Medusa heads",
    "draft_model": "a draft model",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Drafter:
    """What proposes tokens. model: whose passes do, None where none are needed.

    weights_dtype: of those passes; a draft's own checkpoint says, the model's own layers are
    stored as the model is.
    """

    method: str
    label: str
    model: Model | None = None
    shares_weights: bool = False

    def passes(self, draft_tokens: int) -> int:
        """Passes that propose so many tokens."""
        if self.model is None or not draft_tokens:
            return 0
        return 1 if self.method in AT_ONCE else draft_tokens

    def width(self, draft_tokens: int) -> int:
        """Tokens of a sequence in one of those passes. Medusa's heads all read the last one."""
        return draft_tokens if self.method == "dflash" else 1

    def deployment(self, target: Deployment) -> Deployment:
        """How it runs beside the target."""
        found = target.replace(pipeline_parallel_size=1)
        return found if self.shares_weights else found.replace(weights_dtype="auto")

    def seconds(self, now: Latency, sequences: int, context: int, draft_tokens: int) -> float:
        """What proposing so many tokens to each of the sequences takes."""
        times = self.passes(draft_tokens)
        if self.model is None or not times:
            return 0.0
        runs = self.deployment(now.deployment)
        one = decode_pass(self.model, runs, sequences, context, self.width(draft_tokens))
        return times * decode_time(one, now.gpu, runs, now.speed).seconds


def drafter_for(
    target: Model, method: str, draft: Model | None = None, draft_tokens: int = 1
) -> Drafter:
    """The drafter of a method; draft: its model or head, else a head of the target's own shape.

    Raises PlanRefused where there is nothing to draft with.
    """
    label = LABELS[method]
    if method in COPIED:
        return Drafter(method, label)
    if method == "mtp":
        return Drafter(method, label, _own_layers(target), shares_weights=True)
    if method == "draft_model" and draft is None:
        raise PlanRefused("a draft model drafts only if it is named: give its 'model'")
    if draft is None:
        if method == "medusa":
            return Drafter(
                method, f"{label} of the model's own width", _medusa_like(target, draft_tokens)
            )
        return eagle_like(target, method)
    if method not in ("draft_model", "medusa"):
        source, draft = draft.source, _head(draft, target.vocab_size, target.hidden_size)
        return Drafter(method, f"{label}, {source}", draft)
    return Drafter(method, f"{label}, {draft.source}", draft)


@memo(maxsize=64)
def eagle_like(target: Model, method: str = "eagle") -> Drafter:
    """One more layer of the model behind a projection of two hidden states, with its head."""
    hidden = target.hidden_size
    last = _numbered((target.layer_of(target.num_hidden_layers - 1),))
    fc = Weight("fc", (hidden, 2 * hidden))
    label = f"{LABELS[method]} of one layer of the model's own shape"
    return Drafter(method, label, _of_layers(target, _joined(last, (fc,))), shares_weights=True)


@memo(maxsize=64)
def _own_layers(target: Model) -> Model:
    """A model's own prediction layers, of which vLLM runs the first again for further tokens."""
    own = self_drafting(target)
    if not own.mtp:
        raise PlanRefused(
            f"{target.source} has no multi-token-prediction layers that are sized; use ngram, "
            "eagle or a draft model"
        )
    return _of_layers(own, _joined(_numbered(own.mtp[:1]), own.mtp_extras))


@memo(maxsize=64)
def _medusa_like(target: Model, heads: int) -> Model:
    return medusa(target.hidden_size, target.vocab_size, heads, target.dtype, target.source)


@memo(maxsize=64)
def _head(draft: Model, vocab: int, hidden: int) -> Model:
    """A head with what it computes before its layers, and the target's logits if it has none."""
    return draft.model_copy(
        update={
            "groups": _joined(draft.groups, draft.extras), "extras": (),
            "head": draft.head or _logits(vocab, hidden),
        }
    )  # fmt: skip


def _of_layers(target: Model, layers: tuple[LayerGroup, ...]) -> Model:
    """Layers between the target's embedding and its head."""
    return target.model_copy(
        update={
            "groups": layers, "extras": (), "mtp": (), "mtp_extras": (),
            "head": target.head or _logits(target.vocab_size, target.hidden_size),
            **reshaped(target),
        }
    )  # fmt: skip


def speculated(
    now: Latency,
    model: Model,
    drafter: Drafter,
    draft_tokens: int,
    acceptance: float,
    users: int | None = None,
) -> Speculation:
    """What drafting so many tokens a step gives the users of `now`, or another number of them."""
    passes = _Passes(now, model, drafter, now.users if users is None else users)
    return speculate(passes.step_s, passes.draft_s, acceptance, draft_tokens)


def best_speculation(
    now: Latency, model: Model, drafter: Drafter, acceptance: float, most: int
) -> Speculation:
    """The number of draft tokens, up to `most`, of lowest time per token for the users of `now`."""
    passes = _Passes(now, model, drafter, now.users)
    return best(passes.step_s, passes.draft_s, acceptance, most)


def gains(
    now: Latency,
    model: Model,
    drafter: Drafter,
    draft_tokens: int,
    acceptance: float,
    users: Sequence[int],
) -> dict[int, Speculation]:
    """What it gives each of these numbers of users."""
    return {n: speculated(now, model, drafter, draft_tokens, acceptance, n) for n in users}


def counts(most: int) -> list[int]:
    """1, 2, 4 ... and `most` itself."""
    return sorted({most, *(2**e for e in range(most.bit_length()) if 2**e <= most)})


def loses_from(
    now: Latency, model: Model, drafter: Drafter, draft_tokens: int, acceptance: float, most: int
) -> int | None:
    """The fewest users with whom it loses, between the powers of two; None up to `most`."""

    def loses(users: int) -> bool:
        return speculated(now, model, drafter, draft_tokens, acceptance, users).speedup < 1

    high = next((n for n in counts(most) if loses(n)), None)
    if high is None or high == 1:
        return high
    low = max(n for n in counts(most) if n < high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if loses(middle) else (middle, high)
    return high


class _Passes:
    """The target's and the drafter's passes at one load."""

    def __init__(self, now: Latency, model: Model, drafter: Drafter, users: int) -> None:
        self._now, self._model, self._drafter = now, model, drafter
        self._sequences = -(-users // now.deployment.data_parallel_size)
        self._context = now.request.mean_context

    def step_s(self, tokens: int) -> float:
        now = self._now
        found = decode_pass(self._model, now.deployment, self._sequences, self._context, tokens)
        return decode_time(found, now.gpu, now.deployment, now.speed).seconds

    def draft_s(self, draft_tokens: int) -> float:
        return self._drafter.seconds(self._now, self._sequences, self._context, draft_tokens)


def _numbered(groups: tuple[LayerGroup, ...]) -> tuple[LayerGroup, ...]:
    """One layer of each group, numbered from 0."""
    return tuple(group.model_copy(update={"layers": (i,)}) for i, group in enumerate(groups))


def _joined(groups: tuple[LayerGroup, ...], inputs: tuple[Weight, ...]) -> tuple[LayerGroup, ...]:
    """The layers, the first of which starts with what joins its inputs."""
    first, rest = first_apart(groups)
    joins = tuple(Weight(w.name, w.shape) for w in inputs if w.role == "linear")
    return first.model_copy(update={"norms": first.norms + joins}), *rest


def _logits(vocab: int, hidden: int) -> tuple[Weight, ...]:
    """The head that logits are read through where a model has none of its own."""
    return (Weight("lm_head", (vocab, hidden), "embedding", "vocab"),)
