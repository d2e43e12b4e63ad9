"""The tensors of a model with the types that a GGUF file gives them, one by one.

A `quantization_config` of quant_method "gguf" lists the file's tensors:

    {"quant_method": "gguf", "tensors": {"blk.0.attn_q.weight": "q4_k 4096x4096", ...}}

Names: llama.cpp's gguf-py/gguf/constants.py (TENSOR_NAMES) and src/models/*.cpp.
"""

from collections.abc import Mapping
from math import prod
from typing import Any

from planner.errors import ConfigRefused
from planner.formats.ggml_types import BY_NAME
from planner.formats.gguf_assignment import METHOD, Stored, held_in_gguf, split_latents
from planner.formats.weight_formats import WeightFormat
from planner.kinds.attention import LatentAttention
from planner.kinds.mlp import MoE
from planner.model import LayerGroup, Model
from planner.tensors import Weight

FIELD = "quantization_config.tensors"
LIKE = "like"
"""In place of tensors: the type that every matrix is stored in."""

NAMES = {
    "q_proj": ("attn_q", "attn_qkv"), "k_proj": ("attn_k", "attn_qkv"),
    "v_proj": ("attn_v", "attn_qkv"), "o_proj": ("attn_output",), "sinks": ("attn_sinks",),
    "q_norm": ("attn_q_norm",), "k_norm": ("attn_k_norm",),
    "q_a_proj": ("attn_q_a",), "q_a_layernorm": ("attn_q_a_norm",), "q_b_proj": ("attn_q_b",),
    "kv_a_proj_with_mqa": ("attn_kv_a_mqa",), "kv_a_layernorm": ("attn_kv_a_norm",),
    "kv_b_proj": ("attn_kv_b",), "k_b_proj": ("attn_k_b",), "v_b_proj": ("attn_v_b",),
    "gate_proj": ("ffn_gate", "ffn_up"), "up_proj": ("ffn_up",), "down_proj": ("ffn_down",),
    "router": ("ffn_gate_inp",), "score_bias": ("exp_probs_b",),
    "shared_expert_gate": ("ffn_gate_inp_shexp",),
    "experts.gate_proj": ("ffn_gate_exps", "ffn_gate_up_exps"),
    "experts.up_proj": ("ffn_up_exps", "ffn_gate_up_exps"),
    "experts.down_proj": ("ffn_down_exps",),
    "embed_tokens": ("token_embd",), "lm_head": ("output",), "norm": ("output_norm",),
}  # fmt: skip
"""Where a weight stands, in the order of preference; two weights may share a tensor."""
SHARED = {
    "gate_proj": ("ffn_gate_shexp",), "up_proj": ("ffn_up_shexp",),
    "down_proj": ("ffn_down_shexp",),
}  # fmt: skip
"""The same for the shared part of a layer with experts."""
NORMS = ("attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm")
"""Norms around the parts of a layer, of which each family has some."""
POSITIONS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
"""Factors of rotary positions: in the file and no weight of the model."""


def tensors_of(quantization: Mapping[str, Any]) -> dict[str, tuple[WeightFormat, int]]:
    """Type and elements of every tensor by name. Raises ConfigRefused naming what is wrong."""
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
        found[name] = (BY_NAME[kind], prod(int(n) for n in sizes))
    return found


def most_of(tensors: Mapping[str, tuple[WeightFormat, int]]) -> list[str]:
    """Names of the types, by how many elements they hold."""
    held: dict[str, int] = {}
    for kind, elements in tensors.values():
        held[kind.name] = held.get(kind.name, 0) + elements
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
        found = [
            (weight, self._norm(prefix, position, weight))
            for position, weight in enumerate(group.norms)
        ]
        for mixer in group.mixers:
            weights = mixer.weights(self.model.hidden_size)
            if isinstance(mixer, LatentAttention) and f"{prefix}attn_k_b.weight" in self.tensors:
                weights = split_latents(mixer, weights)
            found += [(w, self._find(prefix, w, NAMES)) for w in weights]
        if group.mlp is not None:
            names = {**NAMES, **SHARED} if isinstance(group.mlp, MoE) else NAMES
            weights = group.mlp.weights(self.model.hidden_size)
            found += [(w, self._find(prefix, w, names)) for w in weights]
        return tuple(found)

    def outside(self, weights: tuple[Weight, ...]) -> Stored:
        """The tensors outside the layers."""
        return tuple((weight, self._find("", weight, NAMES)) for weight in weights)

    def finish(self) -> None:
        """Refuse a file of which a tensor was not asked for, or is not as large as what was."""
        for name, (_, elements) in self.tensors.items():
            if name in POSITIONS:
                continue
            taken = self.taken.get(name)
            if taken is None:
                raise ConfigRefused(
                    f"{name[:80]}: this tensor is none that Sizewell knows in a "
                    f"{self.model.model_type} model",
                    field=FIELD,
                )
            if taken != elements:
                raise ConfigRefused(
                    f"{name[:80]}: it has {elements:,} elements, where the metadata make {taken:,}",
                    field=FIELD,
                )

    def _norm(self, prefix: str, position: int, weight: Weight) -> WeightFormat:
        there = [f"{prefix}{n}.weight" for n in NORMS if f"{prefix}{n}.weight" in self.tensors]
        if position >= len(there):
            raise self._missing(f"{prefix}{NORMS[min(position, len(NORMS) - 1)]}.weight")
        return self._take(there[position], weight)

    def _find(
        self, prefix: str, weight: Weight, names: Mapping[str, tuple[str, ...]]
    ) -> WeightFormat:
        stem, bias = weight.name.removesuffix(".bias"), weight.name.endswith(".bias")
        end = "bias" if bias or stem == "score_bias" else "weight"
        wanted = [f"{prefix}{name}.{end}" for name in names.get(stem, (stem,))]
        found = next((name for name in wanted if name in self.tensors), None)
        if found is None:
            raise self._missing(wanted[0])
        return self._take(found, weight)

    def _take(self, name: str, weight: Weight) -> WeightFormat:
        self.taken[name] = self.taken.get(name, 0) + weight.parameters
        return self.tensors[name][0]

    def _missing(self, name: str) -> ConfigRefused:
        return ConfigRefused(
            f"{name}: the file has no such tensor, which a {self.model.model_type} model needs: it "
            "is a part of one, or not as its metadata say",
            field=FIELD,
        )
