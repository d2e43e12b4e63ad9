"""What a model's configuration says: heads, parameters, its share of work on several GPUs."""

from planner.deployment import Deployment
from planner.kinds.attention import Attention
from planner.lessons.quantities.given import Figure, Inputs, Presets, Quantity, one_or_all
from planner.model import Model
from planner.parameters import count
from planner.timing.passes import prefill_pass


def _mixer(model: Model) -> Attention:
    mixers = (mixer for group in model.groups for mixer in group.mixers)
    return next(mixer for mixer in mixers if isinstance(mixer, Attention))


def _kv_heads(inputs: Inputs, presets: Presets) -> Figure:
    names = inputs["models"] if "models" in inputs else [inputs["model"]]
    found = (_mixer(presets.model_of(name)).num_key_value_heads for name in names)
    return one_or_all(tuple(float(n) for n in found))


def _parameters(inputs: Inputs, presets: Presets) -> Figure:
    """Parameters that memory holds and those that work on one token."""
    found = count(presets.model_of(inputs["model"]))
    return float(found.total), float(found.active)


def _divided_flops(inputs: Inputs, presets: Presets) -> float:
    """A prompt's FLOPs on one GPU over those of one rank: what `ranks` can gain at the most."""
    model = presets.model_of(inputs["model"])

    def of_one_rank(ranks: int) -> float:
        found = prefill_pass(model, Deployment(tensor_parallel_size=ranks), inputs["tokens"])
        return sum(stage.costs.flops for _, stages in found.chunks for stage in stages)

    return of_one_rank(1) / of_one_rank(inputs["ranks"])


QUANTITIES: dict[str, Quantity] = {
    "kv heads": _kv_heads,
    "parameters": _parameters,
    "divided flops": _divided_flops,
    "score share": lambda i, _: one_or_all(
        tuple(part / of for part, of in zip(i["scores"], i["of"], strict=True))
    ),
}
