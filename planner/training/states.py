"""Model states: parameters, gradients, master copy and optimizer states, and where each lies.

Per trainable parameter in mixed precision with Adam: 2 + 2 + 4 + 8 bytes (Rajbhandari et al. 2020,
ZeRO). Stage 1 shards master and optimizer, 2 the gradients too, 3 the parameters too.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from planner.training.optimizers import OPTIMIZERS
from planner.training.recipe import Place, Recipe
from planner.training.tensors import Held
from planner.units import ceil_div

SCALE_BYTES = {"nf4": 1 / 64 + 4 / (64 * 256)}
"""Per frozen parameter with double quantisation: an 8-bit scale per 64, an fp32 scale per 256 of
those (Dettmers et al. 2023, QLoRA). They are no parameters, so every rank keeps all of them
(bitsandbytes issue 1945); int8 has one a row, which is not counted."""
FP8_COPIES = 2
"""Bytes per matrix parameter: an fp8 copy and its transpose (Transformer Engine on Hopper)."""


@dataclass(frozen=True, slots=True)
class State:
    """One kind of state on one rank: its bytes, and where they lie ("none": on the GPU)."""

    name: str
    bytes: int
    place: Place
    formula: str


@dataclass(frozen=True, slots=True)
class States:
    """All states of one rank. gathered: ZeRO-3's largest module, parameters and gradients.

    updated: parameters that its optimizer updates.
    """

    parameters: int
    trainable: int
    updated: int
    states: tuple[State, ...]
    gathered_bytes: int

    def in_place(self, place: Place) -> int:
        return sum(s.bytes for s in self.states if s.place == place)

    @property
    def gpu_bytes(self) -> int:
        return self.in_place("none") + self.gathered_bytes


def parameter_bytes(recipe: Recipe) -> int:
    """Of a trainable parameter as the layers compute with it."""
    return 4 if recipe.precision == "fp32" else 2


def has_master(recipe: Recipe) -> bool:
    return recipe.master_weights and recipe.precision != "fp32"


def gradient_bytes(recipe: Recipe) -> int:
    """Per trainable parameter: 2, 4, or both."""
    if recipe.precision == "fp32":
        return 4
    auto = "fp32" if recipe.sharding == "fsdp2" and has_master(recipe) else "16-bit"
    name = auto if recipe.gradient_dtype == "auto" else recipe.gradient_dtype
    return {"16-bit": 2, "fp32": 4, "both": 6}[name]


def reduced_bytes(recipe: Recipe) -> int:
    """Per gradient as ranks send it to be reduced."""
    if recipe.reduce_dtype != "auto":
        return {"16-bit": 2, "fp32": 4}[recipe.reduce_dtype]
    whole = recipe.gradient_dtype == "fp32" and recipe.stage < 2
    return 4 if whole else parameter_bytes(recipe)


def shard_bytes(tensor: Held, recipe: Recipe) -> int:
    """What one rank stores at stage 3 of a tensor to compute with: FSDP2's may be fp32."""
    each = parameter_bytes(recipe)
    if tensor.trainable and recipe.sharding == "fsdp2" and has_master(recipe):
        each = 4
    return _share(tensor.gathered_bytes(each), tensor, recipe, sharded=True)


def states(held: Iterable[Held], recipe: Recipe, largest_module: int) -> States:
    """What one rank stores of these tensors. largest_module: parameters of the largest one."""
    tensors = tuple(held)
    stage = recipe.stage
    frozen = sum(
        _share(t.gathered_bytes(parameter_bytes(recipe)), t, recipe, stage >= 3)
        for t in tensors
        if not t.trainable
    )
    scales = sum(int(SCALE_BYTES.get(t.base, 0) * t.parameters) for t in tensors)
    trained = [t for t in tensors if t.trainable]
    n = sum(t.parameters for t in trained)
    fp32_sharded = recipe.sharding == "fsdp2" and has_master(recipe)
    p = 0 if fp32_sharded else parameter_bytes(recipe)
    g = gradient_bytes(recipe)
    m = 4 if has_master(recipe) else 0
    optimizer = OPTIMIZERS[recipe.optimizer]

    def per_parameter(size: int, from_stage: int) -> int:
        return sum(_share(size * t.parameters, t, recipe, stage >= from_stage) for t in trained)

    moments = sum(
        _share(t.count * optimizer.state_bytes(t.shape, t.role), t, recipe, stage >= 1)
        for t in trained
    )
    copies = 0
    if recipe.precision == "fp8":
        multiplied = [t for t in tensors if t.role in ("linear", "expert") and len(t.shape) == 2]
        copies = sum(
            _share(FP8_COPIES * t.parameters, t, recipe, stage >= 3) for t in multiplied
        )  # fmt: skip
    params, optim = recipe.offload_parameters, recipe.offload_optimizer
    offloaded = 4 if optim != "none" and m else g
    over = f" / {recipe.shards}" if recipe.shards > 1 else ""
    cut = ["" if stage < s else over for s in range(4)]
    rows = [
        State("parameters", per_parameter(p, 3), params, f"{n:,} x {p}{cut[3]}"),
        State("frozen parameters", frozen, params, f"stored bytes of frozen tensors{cut[3]}"),
        State("quantisation scales", scales, "none", "scales of 4-bit tensors, whole on each GPU"),
        State("copies in fp8", copies, "none", f"matrix parameters x {FP8_COPIES}{cut[3]}"),
        State(
            "gradients", per_parameter(g if optim == "none" else offloaded, 2), optim,
            f"{n:,} x {g if optim == 'none' else offloaded}{cut[2]}",
        ),
        State("master weights", per_parameter(m, 1), optim, f"{n:,} x {m}{cut[1]}"),
        State("optimizer states", moments, optim, f"{optimizer.description}{cut[1]}"),
    ]  # fmt: skip
    live = 0
    if recipe.sharding == "zero3":
        live = (parameter_bytes(recipe) + (2 if recipe.lora is None else 0)) * largest_module
    total = sum(t.parameters for t in tensors)
    rows = [row for row in rows if row.bytes]
    return States(total, n, per_parameter(1, 1), tuple(rows), live)


def _share(size: int, tensor: Held, recipe: Recipe, sharded: bool) -> int:
    """This rank's part of `size` bytes: experts have fewer replicas to shard over."""
    if not sharded:
        return size
    return ceil_div(size, recipe.replicas(tensor.expert))
