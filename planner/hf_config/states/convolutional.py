"""Decoders with short convolutions: LFM2 and RecurrentGemma.

Source: the reference implementation of each type in Hugging Face transformers 5.23.
"""

from planner.hf_config.families import family
from planner.hf_config.layers.assembly import Layer, assemble, group_layers, heads, with_window
from planner.hf_config.layers.experts import Experts, moe
from planner.hf_config.reader import Fields, short
from planner.kinds.attention import Attention
from planner.kinds.convolution import RgLru, ShortConvolution
from planner.kinds.mlp import Mlp
from planner.model import FeedForward, Mixer, Model
from planner.tensors import Weight, linear, norm
from planner.units import round_up


@family("lfm2", "lfm2_moe", "lfm3")
def lfm2(fields: Fields) -> Model:
    """Gated short convolutions, with attention in the layers that layer_types names."""
    model_type = fields.text("model_type")
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    fields.ignore("block_use_swiglu", "block_use_xavier_init", "use_pos_enc", "block_norm_eps")
    fields.ignore("block_mlp_init_scale", "block_out_init_scale", "conv_use_xavier_init")
    fields.ignore("theta")
    for name in ("conv_dim", "conv_dim_out", "block_dim"):
        fields.expect(name, hidden_size)
    fields.expect("num_heads", fields.config.get("num_attention_heads"))
    new = model_type == "lfm3"
    bias = new and fields.flag("attention_bias", default=False)
    sizes = heads(fields, hidden_size, head_dim=128 if new else None, num_key_value_heads=8)
    gate: tuple[Weight, ...] = ()
    if new and fields.flag("use_attention_gate", default=True):
        gate = linear("g_proj", sizes["num_attention_heads"], hidden_size, "column")
    attention = Attention(**sizes, qkv_bias=bias, o_bias=bias, qk_norm="head", extras=gate)
    convolution = ShortConvolution(
        hidden_size=hidden_size,
        conv_kernel=fields.integer("conv_L_cache", default=7 if new else 3),
        bias=fields.flag("conv_bias", default=False),
    )
    kinds = lfm2_types(fields, count, new)
    window = fields.integer("sliding_window", default=256) if new else None
    dense = Mlp(intermediate_size=lfm2_width(fields, plain=model_type != "lfm2"))
    experts: FeedForward = dense
    first = count
    if model_type == "lfm2_moe":
        first = fields.integer("num_dense_layers", default=2, least=0)
        experts = moe(fields, Experts())
        fields.ignore("use_expert_bias")
    sandwich = new and fields.flag("use_sandwich_norm", default=True)
    norms = norm("norm", hidden_size) * (4 if sandwich else 2)

    def layer(index: int) -> Layer:
        mixer: Mixer = convolution
        if kinds[index] == "full_attention":
            mixer = attention
        elif kinds[index] == "sliding_attention":
            mixer = with_window(attention, window)
        return (mixer,), dense if index < first else experts, norms

    if not new:
        fields.aliases["tie_word_embeddings"] = ("tie_embedding", "tie_word_embeddings")
    return assemble(fields, group_layers(count, layer), hidden_size=hidden_size, tied=True)


def lfm2_types(fields: Fields, count: int, new: bool) -> list[str]:
    """What each layer is: `layer_types`, full_attn_idxs, or the pattern of LFM3."""
    listed = fields.positions("full_attn_idxs")
    types = fields.sequence("layer_types", length=count)
    if types is None and new:
        period = ("sliding_attention", "conv", "full_attention", "conv")
        types = ["conv" if index == 0 else period[index % 4] for index in range(count)]
    if types is None:
        if listed is None:
            raise fields.refuse("layer_types", "is missing, so the layers are unknown")
        types = ["full_attention" if index in listed else "conv" for index in range(count)]
    allowed = ("conv", "full_attention", "sliding_attention") if new else ("conv", "full_attention")
    for kind in types:
        if kind not in allowed:
            raise fields.refuse("layer_types", f"{short(kind)} is not understood here")
    return types


def lfm2_width(fields: Fields, *, plain: bool) -> int:
    """The feed-forward width, which LFM2 shrinks to two thirds and rounds up by default."""
    names = ("intermediate_size",) if plain else ("block_ff_dim", "intermediate_size")
    size = fields.integer(*names)
    adjusted = not plain and fields.flag("block_auto_adjust_ff_dim", default=True)
    multiple = fields.integer("block_multiple_of", default=256)
    factor = fields.raw("block_ffn_dim_multiplier")
    if not adjusted:
        return size
    size = int(2 * size / 3)
    if factor is None and fields.given("block_ffn_dim_multiplier"):
        return size
    factor = 1.0 if factor is None else factor
    if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not 0 < factor < 100:
        raise fields.refuse("block_ffn_dim_multiplier", f"{short(factor)} is no factor")
    return round_up(int(factor * size), multiple)


@family("recurrent_gemma")
def recurrent_gemma(fields: Fields) -> Model:
    """Real-gated recurrences with a windowed attention in every few layers (Griffin)."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    fields.ignore("w_init_variance_scale", "final_w_init_variance_scale", "logits_soft_cap")
    fields.ignore("embeddings_scale_by_sqrt_dim")
    fields.expect("conv1d_bias", True)
    sizes = heads(fields, hidden_size, divides=True)
    attention = Attention(
        **sizes,
        qkv_bias=fields.flag("attention_bias", default=False),
        o_bias=True,
        window=fields.integer("attention_window_size", "sliding_window", default=2048),
    )
    width = fields.integer("lru_width", default=hidden_size)
    blocks = sizes["num_attention_heads"]
    if width % blocks:
        raise fields.refuse("lru_width", f"{width} is not divided by the {blocks} heads")
    recurrent = RgLru(
        lru_width=width,
        num_heads=blocks,
        conv_kernel=fields.integer("conv1d_width", default=4),
    )
    period = fields.sequence("block_types", "_block_types") or ["recurrent"] * 2 + ["attention"]
    for kind in period:
        if kind not in ("recurrent", "attention"):
            raise fields.refuse("block_types", f"{short(kind)} is not understood here")
    mlp = Mlp(intermediate_size=fields.integer("intermediate_size") // 2, bias=True)
    norms = norm("norm", hidden_size) * 2

    def layer(index: int) -> Layer:
        kind = period[index % len(period)]
        mixer: Mixer = recurrent if kind == "recurrent" else attention
        return (mixer,), mlp, norms

    return assemble(fields, group_layers(count, layer), hidden_size=hidden_size, tied=True)
