"""A model whose feed-forward layers make up for what another attention saves or costs.

    with_parameters(mqa, count(published).total)

Forms of attention are compared at equal parameters in papers: multi-query attention with a
feed-forward of 9,088 instead of 8,192 (Shazeer 2019, arXiv 1911.02150, its language model).
"""

from math import gcd

from planner.errors import PlanRefused
from planner.formats.gguf_tensors import reshaped
from planner.kinds.mlp import Mlp, MoE
from planner.model import FeedForward, Model
from planner.parameters import count

MULTIPLE = 128
"""Widths stay multiples of it where they were: a tile of the matrix kernels, and the group and
block size of most number formats."""
EXPERT_MULTIPLE = 16
"""Of the experts: they are many and narrow, so that 128 would miss the number by percents."""


def with_parameters(model: Model, total: int) -> Model:
    """`model` with every feed-forward width scaled alike, as near to `total` as multiples allow.

    Raises PlanRefused for a model without feed-forward layers, or where none would be left.
    """
    now = count(model).total
    if now == total:
        return model
    variable = now - count(_scaled(model, 0.0)).total
    if not variable:
        raise PlanRefused("this model has no feed-forward layer that could take the difference")
    factor = 1 + (total - now) / variable
    found = _scaled(model, factor)
    if min(widths(found)) <= 0:
        raise PlanRefused("no feed-forward layer would be left at the same number of parameters")
    return found


def widths(model: Model) -> tuple[int, ...]:
    """Intermediate sizes of its feed-forward layers and experts, each once, widest first."""
    layers = [group.mlp for group in model.groups if group.mlp is not None]
    layers += [mlp.shared for mlp in layers if isinstance(mlp, MoE) and mlp.shared is not None]
    found = {m.moe_intermediate_size if isinstance(m, MoE) else m.intermediate_size for m in layers}
    return tuple(sorted(found, reverse=True))


def _scaled(model: Model, factor: float) -> Model:
    groups = tuple(
        group if group.mlp is None else group.model_copy(update={"mlp": _wider(group.mlp, factor)})
        for group in model.groups
    )
    fields = {field: getattr(model, field) for field in Model.model_fields}
    return Model(**{**fields, "groups": groups, **reshaped(model)})


def _wider(mlp: FeedForward, factor: float) -> FeedForward:
    if isinstance(mlp, Mlp):
        return _wider_mlp(mlp, factor)
    return mlp.model_copy(
        update={
            "moe_intermediate_size": _width(mlp.moe_intermediate_size, factor, EXPERT_MULTIPLE),
            "shared": None if mlp.shared is None else _wider_mlp(mlp.shared, factor),
        }
    )


def _wider_mlp(mlp: Mlp, factor: float) -> Mlp:
    return mlp.model_copy(
        update={"intermediate_size": _width(mlp.intermediate_size, factor, MULTIPLE)}
    )


def _width(width: int, factor: float, most: int) -> int:
    multiple = gcd(width, most)
    return multiple * round(width * factor / multiple)
