"""The tensors of a model as a GGUF file holds them, each with its type."""

from planner.formats import weight_formats as formats
from planner.formats.gguf_mixes import BASE, Facts, fitting, tensor_format
from planner.formats.weight_formats import WeightFormat
from planner.kinds.attention import Attention, LatentAttention
from planner.kinds.mlp import MoE
from planner.model import LayerGroup, Mixer, Model
from planner.tensors import Weight

Stored = tuple[tuple[Weight, WeightFormat], ...]
"""Weights with their formats; GGUF may store one matrix of the model as two."""

PURE = {name for name in formats.GGUF if name not in BASE}
"""Tensor types that are no file type of their own: every matrix gets them."""

CATEGORY = {"q_proj": "q", "k_proj": "k", "v_proj": "v", "o_proj": "o"}
FUSED_QKV = {"falcon", "bloom", "gpt2", "gpt_neox", "phi3", "mpt", "dbrx", "chatglm"}
"""Model types whose query, key and value matrices llama.cpp stores as one."""

METHOD = "gguf"
"""quant_method of a configuration that was read from a GGUF file: planner.formats.gguf_tensors."""

SEVENTY = {"llama", "qwen2"}
"""Model types of which llama.cpp calls the 80-layer size 70B and gives its values more bits."""


def is_gguf(name: str) -> bool:
    """Whether `name` is a GGUF file type or tensor type."""
    return name in BASE or name in PURE


def held_in_gguf(model: Model, weights_dtype: str) -> bool:
    """Whether the weights are those of a GGUF file: the model's own, or one of a type asked for."""
    if weights_dtype.lower() == "auto":
        return model.quantization is not None and model.quantization.get("quant_method") == METHOD
    return is_gguf(weights_dtype.lower())


def split_latents(mixer: LatentAttention, weights: tuple[Weight, ...]) -> tuple[Weight, ...]:
    """Weights as stored: latent attention's up-projection in its key and its value half."""
    heads, rank = mixer.num_attention_heads, mixer.kv_lora_rank
    halves = (
        Weight("k_b_proj", (heads * rank, mixer.qk_nope_head_dim), "linear", "column"),
        Weight("v_b_proj", (heads * mixer.v_head_dim, rank), "linear", "column"),
    )
    return tuple(part for w in weights for part in (halves if w.name == "kv_b_proj" else (w,)))


class GgufTypes:
    """Chooses the type of each tensor of `model` in a file of that type.

    A name that is a file type follows its recipe; one that is a tensor type only (q3_k, q4_k,
    q5_k, tq1_0, tq2_0) stores every matrix alike.
    """

    def __init__(self, model: Model, name: str) -> None:
        self.model = model
        self.name = name
        self.pure = name in PURE
        mixers = [m for g in model.groups for m in g.mixers]
        queries = max(
            (m.num_attention_heads // m.num_key_value_heads
             for m in mixers if isinstance(m, Attention)), default=1,
        )  # fmt: skip
        experts = [g.mlp.num_experts for g in model.groups if isinstance(g.mlp, MoE)]
        self.facts = Facts(
            num_layers=model.num_hidden_layers,
            queries_per_kv=queries,
            num_experts=max(experts, default=0),
            tied=not model.head,
            falcon=model.model_type == "falcon",
            is_70b=model.model_type in SEVENTY and model.num_hidden_layers == 80 and queries > 1,
        )
        self.with_values = sorted(
            i for g in model.groups for i in g.layers
            if any(isinstance(m, Attention) for m in g.mixers)
        )  # fmt: skip
        self.with_mlp = sorted(i for g in model.groups for i in g.layers if g.mlp is not None)

    @property
    def description(self) -> str:
        how = "every matrix alike" if self.pure else "llama.cpp's recipe"
        return f"GGUF {self.name} ({how}), norms and other vectors fp32"

    @property
    def notes(self) -> tuple[str, ...]:
        recurrent = any(
            not isinstance(m, Attention | LatentAttention)
            for g in self.model.groups for m in g.mixers
        )  # fmt: skip
        if recurrent and not self.pure:
            return (
                f"{self.name}: which type llama.cpp gives the matrices of recurrent layers is an "
                "estimate (the base type is assumed)",
            )
        return ()

    def layer(self, group: LayerGroup, index: int) -> Stored:
        """The tensors of layer `index`, one of `group`."""
        found: list[tuple[Weight, WeightFormat]] = [(w, formats.FP32) for w in group.norms]
        for mixer in group.mixers:
            for weight in self._stored(mixer):
                category = "other"
                if isinstance(mixer, Attention):
                    category = CATEGORY.get(weight.name, "other")
                    if self.model.model_type in FUSED_QKV and category in ("q", "k", "v"):
                        category = "qkv"
                found.append((weight, self._type(weight, category, index)))
        if group.mlp is not None:
            for weight in group.mlp.weights(self.model.hidden_size):
                category = weight.name.removeprefix("experts.").removesuffix("_proj")
                found.append((weight, self._type(weight, category, index)))
        return tuple(found)

    def outside(self, weights: tuple[Weight, ...]) -> Stored:
        """The tensors outside the layers."""
        found = []
        for weight in weights:
            category = {"embed_tokens": "embedding", "lm_head": "output"}.get(weight.name, "other")
            found.append((weight, self._type(weight, category, 0)))
        return tuple(found)

    def _stored(self, mixer: Mixer) -> tuple[Weight, ...]:
        weights = mixer.weights(self.model.hidden_size)
        return split_latents(mixer, weights) if isinstance(mixer, LatentAttention) else weights

    def _type(self, weight: Weight, category: str, index: int) -> WeightFormat:
        table = weight.name == "embed_tokens" or weight.name == "lm_head"
        if len(weight.shape) < 2 or (weight.role not in ("linear", "expert") and not table):
            return formats.FP32
        columns = weight.shape[-1]
        if self.name == "mxfp4_moe" and weight.role == "expert":
            return formats.MXFP4
        if self.pure:
            return fitting(self.name, columns)
        if category in ("q", "k", "v", "qkv", "o"):
            among = self.with_values
            return tensor_format(
                self.name, category, among.index(index) if index in among else 0, len(among),
                columns, self.facts,
            )  # fmt: skip
        if self.facts.num_experts <= 1 and index in self.with_mlp:
            index = self.with_mlp.index(index)
        return tensor_format(self.name, category, index, self.facts.num_layers, columns, self.facts)
