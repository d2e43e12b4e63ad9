"""Decoders whose layers differ in size: OpenELM, and networks found by architecture search.

Source: the modeling files published beside the weights of OpenELM and of DeciLM/Nemotron-NAS.
"""

from typing import Any

from planner.hf_config.families import family
from planner.hf_config.layers.assembly import Layer, assemble, divided, group_layers
from planner.hf_config.reader import Fields, short
from planner.kinds.attention import Attention
from planner.kinds.mlp import Mlp
from planner.model import Model
from planner.tensors import Weight, linear, norm
from planner.units import round_up

NAIVE = tuple(
    f"naive_attention_{step}" for step in ("prefill", "decode", "decode_batched", "decode_single")
)


@family("openelm")
def openelm(fields: Fields) -> Model:
    """OpenELM: heads and feed-forward widths are written layer by layer."""
    hidden_size = fields.integer("model_dim")
    count = fields.integer("num_transformer_layers")
    head_dim = fields.integer("head_dim")
    query_heads = whole_numbers(fields, "num_query_heads", count)
    kv_heads = whole_numbers(fields, "num_kv_heads", count)
    multipliers = fields.sequence("ffn_multipliers", length=count) or []
    divisor = fields.integer("ffn_dim_divisor", default=256)
    inner = [divisible(scaled(fields, m, hidden_size), divisor) for m in multipliers]
    if len(inner) != count:
        raise fields.refuse("ffn_multipliers", "is missing, and the layers differ by it")
    gated = fields.flag("ffn_with_glu", default=True)
    normed = fields.flag("normalize_qk_projections", default=False)
    tied = fields.flag("share_input_output_layers", default=True)
    fields.ignore("qkv_multipliers", "num_gqa_groups", "max_context_length", "activation_fn_name")
    fields.expect("normalization_layer_name", "rms_norm")
    fields.ignore("rope_freq_constant", "rope_max_length")
    if fields.flag("tie_word_embeddings", default=tied) != tied:
        raise fields.refuse("tie_word_embeddings", "contradicts share_input_output_layers")
    norms = norm("layer_norm", hidden_size) * 2

    def layer(index: int) -> Layer:
        if query_heads[index] % kv_heads[index]:
            raise fields.refuse("num_kv_heads", f"does not divide num_query_heads in layer {index}")
        attention = Attention(
            num_attention_heads=query_heads[index],
            num_key_value_heads=kv_heads[index],
            head_dim=head_dim,
            qk_norm="head" if normed else "none",
        )
        return (attention,), Mlp(intermediate_size=inner[index], gated=gated), norms

    return assemble(fields, group_layers(count, layer), hidden_size=hidden_size, tied=tied)


def whole_numbers(fields: Fields, name: str, count: int) -> list[int]:
    """A list of `count` whole numbers of at least one."""
    values = fields.sequence(name, length=count)
    if values is None:
        raise fields.refuse(name, "is missing, and the layers differ by it")
    if any(isinstance(v, bool) or not isinstance(v, int) or not 0 < v < 2**20 for v in values):
        raise fields.refuse(name, f"{short(values)} is not a list of whole numbers")
    return values


def scaled(fields: Fields, multiplier: object, hidden_size: int) -> float:
    """multiplier x hidden_size, refused where the multiplier is no sensible number."""
    if isinstance(multiplier, bool) or not isinstance(multiplier, int | float):
        raise fields.refuse("ffn_multipliers", f"{short(multiplier)} is not a number")
    if not 0 < multiplier < 1024:
        raise fields.refuse("ffn_multipliers", f"{short(multiplier)} is out of range")
    return multiplier * hidden_size


def divisible(size: float, divisor: int) -> int:
    """The multiple of divisor nearest to size, but not below nine tenths of it."""
    rounded = max(divisor, int(size + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * size else rounded


@family("nemotron-nas", "deci")
def searched(fields: Fields) -> Model:
    """DeciLM and Nemotron-NAS: KV heads by layer, or whole parts missing or made linear."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    query_heads = fields.integer("num_attention_heads")
    head_dim = divided(fields, hidden_size, query_heads)
    fields.expect("head_dim", head_dim)
    attention_bias = fields.flag("attention_bias", default=False)
    mlp_bias = fields.flag("mlp_bias", default=False)
    one = norm("layer_norm", hidden_size)

    def attention(kv_heads: int) -> Attention:
        return Attention(
            num_attention_heads=query_heads,
            num_key_value_heads=kv_heads,
            head_dim=head_dim,
            qkv_bias=attention_bias,
            o_bias=attention_bias,
        )

    blocks = fields.sequence("block_configs", length=count)
    if blocks is None:
        kv_heads = whole_numbers(fields, "num_key_value_heads_per_layer", count)
        if any(query_heads % n for n in kv_heads):
            raise fields.refuse("num_key_value_heads_per_layer", f"do not divide {query_heads}")
        fields.ignore("num_key_value_heads", *NAIVE)
        mlp = Mlp(intermediate_size=fields.integer("intermediate_size"), bias=mlp_bias)
        groups = group_layers(count, lambda i: ((attention(kv_heads[i]),), mlp, one * 2))
        return assemble(fields, groups, hidden_size=hidden_size, tied=False)
    fields.expect("num_key_value_heads", None)
    fields.ignore("intermediate_size")

    def layer(index: int) -> Layer:
        block = block_reader(fields, blocks[index], index)
        mixer, mlp = part(block, "attention", "n_heads_in_group"), part(block, "ffn", "ffn_mult")
        block.finish()
        left_over: tuple[Weight, ...] = one * ((mixer is not None) + (mlp is not None))
        mixers: tuple[Attention, ...] = ()
        if mixer == "linear":
            left_over += linear("self_attn", hidden_size, hidden_size, bias=attention_bias)
        elif mixer is not None:
            if not isinstance(mixer, int) or query_heads % mixer:
                raise fields.refuse("block_configs", f"n_heads_in_group {short(mixer)} in {index}")
            mixers = (attention(query_heads // mixer),)
        if mlp == "linear":
            left_over += linear("mlp", hidden_size, hidden_size, bias=mlp_bias)
        if mlp is None or mlp == "linear":
            return mixers, None, left_over
        inner = round_up(int(2 * scaled(fields, mlp, hidden_size) / 3), 256)
        return mixers, Mlp(intermediate_size=inner, bias=mlp_bias), left_over

    return assemble(fields, group_layers(count, layer), hidden_size=hidden_size, tied=False)


def block_reader(fields: Fields, block: object, index: int) -> Fields:
    """The reader of one entry of block_configs."""
    if not isinstance(block, dict):
        raise fields.refuse("block_configs", f"entry {index} is not an object")
    return Fields(block, f"block_configs[{index}].")


def part(block: Fields, name: str, size: str) -> Any:
    """Size of a block's part, "linear" where a matrix replaces it, None where it is left out."""
    fields = block.child(name)
    if fields is None:
        raise block.refuse(name, "is missing, and the layers differ by it")
    missing = fields.flag("no_op", default=False)
    linear_instead = fields.flag("replace_with_linear", default=False)
    written = fields.raw(size)
    fields.ignore("sparsify")
    fields.finish()
    if missing:
        return None
    if linear_instead:
        return "linear"
    if isinstance(written, bool) or not isinstance(written, int | float) or written <= 0:
        raise fields.refuse(size, f"{short(written)} is not a number above zero")
    return written
