"""Scheme: the formats that a quantisation gives a model's matrices, and where it leaves them alone.

The readers of `quantization_config` build one; `quantization` asks it weight by weight.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from planner.errors import ConfigRefused
from planner.formats.module_names import Module, Patterns, bare
from planner.formats.weight_formats import WeightFormat
from planner.hf_config.reader import Fields, short
from planner.tensors import Weight

FIELD = "quantization_config"

NEVER = frozenset({
    "shared_expert_gate", "weights_proj", "eh_proj", "per_layer_model_projection",
    "routed_expert_down_proj", "routed_expert_up_proj",
})  # fmt: skip
"""Matrices that every published checkpoint and engine keeps unquantised."""

MATRICES = ("linear", "expert", "router", "embedding")
"""Roles of the weights that a checkpoint may quantise."""
EMBEDDING = "embed_tokens"
_EXPERT = re.compile(r"(?<=experts\.)\d+(?=\.)")

Rule = tuple[Patterns, WeightFormat | None]


def _nothing() -> Patterns:
    return Patterns((), FIELD)


@dataclass(frozen=True)
class Scheme:
    """The format of linear and expert matrices; None leaves them in the model's dtype.

    ignore: modules left alone. named: formats of single modules, by path without what stands
    before the layers; experts by their first. rules: exceptions, of which the first that fits wins.
    head: lm_head is treated like any linear layer. table: of the input embedding. capability: the
    CUDA compute capability that its kernels need, where the method itself asks for one, which are
    cuda_only or AMD's too. sure: the only weights, by the last part of their names, of which it
    says how they are stored.
    """

    method: str
    linear: WeightFormat | None
    expert: WeightFormat | None
    ignore: Patterns = field(default_factory=_nothing)
    rules: tuple[Rule, ...] = ()
    head: bool = False
    named: Mapping[str, WeightFormat | None] = field(default_factory=dict)
    table: WeightFormat | None = None
    capability: float | None = None
    cuda_only: bool = False
    sure: frozenset[str] | None = None

    @property
    def per_layer(self) -> bool:
        listed = any(patterns.per_layer for patterns, _ in self.rules)
        return self.ignore.per_layer or listed or any("layers." in name for name in self.named)

    @property
    def names_all(self) -> bool:
        """Whether modules are quantised, and only those that it names."""
        listed = (*self.named.values(), *(found for _, found in self.rules))
        return self.linear is None and self.expert is None and any(listed)

    def format_of(self, weight: Weight, module: Module) -> WeightFormat | None:
        """The weight's format, or None where it keeps the model's dtype."""
        found = self._chosen(weight, module)
        return found if found is not None and found.takes(weight.shape) else None

    def _chosen(self, weight: Weight, module: Module) -> WeightFormat | None:
        if weight.role not in MATRICES or self.ignore.match(module):
            return None
        if weight.name == EMBEDDING:
            return self.table
        is_head = self.head and weight.name == "lm_head"
        if self.named and (is_head or weight.role != "embedding"):
            for path in module.paths():
                if path in self.named:
                    return self.named[path]
        if self.sure is not None and weight.name.rpartition(".")[2] not in self.sure:
            raise ConfigRefused(
                f"{FIELD}: does not say how {weight.name} is stored, which the files alone do: "
                "name a weights dtype instead",
                field=FIELD,
            )
        if weight.name in NEVER or (weight.role not in ("linear", "expert") and not is_head):
            return None
        for patterns, found in self.rules:
            if patterns.match(module):
                return found
        return self.expert if weight.role == "expert" else self.linear


def names(fields: Fields, *lists: str) -> list[str]:
    """All module names in the named lists, absent ones empty."""
    found: list[str] = []
    for name in lists:
        for entry in fields.sequence(name) or ():
            if not isinstance(entry, str):
                raise fields.refuse(name, f"{short(entry)} is not a module name")
            found.append(entry)
    return found


def patterns(fields: Fields, *lists: str) -> Patterns:
    """The named lists as one."""
    return Patterns(names(fields, *lists), fields.name_of(lists[0]))


def converted(fields: Fields, name: str = "modules_to_not_convert") -> tuple[Patterns, bool]:
    """What is left alone, and whether the head is not: a list that is given stands for itself.

    Source: transformers 5.24, HfQuantizer.get_modules_to_not_convert.
    """
    return patterns(fields, name), fields.raw(name) is not None


def by_name(
    formats: Iterable[tuple[str, WeightFormat | None]], field: str
) -> dict[str, WeightFormat | None]:
    """Formats of single modules for `Scheme.named`. Refuses experts of a layer that differ."""
    found: dict[str, WeightFormat | None] = {}
    for name, fmt in formats:
        key = _EXPERT.sub("0", bare(name.removesuffix(".weight")))
        if found.setdefault(key, fmt) != fmt:
            raise ConfigRefused(
                f"{field}: experts of one layer differ at {short(name)}, which cannot be sized",
                field=field,
            )
    return found


def both(
    method: str, found: WeightFormat, ignore: Patterns, rules: Iterable[Rule] = (), **rest: Any
) -> Scheme:
    """A Scheme that treats experts like any other matrix."""
    return Scheme(method, found, found, ignore, tuple(rules), **rest)


def block(fields: Fields, name: str) -> tuple[int, int] | None:
    """Rows and columns that share a scale, as [128, 128] or "128x128"; None where absent."""
    value = fields.raw(name)
    if value is None:
        return None
    if isinstance(value, str):
        value = [int(part) if part.isdigit() else part for part in value.split("x")]
    if (
        not isinstance(value, list)
        or len(value) != 2
        or not all(isinstance(n, int) and n > 0 for n in value)
    ):
        raise fields.refuse(name, f"{short(value)} is not a block of rows and columns")
    return value[0], value[1]


def group_size(
    fields: Fields, name: str = "group_size", *others: str, default: int = 128
) -> int | None:
    """Group size; -1 or a null one means a scale per output."""
    size = fields.integer(name, *others, default=default, least=-1)
    if size == 0:
        raise fields.refuse(name, "is 0: it must be -1 or at least 1")
    return size if size > 0 else None
