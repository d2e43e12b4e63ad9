"""Mixtures of experts: how many, how large, shared ones, and which layers have them."""

from dataclasses import dataclass
from typing import Any, Literal

from planner.hf_config.reader import Fields, short
from planner.kinds.mlp import Mlp, MoE
from planner.tensors import Weight, linear, norm

NUM_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
PER_TOKEN = (
    "num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "moe_top_k",
)  # fmt: skip
NUM_SHARED = (
    "n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "num_shared_expert",
)  # fmt: skip
DENSE_FIRST = ("first_k_dense_replace", "num_dense_layers")

Where = Literal["all", "first", "but_one", "step", "interval"]
"""Layers with experts: all; all after the first dense ones; all but the very first; every
decoder_sparse_step-th; every moe_layer_interval-th between two positions."""


ELSEWHERE = "contradicts what places the experts of this model type"


@dataclass(frozen=True)
class Experts:
    """What a model type's code does about experts beyond its fields.

    size: the field that holds an expert's width, same_size one that may only repeat it.
    shared_size: the field that holds the width of the shared part; without it, shared experts are
    counted and each is as wide as a routed one. least_shared: the fewest that its code can have.
    listed: whether its layers may also be named one by one (mlp_layer_types).
    input_size: the field that holds what an expert reads and writes, behind a projection and a
    norm on both sides.
    score_bias: a bias per expert that the reference keeps as a parameter, not as a buffer.
    """

    where: Where = "all"
    listed: bool = False
    size: str = "moe_intermediate_size"
    same_size: str | None = None
    shared: bool = False
    least_shared: int = 0
    shared_size: str | None = None
    shared_gate: bool = False
    router_bias: bool = False
    expert_bias: bool = False
    mlp_bias: str | None = None
    gated: bool = True
    input_size: str | None = None
    score_bias: bool = False


def moe(fields: Fields, traits: Experts) -> MoE:
    """The expert layer that the fields describe."""
    num_experts = agreed(fields, *NUM_EXPERTS)
    fields.expect("moe_layer_num_skipped", 0)
    fields.expect("use_mixed_mlp_moe", True)
    per_token = agreed(fields, *PER_TOKEN)
    if per_token > num_experts:
        raise fields.refuse(
            "num_experts_per_tok", f"{per_token} is more than the {num_experts} experts there are"
        )
    names = (traits.size,) if traits.same_size is None else (traits.size, traits.same_size)
    size = agreed(fields, *names)
    bias = traits.mlp_bias is not None and fields.flag(traits.mlp_bias, default=False)
    shared_width = 0
    if traits.shared_size is not None:
        shared_width = fields.integer(traits.shared_size, default=0, least=0)
        if agreed(fields, *NUM_SHARED, default=1, least=0) != 1:
            raise fields.refuse(NUM_SHARED[0], f"contradicts {traits.shared_size}")
    elif traits.shared:
        least = traits.least_shared
        shared_width = size * agreed(fields, *NUM_SHARED, default=least, least=least)
    extras: tuple[Weight, ...] = ()
    if traits.score_bias:
        extras += (Weight("score_bias", (num_experts,), "vector"),)
    latent = None
    if traits.input_size is not None:
        latent, hidden_size = fields.integer(traits.input_size), fields.integer("hidden_size")
        extras += linear("pre_expert_proj", latent, hidden_size) + norm("pre_expert_norm", latent)
        extras += linear("post_expert_proj", hidden_size, latent) + norm("post_expert_norm", latent)
    return MoE(
        num_experts=num_experts,
        num_experts_per_tok=per_token,
        moe_intermediate_size=size,
        gated=traits.gated,
        bias=traits.expert_bias,
        router_bias=traits.router_bias,
        shared=shared_mlp(shared_width, traits.gated, bias),
        shared_gate=traits.shared_gate,
        input_size=latent,
        extras=extras,
    )


def shared_mlp(intermediate_size: int, gated: bool = True, bias: bool = False) -> Mlp | None:
    """The shared part of an expert layer; none where its width is 0."""
    if not intermediate_size:
        return None
    return Mlp(intermediate_size=intermediate_size, gated=gated, bias=bias)


def dense_mlp(fields: Fields, has_experts: list[bool], **traits: Any) -> Mlp | None:
    """What layers without experts have instead; None where there are none, and its width is moot.
    traits: fields of Mlp beside the width."""
    if all(has_experts):
        fields.ignore("intermediate_size")
        return None
    return Mlp(intermediate_size=fields.integer("intermediate_size"), **traits)


def agreed(fields: Fields, *names: str, default: int | None = None, least: int = 1) -> int:
    """A whole number that may stand under several names, refused where they disagree."""
    values = {n: fields.config[n] for n in names if fields.config.get(n) is not None}
    for name, value in values.items():
        if isinstance(value, list):
            if not value or any(item != value[0] for item in value):
                raise fields.refuse(name, "differs by layer, which is not understood")
            values[name] = value[0]
    if len({repr(value) for value in values.values()}) > 1:
        listed = ", ".join(f"{n}={short(v)}" for n, v in values.items())
        raise fields.refuse(next(iter(values)), f"is contradicted by another field ({listed})")
    fields.read.update(names)
    found = Fields(values, fields.path)
    present = [name for name in names if name in fields.config]
    return found.integer(*(values or present or names), default=default, least=least)


def sparse_layers(fields: Fields, count: int, traits: Experts) -> list[bool]:
    """Whether each layer has experts. `mlp_layer_types` wins where the model type's code reads it,
    and may only agree where it does not, as a list of moe_layer_freq always may.
    """
    types = fields.sequence("mlp_layer_types", length=count)
    flags = None
    if isinstance(fields.config.get("moe_layer_freq"), list):
        flags = fields.sequence("moe_layer_freq", length=count)
    else:
        fields.expect("moe_layer_freq", 1)
    found = [True] * count
    if traits.where == "first":
        first = fields.integer(*DENSE_FIRST, default=0, least=0)
        found = [index >= first for index in range(count)]
    elif traits.where == "but_one":
        found = [index > 0 for index in range(count)]
        for name in DENSE_FIRST if types is None else ():
            fields.expect(name, 1)
        fields.ignore(*DENSE_FIRST)
    elif traits.where == "step":
        step = fields.integer("decoder_sparse_step", default=1)
        dense = fields.positions("mlp_only_layers") or []
        found = [i not in dense and (i + 1) % step == 0 for i in range(count)]
    elif traits.where == "interval":
        start = fields.integer("moe_layer_start_index", default=1, least=0)
        end = fields.integer("moe_layer_end_index", default=-1, least=-1)
        every = fields.integer("moe_layer_interval", default=1)
        last = count - 1 if end == -1 else end
        found = [(i + 1) % every == 0 and start <= i <= last for i in range(count)]
    if types is not None:
        for kind in types:
            if kind not in ("dense", "sparse"):
                raise fields.refuse("mlp_layer_types", f"{short(kind)} is not understood")
        named = [kind == "sparse" for kind in types]
        if named != found and not traits.listed:
            raise fields.refuse("mlp_layer_types", ELSEWHERE)
        found = named
    for name, same in (
        ("moe_layer_freq", flags),
        ("is_moe_layer", fields.sequence("is_moe_layer", length=count)),
    ):
        if same is not None and [bool(flag) for flag in same] != found:
            raise fields.refuse(name, ELSEWHERE)
    return found
