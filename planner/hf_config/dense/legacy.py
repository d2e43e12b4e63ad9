"""The GPT-2 generation: learned positions, plain feed-forward layers, fields of other names.

Source: the reference implementation of each type in Hugging Face transformers 5.23.
"""

from dataclasses import replace

from planner.hf_config.dense.decoder import decoder
from planner.hf_config.dense.traits import Traits
from planner.hf_config.families import family
from planner.hf_config.layers.assembly import Layer, assemble, divided, group_layers
from planner.hf_config.layers.windows import EVERYTHING, Keep
from planner.hf_config.reader import Fields, short
from planner.kinds.attention import Attention
from planner.kinds.mlp import Mlp
from planner.model import Model
from planner.tensors import Weight, linear, norm

GPT_NAMES = {
    "hidden_size": ("n_embd",),
    "num_hidden_layers": ("n_layer",),
    "num_attention_heads": ("n_head",),
    "intermediate_size": ("n_inner",),
    "n_positions": ("max_position_embeddings",),
}
WITHOUT_POSITIONS = ("n_positions", "rotary")
PLAIN = Traits(
    norm="layer",
    qkv_bias=True,
    o_bias=True,
    mlp_bias=True,
    gated=False,
    tied=True,
    multi_head=True,
    divides=True,
    expects={"add_cross_attention": (False,), "is_encoder_decoder": (False,)},
)
GPT2 = replace(
    PLAIN,
    positions=("n_positions", 1024, 0),
    inner_multiple=4,
    inner_name="n_inner",
    aliases=GPT_NAMES,
)
GPTJ = replace(
    GPT2,
    positions=None,
    norms_per_layer=1,
    qkv_bias=False,
    o_bias=False,
    head_bias=True,
    tied=False,
    ignored=WITHOUT_POSITIONS,
)

TRAITS = {
    "biogpt": replace(PLAIN, positions=("max_position_embeddings", 1024, 2)),
    "bloom": replace(
        PLAIN,
        embedding_norm=True,
        inner_multiple=4,
        inner_name="",
        aliases={
            "hidden_size": ("n_embed",),
            "num_hidden_layers": ("n_layer",),
            "num_attention_heads": ("n_head",),
            "intermediate_size": ("n_inner",),
        },
        ignored=(
            "apply_residual_connection_post_layernorm",
            "bias_dropout_fusion",
            "masked_softmax_fusion",
            "offset_alibi",
            "skip_bias_add",
            "slow_but_exact",
        ),
    ),
    "codegen": GPTJ,
    "ctrl": replace(
        PLAIN,
        head_bias=True,
        aliases={**GPT_NAMES, "intermediate_size": ("dff",)},
        ignored=WITHOUT_POSITIONS,
    ),
    "gpt2": replace(GPT2, ignored=("embd_layer_norm", "n_special")),
    "gpt_neox": replace(
        PLAIN,
        qkv_bias=("attention_bias", True),
        o_bias=("attention_bias", True),
        tied=False,
        ignored=("use_parallel_residual",),
    ),
    "gptj": GPTJ,
    "phi-msft": replace(
        GPT2,
        positions=None,
        norms_per_layer=1,
        head_bias=True,
        tied=False,
        multi_head=False,
        aliases={**GPT_NAMES, "num_key_value_heads": ("n_head_kv",)},
        ignored=(*WITHOUT_POSITIONS, "flash_attn", "flash_rotary", "fused_dense"),
    ),
    "xglm": replace(
        PLAIN,
        aliases={
            "hidden_size": ("d_model",),
            "num_hidden_layers": ("num_layers",),
            "num_attention_heads": ("attention_heads",),
            "intermediate_size": ("ffn_dim",),
        },
    ),
}


@family(*TRAITS)
def legacy(fields: Fields) -> Model:
    """A decoder of equal layers under its family's own field names."""
    return decoder(fields, TRAITS[fields.text("model_type")])


@family("gpt_bigcode")
def gpt_bigcode(fields: Fields) -> Model:
    """StarCoder's first generation: one KV head for all, where multi_query says so."""
    one = fields.flag("multi_query", default=True)
    fields.aliases.update(GPT_NAMES)
    kv_heads = 1 if one else fields.integer("num_attention_heads")
    fields.expect("num_key_value_heads", kv_heads)
    fields.config = {**fields.config, "num_key_value_heads": kv_heads}
    traits = replace(
        GPT2,
        multi_head=False,
        ignored=(
            "inference_runner",
            "validate_runner_input",
            "pad_key_length",
            "pre_allocate_kv_cache",
            "max_sequence_length",
            "max_batch_size",
        ),
    )
    return decoder(fields, traits)


@family("gpt_neo")
def gpt_neo(fields: Fields) -> Model:
    """GPT-Neo: global and local layers, the local ones with a window."""
    aliases = {"num_hidden_layers": ("num_layers",), "num_attention_heads": ("num_heads",)}
    fields.aliases.update(aliases)
    kinds = written_kinds(fields, fields.integer("num_hidden_layers"))
    size = fields.integer("window_size", default=256)
    keeps = [EVERYTHING if kind == "global" else Keep(size) for kind in kinds]
    traits = replace(
        PLAIN,
        qkv_bias=False,
        positions=("max_position_embeddings", 2048, 0),
        inner_multiple=4,
    )
    return decoder(fields, traits, keeps)


def written_kinds(fields: Fields, count: int) -> list[str]:
    """GPT-Neo's `attention_types`, [[["global", "local"], 12]], one kind per layer."""
    written = fields.sequence("attention_types")
    layers = fields.sequence("attention_layers", length=count)
    if written is None:
        written = [[layers, 1]] if layers is not None else [[["global", "local"], count // 2]]
    kinds: list[str] = []
    for entry in written:
        match entry:
            case [list(names), int(times)] if 0 <= times <= count:
                kinds += names * times
            case _:
                raise fields.refuse("attention_types", f"{short(entry)} is not [[kinds], times]")
    if any(kind not in ("global", "local") for kind in kinds):
        raise fields.refuse("attention_types", "names something other than global and local")
    if len(kinds) != count or (layers is not None and layers != kinds):
        raise fields.refuse("attention_types", f"does not describe {count} layers")
    return kinds


@family("gpt_neox_japanese")
def gpt_neox_japanese(fields: Fields) -> Model:
    """GPT-NeoX Japanese: no biases but one, after the last layer's attention."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    heads = fields.integer("num_attention_heads")
    attention = Attention(
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=divided(fields, hidden_size, heads),
    )
    last = attention.model_copy(
        update={"extras": (Weight("dense_bias", (hidden_size,), "bias", "replicated"),)}
    )
    multiple = fields.integer("intermediate_multiple_size", default=4)
    mlp = Mlp(intermediate_size=multiple * hidden_size, gated=False)
    norms = norm("layer_norm", hidden_size, bias=True) * 2

    def layer(index: int) -> Layer:
        return (last if index == count - 1 else attention,), mlp, norms

    return assemble(
        fields,
        group_layers(count, layer),
        hidden_size=hidden_size,
        tied=True,
        norm_bias=True,
    )


@family("opt")
def opt(fields: Fields) -> Model:
    """OPT: embeddings may be narrower than the layers, and the last norm may be missing."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    heads = fields.integer("num_attention_heads")
    bias = fields.flag("enable_bias", default=True)
    attention = Attention(
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=divided(fields, hidden_size, heads),
        qkv_bias=bias,
        o_bias=bias,
    )
    mlp = Mlp(intermediate_size=fields.integer("ffn_dim"), gated=False, bias=bias)
    affine = fields.flag("layer_norm_elementwise_affine", default=True)
    one = norm("layer_norm", hidden_size, bias=True) if affine else ()
    width = fields.integer("word_embed_proj_dim", default=hidden_size)
    rows = fields.integer("max_position_embeddings", default=2048) + 2
    extras: tuple[Weight, ...] = (Weight("embed_positions", (rows, hidden_size), "embedding"),)
    if width != hidden_size:
        extras += linear("project_in", hidden_size, width)
        extras += linear("project_out", width, hidden_size)
    before = fields.flag("do_layer_norm_before", default=True)
    removed = fields.flag("_remove_final_layer_norm", default=False)
    return assemble(
        fields,
        group_layers(count, lambda index: ((attention,), mlp, one * 2)),
        hidden_size=hidden_size,
        embedding_size=width,
        tied=True,
        norm_bias=True,
        final_norm=before and not removed and affine,
        extras=extras,
    )
