"""Decoders without attention: RWKV-4, RWKV-7 and xLSTM.

Source: the reference implementation of each type in Hugging Face transformers 5.23; of RWKV-7 in
flash-linear-attention 0.6.0 (fla/models/rwkv7), which its published files name.
"""

from planner.hf_config.families import family
from planner.hf_config.layers.assembly import Layer, assemble, group_layers
from planner.hf_config.reader import Fields, short
from planner.kinds.linear_attention import MatrixLstm, Rwkv4, Rwkv7
from planner.kinds.mlp import Mlp
from planner.model import Model
from planner.tensors import norm
from planner.units import round_up

XLSTM_NUMERICS = (
    "norm_reduction_force_float32", "chunkwise_kernel", "sequence_kernel", "step_kernel", "mode",
    "return_last_states", "autocast_kernel_dtype", "gate_soft_cap", "output_logit_soft_cap",
    "max_inference_chunksize", "chunk_size", "force_bos_token_insert", "inference_state_dtype",
    "num_blocks", "embedding_dim", "add_forward_backend_padding", "add_embedding_dropout",
    "cell_norm_eps", "igate_bias_init_range", "head_dim",
)  # fmt: skip
STATE_MULTIPLE = 64
"""The class rounds the widths of its states up to this, and those of its weights not at all."""


@family("rwkv")
def rwkv(fields: Fields) -> Model:
    """RWKV-4. The first layer has one more norm."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    fields.ignore("rescale_every")
    if fields.integer("attention_hidden_size", default=hidden_size) != hidden_size:
        raise fields.refuse(
            "attention_hidden_size",
            f"is not hidden_size {hidden_size}, for which the class keeps its state: it cannot "
            "generate",
        )
    inner = fields.integer("intermediate_size", default=4 * hidden_size)
    mixer = Rwkv4(hidden_size=hidden_size, intermediate_size=inner)
    one = norm("layer_norm", hidden_size, bias=True)

    def layer(index: int) -> Layer:
        return (mixer,), None, one * (3 if index == 0 else 2)

    return assemble(
        fields, group_layers(count, layer), hidden_size=hidden_size, tied=False, norm_bias=True
    )


@family("rwkv7")
def rwkv7(fields: Fields) -> Model:
    """RWKV-7. The first layer has one more norm (norm_first), and no residual of values."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    head_dim = fields.integer("head_dim", default=64)
    if hidden_size % head_dim:
        raise fields.refuse("head_dim", f"{head_dim} does not divide hidden_size {hidden_size}")
    fields.expect("attn", None)
    fields.expect("value_dim", hidden_size, [hidden_size] * count)
    fields.ignore("attn_mode", "use_l2warp", "num_heads", "num_attention_heads")
    wide = round_up(fields.integer("hidden_ratio", default=4) * hidden_size, 32)
    ranks = {
        "decay_rank": fields.integer("decay_low_rank_dim", default=64),
        "rate_rank": fields.integer("a_low_rank_dim", default=64),
        "gate_rank": fields.integer("gate_low_rank_dim", default=128),
    }
    first = Rwkv7(
        hidden_size=hidden_size,
        head_dim=head_dim,
        intermediate_size=fields.integer("intermediate_size", default=wide),
        **ranks,
    )
    value_rank = fields.integer("v_low_rank_dim", default=16)
    later = first.model_copy(update={"value_rank": value_rank})
    bias = fields.flag("norm_bias", default=True)
    one = norm("layer_norm", hidden_size, bias=bias)
    before = 1 if fields.flag("norm_first", default=True) else 0

    def layer(index: int) -> Layer:
        return (later if index else first,), None, one * (2 if index else 2 + before)

    groups = group_layers(count, layer)
    return assemble(fields, groups, hidden_size=hidden_size, tied=False, norm_bias=bias)


@family("xlstm")
def xlstm(fields: Fields) -> Model:
    """Matrix LSTM layers, each with a gated feed-forward part."""
    hidden_size = fields.integer("hidden_size")
    fields.expect("embedding_dim", hidden_size)
    fields.fill(num_hidden_layers=32)
    count = fields.integer("num_hidden_layers", "num_blocks")
    fields.ignore(*XLSTM_NUMERICS)
    fields.expect("weight_mode", "single")
    for name in ("add_out_norm", "add_post_blocks_norm"):
        fields.expect(name, True)
    for name in ("add_post_norm", "add_qk_norm"):
        fields.expect(name, False)
    fields.expect("tie_word_embeddings", False)
    bias = fields.flag("use_bias", default=False)
    mixer = MatrixLstm(
        num_heads=fields.integer("num_heads", default=8),
        qk_dim=scaled(fields, "qk_dim_factor", 0.5, hidden_size),
        v_dim=scaled(fields, "v_dim_factor", 1.0, hidden_size),
        bias=bias,
    )
    for name, width in (("qk_dim_factor", mixer.qk_dim), ("v_dim_factor", mixer.v_dim)):
        if width % mixer.num_heads:
            raise fields.refuse(name, f"makes {width}, which {mixer.num_heads} heads do not divide")
        if width % STATE_MULTIPLE:
            raise fields.refuse(name, f"makes {width}, no multiple of {STATE_MULTIPLE}")
    multiple = fields.integer("ffn_round_up_to_multiple_of", default=64)
    mlp = Mlp(
        intermediate_size=round_up(scaled(fields, "ffn_proj_factor", 2.667, hidden_size), multiple),
        bias=bias,
    )
    norms = norm("norm", hidden_size, bias=bias) * 2
    groups = group_layers(count, lambda index: ((mixer,), mlp, norms))
    return assemble(fields, groups, hidden_size=hidden_size, tied=False)


def scaled(fields: Fields, name: str, default: float, size: int) -> int:
    """size times a factor, rounded down."""
    factor = fields.raw(name)
    factor = default if factor is None else factor
    if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not 0 < factor < 1000:
        raise fields.refuse(name, f"{short(factor)} is no factor")
    return int(factor * size)
