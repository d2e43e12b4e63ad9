"""The tensors of a model with the types that a GGUF file gives them, one by one.

A `quantization_config` of quant_method "gguf" lists the file's tensors:

    {"quant_method": "gguf", "tensors": {"blk.0.attn_q.weight": "q4_k 4096x4096", ...}}
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import prod
from typing import Any

from planner.errors import ConfigRefused
from planner.formats.ggml_types import BY_NAME
from planner.formats.gguf_assignment import METHOD, Stored, held_in_gguf, split_latents
from planner.formats.gguf_names import (
    BUFFERS,
    FIRST_NORM,
    LEFT_OVER,
    NORMS,
    OUTSIDE,
    OWN_NORM,
    OWN_TABLES,
    POSITIONS,
    PREDICTION,
    UNUSED,
    Names,
    names_of,
)
from planner.formats.weight_formats import WeightFormat
from planner.kinds.attention import Attention, LatentAttention
from planner.kinds.mlp import Mlp, MoE
from planner.model import LayerGroup, Model
from planner.tensors import Weight

FIELD = "quantization_config.tensors"
LIKE = "like"
"""In place of tensors: the type that every matrix is stored in."""


def tensors_of(quantization: Mapping[str, Any]) -> dict[str, tuple[WeightFormat, tuple[int, ...]]]:
    """Type and shape of every tensor by name. Raises ConfigRefused naming what is wrong."""
    listed = quantization.get("tensors")
    if not isinstance(listed, Mapping) or not listed:
        raise ConfigRefused(f"{FIELD} is no list of a GGUF file's tensors", field=FIELD)
    found = {}
    for name, text in listed.items():
        kind, _, shape = str(text).partition(" ")
        sizes = shape.split("x")
        if kind not in BY_NAME or not all(n.isdecimal() and len(n) < 16 for n in sizes):
            raise ConfigRefused(
                f"{FIELD}: {name[:80]} has {str(text)[:40]!r}, where a type and a shape such as "
                "'q4_k 4096x4096' belong",
                field=FIELD,
            )
        found[name] = (BY_NAME[kind], tuple(int(n) for n in sizes))
    return found


def most_of(tensors: Mapping[str, tuple[WeightFormat, tuple[int, ...]]]) -> list[str]:
    """Names of the types, by how many elements they hold."""
    held: dict[str, int] = {}
    for kind, shape in tensors.values():
        held[kind.name] = held.get(kind.name, 0) + prod(shape)
    return sorted(held, key=lambda name: -held[name])


def reshaped(model: Model) -> dict[str, Any]:
    """What a copy of `model` with other layers must change: it is no longer what the files hold. Of
    a GGUF file it keeps the type that most of it has, as LIKE."""
    if not held_in_gguf(model, "auto") or LIKE in (model.quantization or {}):
        return {"files": None}
    kinds = most_of(tensors_of(model.quantization or {}))
    return {"files": None, "quantization": {"quant_method": METHOD, LIKE: kinds[0]}}


class FileTypes:
    """The type of each weight of `model` in the GGUF file that its configuration lists."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.tensors = tensors_of(model.quantization or {})
        self.taken: dict[str, int] = {}
        self.description = f"GGUF file's own types ({', '.join(most_of(self.tensors))})"
        self.notes: tuple[str, ...] = ()

    def layer(self, group: LayerGroup, index: int) -> Stored:
        """The tensors of layer `index`, one of `group`."""
        prefix = f"blk.{index}."
        found = self._left_over(prefix, group.norms)
        for mixer in group.mixers:
            if isinstance(mixer, Attention) and f"{prefix}attn_k.weight" in self.tensors:
                # of its own, though it reads another's cache, as checkpoints keep them
                mixer = mixer.model_copy(update={"shares_cache": False})
            weights = mixer.weights(self.model.hidden_size)
            if isinstance(mixer, LatentAttention) and f"{prefix}attn_k_b.weight" in self.tensors:
                weights = split_latents(mixer, weights)
            found += self._all(prefix, weights, names_of(mixer))
        if group.mlp is not None:
            weights = group.mlp.weights(self.model.hidden_size)
            found += self._all(prefix, weights, names_of(group.mlp))
        return (*found, *self._kept(prefix, group.mlp))

    def outside(self, weights: tuple[Weight, ...]) -> Stored:
        """The tensors outside the layers."""
        return tuple(self._all("", weights, OUTSIDE))

    def prediction(self, weights: tuple[Weight, ...]) -> Stored:
        """What joins the prediction layers to the decoder; `weights` have one copy for each."""
        first = self.model.num_hidden_layers
        found: list[tuple[Weight, WeightFormat]] = []
        for weight in weights:
            for index in range(first, first + weight.copies):
                if weight.name == "norm" and f"blk.{index}.{OWN_NORM}" not in self.tensors:
                    continue
                found += self._find(f"blk.{index}.", replace(weight, copies=1), PREDICTION)
        table = self.model.embedding[0]
        layers = [first + index for group in self.model.mtp for index in group.layers]
        for name in [f"blk.{index}.{own}" for index in layers for own in OWN_TABLES]:
            if name in self.tensors:
                found.append((table, self._take(name, table.parameters)))
        return tuple(found)

    def finish(self) -> None:
        """Refuse a file of which a tensor was not asked for, or is not as large as what was."""
        for name, (_, shape) in self.tensors.items():
            if name in POSITIONS:
                continue
            taken = self.taken.get(name)
            if taken is None:
                raise ConfigRefused(
                    f"{name[:80]}: this tensor is none that Sizewell knows in a "
                    f"{self.model.model_type} model",
                    field=FIELD,
                )
            if taken != prod(shape):
                raise ConfigRefused(
                    f"{name[:80]}: it has {prod(shape):,} elements, where the metadata make "
                    f"{taken:,}",
                    field=FIELD,
                )

    def _all(
        self, prefix: str, weights: Iterable[Weight], names: Names
    ) -> list[tuple[Weight, WeightFormat]]:
        return [found for weight in weights for found in self._find(prefix, weight, names)]

    def _left_over(
        self, prefix: str, weights: tuple[Weight, ...]
    ) -> list[tuple[Weight, WeightFormat]]:
        """Norms stand in the file's order, what else there is by its name."""
        found: list[tuple[Weight, WeightFormat]] = []
        norms = {
            "weight": [f"{prefix}{name}{end}" for name in NORMS for end in (".weight", "")],
            "bias": [f"{prefix}{name}.bias" for name in NORMS],
        }
        if prefix == "blk.0.":
            for end, names in norms.items():
                names.append(f"{FIRST_NORM}.{end}")
        left = {end: [n for n in names if n in self.tensors] for end, names in norms.items()}
        for weight in weights:
            if weight.name in LEFT_OVER:
                found += self._find(prefix, weight, LEFT_OVER)
                continue
            end = "bias" if weight.name.endswith(".bias") else "weight"
            if not left[end]:
                usual = (name for name in norms[end] if name.endswith(f".{end}"))
                raise self._missing(next(name for name in usual if name not in self.taken))
            found.append((weight, self._take(left[end].pop(0), weight.parameters)))
        return found

    def _kept(self, prefix: str, mlp: Mlp | MoE | None) -> Stored:
        """What the layer holds beyond the model's parameters."""
        scores = mlp.num_experts if isinstance(mlp, MoE) else 0
        sizes: dict[str, tuple[int, ...]]
        sizes = {f"{prefix}{name}": (scores if "exp" in name else 1,) for name in BUFFERS}
        if prefix == "blk.0.":
            sizes |= {name: self.tensors[name][1] for name in UNUSED if name in self.tensors}
        found = []
        for name, shape in sizes.items():
            if name in self.tensors and name not in self.taken:
                weight = Weight(name.removeprefix(prefix), shape, "vector")
                found.append((weight, self._take(name, prod(shape))))
        return tuple(found)

    def _find(self, prefix: str, weight: Weight, names: Names) -> Stored:
        """The tensors that hold a weight. Where several hold it, each is a part of its size."""
        stem, bias = weight.name.removesuffix(".bias"), weight.name.endswith(".bias")
        if weight.name in names:
            stem, bias = weight.name, False
        ends = (".bias",) if bias else (".weight", "", ".bias")
        wanted = names.get(stem, (stem,))
        if not wanted:
            return ()
        for name in wanted:
            for end in ends:
                parts = [f"{prefix}{part}{end}" for part in name.split("+")]
                if all(part in self.tensors for part in parts):
                    return self._stored(weight, parts)
        raise self._missing(f"{prefix}{wanted[0].partition('+')[0]}{ends[0]}")

    def _stored(self, weight: Weight, parts: list[str]) -> Stored:
        if len(parts) == 1:
            return ((weight, self._take(parts[0], weight.parameters)),)
        found, left = [], weight.parameters
        for part in parts:
            shape = self.tensors[part][1]
            mine = left if part == parts[-1] else prod(shape)
            matrix = (prod(shape[:-1]), shape[-1])
            found.append((replace(weight, shape=matrix, copies=1), self._take(part, mine)))
            left -= mine
        return tuple(found)

    def _take(self, name: str, parameters: int) -> WeightFormat:
        self.taken[name] = self.taken.get(name, 0) + parameters
        return self.tensors[name][0]

    def _missing(self, name: str) -> ConfigRefused:
        return ConfigRefused(
            f"{name}: the file has no such tensor, which a {self.model.model_type} model needs: it "
            "is a part of one, or not as its metadata say",
            field=FIELD,
        )
