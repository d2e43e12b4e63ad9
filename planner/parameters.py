"""How many parameters a model has, counted from its structure."""

from dataclasses import dataclass

from planner.model import LayerGroup, Model


@dataclass(frozen=True, slots=True)
class Parameters:
    """Counts of the text decoder and its head: tied weights once, MTP layers and towers apart.

    active is what one token passes through: everything but the experts it is not routed to.
    """

    total: int
    active: int
    embedding: int
    head: int
    mtp: int
    towers: int = 0

    @property
    def active_without_embedding(self) -> int:
        """The count that papers quote as active when they leave the input table out."""
        tied = self.head == 0
        return self.active if tied else self.active - self.embedding


def count(model: Model) -> Parameters:
    """Parameters of `model`."""
    outside = sum(weight.parameters for weight in model.outside())
    layers = sum(g.count * layer_parameters(model, g) for g in model.groups)
    active = sum(g.count * layer_parameters(model, g, active=True) for g in model.groups)
    mtp = sum(group.count * layer_parameters(model, group) for group in model.mtp)
    return Parameters(
        total=outside + layers,
        active=outside + active,
        embedding=sum(weight.parameters for weight in model.embedding),
        head=sum(weight.parameters for weight in model.head),
        mtp=mtp + sum(weight.parameters for weight in model.mtp_extras),
        towers=sum(weight.parameters for weight in model.towers),
    )


def layer_parameters(model: Model, group: LayerGroup, *, active: bool = False) -> int:
    """Parameters of one layer of `group`; with active=True, those that work on one token."""
    weights = group.weights(model.hidden_size)
    if active:
        return sum(weight.active_parameters for weight in weights)
    return sum(weight.parameters for weight in weights)
