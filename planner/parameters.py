"""How many parameters a model has, counted from its structure."""

from dataclasses import dataclass

from planner.attention import SOFTMAX
from planner.model import LayerGroup, Model
from planner.units import format_share


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


@dataclass(frozen=True, slots=True)
class Parts:
    """The total of `count` by what the tensors do. recurrent: linear attention and state spaces.

    feed_forward: experts and routers too. outside: embedding, head and what stands beside them.
    other: norms, and what a layer has beyond mixer and feed-forward.
    """

    attention: int
    recurrent: int
    feed_forward: int
    outside: int
    other: int

    def shares(self) -> dict[str, float]:
        """Of the whole, by the words that people read; parts that are not there left out."""
        named = {
            "attention": self.attention, "recurrent": self.recurrent,
            "feed-forward": self.feed_forward, "embedding and head": self.outside,
            "other": self.other,
        }  # fmt: skip
        whole = sum(named.values())
        return {name: n / whole for name, n in named.items() if n}


def parts(model: Model) -> Parts:
    """Where the parameters of `model` are."""
    attention = recurrent = feed_forward = other = 0
    for group in model.groups:
        for mixer in group.mixers:
            n = group.count * sum(w.parameters for w in mixer.weights(model.hidden_size))
            if isinstance(mixer, SOFTMAX):
                attention += n
            else:
                recurrent += n
        if group.mlp is not None:
            weights = group.mlp.weights(model.hidden_size)
            feed_forward += group.count * sum(w.parameters for w in weights)
        other += group.count * sum(w.parameters for w in group.norms)
    outside = sum(weight.parameters for weight in model.outside())
    return Parts(attention, recurrent, feed_forward, outside, other)


def in_words(shares: dict[str, float]) -> str:
    """'feed-forward 70.2 %, attention 16.7 %, ...', largest first, without what rounds to 0."""
    found = sorted(shares.items(), key=lambda part: -part[1])
    return ", ".join(f"{name} {format_share(share, 1)}" for name, share in found if share >= 0.0005)
