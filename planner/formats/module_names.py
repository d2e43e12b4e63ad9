"""Which modules a quantisation's lists mean: the names a layer's weights go by in checkpoints.

Lists such as `modules_to_not_convert` and `ignore` name modules in many ways: whole paths, a bare
last part, globs, `re:` expressions, the fused names of an engine, individual experts. A weight is
meant when any of the names it is known by is.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import translate

from planner.errors import ConfigRefused
from planner.kinds.linear_attention import KimiDeltaAttention
from planner.kinds.mlp import MoE
from planner.kinds.recurrent import GatedDeltaNet
from planner.model import LayerGroup
from planner.tensors import Weight

PREFIXES = (
    "model.language_model.", "language_model.model.", "language_model.", "model.decoder.", "model.",
    "transformer.", "backbone.", "",
)  # fmt: skip

ALSO_CALLED = {
    "q_proj": ("qkv_proj", "query_key_value", "c_attn", "Wqkv", "wq"),
    "k_proj": ("qkv_proj", "query_key_value", "c_attn", "Wqkv", "wk"),
    "v_proj": ("qkv_proj", "query_key_value", "c_attn", "Wqkv", "wv"),
    "o_proj": ("dense", "out_proj", "wo"),
    "q_a_proj": ("fused_qkv_a_proj", "wq_a"),
    "kv_a_proj_with_mqa": ("fused_qkv_a_proj",),
    "q_b_proj": ("wq_b",),
    "gate_proj": ("gate_up_proj", "w1"),
    "up_proj": ("gate_up_proj", "w3", "fc1", "c_fc", "dense_h_to_4h"),
    "down_proj": ("w2", "fc2", "c_proj", "dense_4h_to_h"),
    "router": ("gate",),
    "embed_tokens": ("wte", "word_embeddings", "embed_in", "tok_embeddings", "embeddings"),
    "lm_head": ("output", "embed_out", "head", "output_layer"),
}

ATTENTION = ("self_attn", "attention", "attn", "self_attention", "mixer")
FEED_FORWARD = ("mlp", "feed_forward", "block_sparse_moe", "ffn", "mixer")
SHARED = ("shared_experts", "shared_expert", "shared_mlp")
_ONE_EXPERT = re.compile(r"(.*experts)\.(\d+)(?:\.(\w+))?")


@dataclass(frozen=True, slots=True)
class Module:
    """The names of one weight: every root, a dot, every tail. experts: how many share them."""

    roots: tuple[str, ...]
    tails: tuple[str, ...]
    experts: int = 0

    def paths(self) -> Iterator[str]:
        for root in self.roots:
            for tail in self.tails:
                yield f"{root}.{tail}" if root else tail


def tails(group: LayerGroup, hidden_size: int) -> list[tuple[Weight, tuple[str, ...]]]:
    """Every weight of one layer, in the layer's own order, with its names inside the layer."""
    found: list[tuple[Weight, tuple[str, ...]]] = [(w, (w.name,)) for w in group.norms]
    for mixer in group.mixers:
        homes: tuple[str, ...] = ATTENTION
        if "attention" not in mixer.type and not isinstance(mixer, KimiDeltaAttention):
            homes = ("linear_attn",) if isinstance(mixer, GatedDeltaNet) else ("mamba", "mixer")
        found += [(weight, _inside(weight, homes)) for weight in mixer.weights(hidden_size)]
    if group.mlp is None:
        return found
    shared = group.mlp.shared if isinstance(group.mlp, MoE) else None
    shared_weights = () if shared is None else shared.weights(hidden_size)
    for weight in group.mlp.weights(hidden_size):
        homes = FEED_FORWARD
        if weight in shared_weights and weight.role == "linear":
            homes = tuple(f"{home}.{name}" for home in FEED_FORWARD for name in SHARED)
        found.append((weight, _inside(weight, homes)))
    return found


def outside(weight: Weight) -> Module:
    """The names of a tensor outside the layers."""
    return Module(("",), (weight.name, *ALSO_CALLED.get(weight.name, ())))


def _inside(weight: Weight, homes: tuple[str, ...]) -> tuple[str, ...]:
    if weight.role == "expert":
        name = weight.name.removeprefix("experts.")
        names = (name, *ALSO_CALLED.get(name, ()))
        return tuple(f"{home}.experts{n}.{part}" for home in homes for part in names
                     for n in (".0", ""))  # fmt: skip
    return tuple(
        f"{home}.{part}"
        for home in homes
        for part in (weight.name, *ALSO_CALLED.get(weight.name, ()))
    )


class Patterns:
    """A list of module names, globs and `re:` expressions. per_layer: whether any has a number.

    `field` is what a refusal names. regex: every entry is an expression, as if it began with re:.
    """

    def __init__(self, names: Iterable[str], field: str, *, regex: bool = False) -> None:
        self.field = field
        self.literal: set[str] = set()
        self.single: dict[tuple[str, str | None], set[int]] = {}
        expressions, globs = [], []
        names = [name.strip() for name in names]
        for name in names:
            if regex or name.startswith("re:"):
                expressions.append(name.removeprefix("re:"))
            elif any(c in name for c in "*?["):
                globs.append(name)
            else:
                self._add(name)
        self.per_layer = any(c.isdigit() for name in names for c in name)
        try:
            self.expression = _either(expressions)
            self.glob = _either([rf"(?:.*\.)?{translate(bare(g))[:-2]}(?:\..*)?\Z" for g in globs])
        except re.error as error:
            raise ConfigRefused(
                f"{field}: holds an expression that does not parse ({error})", field=field
            ) from None

    def _add(self, name: str) -> None:
        path = bare(name.removesuffix(".weight").rstrip("."))
        if one := _ONE_EXPERT.fullmatch(path):
            self.single.setdefault((one[1], one[3]), set()).add(int(one[2]))
        elif path:
            self.literal.add(path)

    def __bool__(self) -> bool:
        return bool(self.literal or self.single or self.expression or self.glob)

    def match(self, module: Module) -> bool:
        """Whether the list means this module, or something that holds it."""
        if not self:
            return False
        for path in module.paths():
            parts = path.split(".")
            if self.literal and any(
                ".".join(parts[a:b]) in self.literal
                for a in range(len(parts))
                for b in range(a + 1, len(parts) + 1)
            ):
                return True
            if self.glob and self.glob.match(path):
                return True
            if self.expression and any(self.expression.match(p + path) for p in PREFIXES):
                return True
        return bool(self.single) and module.experts > 0 and self._all_experts(module)

    def _all_experts(self, module: Module) -> bool:
        named: set[int] = set()
        for path in module.paths():
            home, _, tail = path.rpartition(".experts.")
            if home:
                key, last = f"{home}.experts", tail.rpartition(".")[2]
                named |= self.single.get((key, last), set()) | self.single.get((key, None), set())
        if named and len(named) < module.experts:
            raise ConfigRefused(
                f"{self.field}: names {len(named)} of {module.experts} experts of a layer, which "
                "cannot be sized as one",
                field=self.field,
            )
        return bool(named)


def bare(name: str) -> str:
    """A path without what stands before the layers in one checkpoint or another."""
    for prefix in PREFIXES:
        rest = name.removeprefix(prefix)
        if prefix and rest != name:
            return f"layers.{rest[2:]}" if rest.startswith("h.") else rest
    return name


def _either(expressions: list[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(f"(?:{e})" for e in expressions)) if expressions else None
