"""Which format every weight of a model is stored in.

    assignment = assign(model, "auto")
    assignment.description  # 'fp8_block (quantization_config: fp8), the rest bf16'

"auto" honours the model's own `quantization_config`; a name overrides it: matrices and experts
take that format, and embeddings, head, routers, norms and biases keep the model's dtype, except
under GGUF types, which store embeddings and head in blocks too and everything else in fp32.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from math import prod

from planner.errors import ConfigRefused
from planner.formats.ggml_types import BY_NAME
from planner.formats.gguf_assignment import FUSED_QKV, GgufTypes, Stored, held_in_gguf
from planner.formats.gguf_tensors import LIKE, FileTypes
from planner.formats.module_names import Module, outside, tails
from planner.formats.quantization_config import scheme
from planner.formats.quantization_scheme import FIELD, Scheme
from planner.formats.weight_formats import UNQUANTISED, WeightFormat, weight_format
from planner.kinds.mlp import MoE
from planner.memo import memo
from planner.model import LayerGroup, Model
from planner.tensors import Weight

FUSED_GATES = {"phi3", "glm", "glm4", "chatglm"}
"""Model types whose checkpoints hold gate and up projection as one matrix."""

LINEAR_LAYERS = {"bitnet", "eetq", "fp_quant", "higgs", "hqq", "quanto", "torchao"}
"""Methods of transformers 5.24 that quantise what is a torch.nn.Linear (integrations/ and
quantizers/quantizer_torchao), which experts were before it."""


@dataclass(frozen=True, slots=True)
class Part:
    """Layers of one group whose weights are all stored alike. weights: those of one layer."""

    group: LayerGroup
    layers: tuple[int, ...]
    weights: Stored


@dataclass(frozen=True, slots=True)
class Assignment:
    """Formats of a whole model; MTP layers apart, numbered from 0.

    notes say where the figure rests on an assumption. method, capability and cuda_only are those
    of the checkpoint's own Scheme, where no name was asked for.
    """

    weights_dtype: str
    description: str
    layers: tuple[Part, ...]
    outside: Stored
    mtp: tuple[Part, ...] = ()
    mtp_outside: Stored = ()
    notes: tuple[str, ...] = ()
    method: str | None = None
    capability: float | None = None
    cuda_only: bool = False

    def bytes_by_format(self) -> dict[str, int]:
        """Bytes of the decoder (without MTP layers) by name of format, largest first."""
        return self._by_format(lambda weight, fmt: fmt.bytes(weight.shape))

    @property
    def commonest(self) -> str:
        """The format that most of the decoder's parameters are stored in, whatever their bytes."""
        return next(iter(self._by_format(lambda weight, _: prod(weight.shape))))

    def _by_format(self, size: Callable[[Weight, WeightFormat], int]) -> dict[str, int]:
        found: dict[str, int] = {}
        for count, stored in [(len(p.layers), p.weights) for p in self.layers] + [
            (1, self.outside)
        ]:
            for weight, fmt in stored:
                more = count * weight.copies * size(weight, fmt)
                found[fmt.name] = found.get(fmt.name, 0) + more
        return dict(sorted(found.items(), key=lambda item: -item[1]))


@memo(maxsize=256)
def assign(model: Model, weights_dtype: str) -> Assignment:
    """The format of every weight of `model`; kept per model object and name.

    Raises ConfigRefused where its quantization_config does not settle the bytes, PlanRefused for
    a name that is no format.
    """
    name = weights_dtype.lower()
    rest = UNQUANTISED[model.dtype]
    if held_in_gguf(model, name):
        like = (model.quantization or {}).get(LIKE) if name == "auto" else None
        if like is not None:
            if not isinstance(like, str) or like not in BY_NAME:
                raise ConfigRefused(
                    f"{FIELD}: {LIKE} is {str(like)[:40]!r}, which is no type of a GGUF file's "
                    "tensors",
                    field=FIELD,
                )
            return replace(assign(model, like), weights_dtype=name)
        return _gguf(model, name)
    if name == "auto":
        if model.quantization is None:
            return _uniform(model, name, rest)
        found = scheme(model.quantization)
        own = _by_scheme(model, name, found, rest, f"quantization_config: {found.method}")
        if found.names_all and own.bytes_by_format().keys() == {rest.name}:
            raise ConfigRefused(
                f"{FIELD}: the modules that it names are none of this model's, so nothing says "
                "what is quantised: name a weights dtype instead",
                field=FIELD,
            )
        return replace(
            own, method=found.method, capability=found.capability, cuda_only=found.cuda_only,
            notes=_experts_apart(model, found),
        )  # fmt: skip
    wanted = weight_format(name)
    if wanted in UNQUANTISED.values():
        return _uniform(model, name, wanted)
    return _by_scheme(model, name, Scheme(name, wanted, wanted), rest, "as asked")


def _experts_apart(model: Model, found: Scheme) -> tuple[str, ...]:
    has = any(isinstance(group.mlp, MoE) for group in model.groups)
    if not has or found.expert is None or found.method not in LINEAR_LAYERS:
        return ()
    return (
        f"Experts count as {found.expert.name}, as linear layers of their own. transformers 5 "
        f"holds those of a layer in one tensor, which {found.method} leaves in 16 bits: a "
        "checkpoint that it wrote is larger.",
    )


def _uniform(model: Model, name: str, fmt: WeightFormat) -> Assignment:
    def parts(groups: Iterable[LayerGroup]) -> tuple[Part, ...]:
        return tuple(
            Part(g, g.layers, tuple((w, fmt) for w in g.weights(model.hidden_size))) for g in groups
        )

    return Assignment(
        name, f"every weight in {fmt.name}", parts(model.groups),
        tuple((w, fmt) for w in model.outside()), parts(model.mtp),
        tuple((w, fmt) for w in model.mtp_extras),
    )  # fmt: skip


def _by_scheme(model: Model, name: str, found: Scheme, rest: WeightFormat, why: str) -> Assignment:
    def stored(weight: Weight, module: Module) -> tuple[Weight, WeightFormat]:
        fmt = found.format_of(weight, module) or rest
        return weight, _second_half(fmt) if _is_fused(model, weight) else fmt

    def parts(groups: Iterable[LayerGroup], *, mtp: bool = False) -> tuple[Part, ...]:
        result: list[Part] = []
        for group in groups:
            named = tails(group, model.hidden_size)
            alike: dict[Stored, list[int]] = {}
            for index in group.layers if found.per_layer else group.layers[:1]:
                roots = _mtp_roots(model, index) if mtp else (f"layers.{index}",)
                weights = tuple(stored(w, Module(roots, t, w.copies)) for w, t in named)
                alike.setdefault(weights, []).append(index)
            result += [
                Part(group, tuple(layers) if found.per_layer else group.layers, weights)
                for weights, layers in alike.items()
            ]
        return tuple(result)

    layers, outer = parts(model.groups), tuple(stored(w, outside(w)) for w in model.outside())
    used = {fmt.name for part in layers for _, fmt in part.weights if fmt != rest}
    used |= {fmt.name for _, fmt in outer if fmt != rest}
    what = " and ".join(sorted(used)) or "nothing quantised"
    extras = tuple(stored(w, Module(_mtp_roots(model, 0), (w.name,))) for w in model.mtp_extras)
    return Assignment(
        name, f"{what} ({why}), the rest {rest.name}", layers, outer,
        parts(model.mtp, mtp=True), extras,
    )  # fmt: skip


def _is_fused(model: Model, weight: Weight) -> bool:
    """Whether the checkpoint holds this matrix in one with another that stands before it."""
    name = weight.name.rpartition(".")[2]
    return (model.model_type in FUSED_QKV and name in ("k_proj", "v_proj")) or (
        model.model_type in FUSED_GATES and name == "up_proj"
    )


def _second_half(fmt: WeightFormat) -> WeightFormat:
    """The format without what a matrix has once, and has with its first half."""
    return replace(fmt, tensor_bytes=0, input_bytes=0)


def _mtp_roots(model: Model, index: int) -> tuple[str, ...]:
    """Checkpoints number MTP layers on after the decoder's, or apart under `mtp`."""
    return (f"layers.{model.num_hidden_layers + index}", f"mtp.layers.{index}", f"mtp.{index}")


def _gguf(model: Model, name: str) -> Assignment:
    types = FileTypes(model) if name == "auto" else GgufTypes(model, name)

    def parts(groups: Iterable[LayerGroup], first: int = 0) -> tuple[Part, ...]:
        result: list[Part] = []
        for group in groups:
            alike: dict[Stored, list[int]] = {}
            for index in group.layers:
                alike.setdefault(types.layer(group, first + index), []).append(index)
            result += [Part(group, tuple(layers), weights) for weights, layers in alike.items()]
        return tuple(result)

    outer = types.outside(tuple(model.outside()))
    if isinstance(types, GgufTypes):
        mtp, beside = parts(model.mtp), types.outside(model.mtp_extras)
    else:
        mtp = parts(model.mtp, model.num_hidden_layers)
        beside = types.prediction(model.mtp_extras)
    found = Assignment(
        name, types.description, parts(model.groups), outer, mtp, beside, types.notes
    )  # fmt: skip
    if isinstance(types, FileTypes):
        types.finish()
    return found
