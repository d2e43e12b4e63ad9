"""Where a model's weights stand in a GGUF file: its tensors' names by what holds them.

"attn_qkv+attn_gate" are two tensors that hold one weight. Two weights may share a tensor.

Source: llama.cpp's gguf-py/gguf/constants.py (TENSOR_NAMES) and src/models/*.cpp (2026, commit
0c1e5709).
"""

from collections.abc import Mapping

from planner.kinds.mlp import Mlp, MoE
from planner.model import Mixer

Names = Mapping[str, tuple[str, ...]]
"""The tensors that may hold a weight, in the order of preference; none where metadata hold it."""

OUTSIDE: Names = {
    "embed_tokens": ("token_embd",), "lm_head": ("output",),
    "norm": ("output_norm", "token_embd_norm"),
    "embed_positions": ("position_embd",), "embed_norm": ("token_embd_norm",),
    "embed_tokens_per_layer": ("per_layer_token_embd",),
    "per_layer_model_projection": ("per_layer_model_proj",),
    "per_layer_projection_norm": ("per_layer_proj_norm",),
    "altup_projections": ("altup_proj+altup_unembd_proj",),
}  # fmt: skip
"""LFM2's last norm has its embedding's name."""
LEFT_OVER: Names = {
    "self_attn": ("attn_output",),
    "per_layer_input_gate": ("inp_gate",), "per_layer_projection": ("proj",),
    "post_per_layer_input_norm": ("post_norm",),
    "altup.correct_output_scale": ("altup_correct_scale",),
    "altup.correction_coefs": ("altup_correct_coef",),
    "altup.prediction_coefs": ("altup_predict_coef",),
    "altup.modality_router": ("altup_router",), "altup.router_norm": ("altup_router_norm",),
    "laurel.linear_left": ("laurel_l",), "laurel.linear_right": ("laurel_r",),
    "laurel.post_laurel_norm": ("laurel_post_norm",),
}  # fmt: skip
"""What a layer has beyond its parts and the norms around them; Nemotron-NAS may have a matrix in
place of attention."""
PREDICTION: Names = {
    "eh_proj": ("nextn.eh_proj",), "enorm": ("nextn.enorm",), "hnorm": ("nextn.hnorm",),
    "norm": ("nextn.shared_head_norm",),
}  # fmt: skip
"""What joins a multi-token-prediction layer to the decoder."""
OWN_NORM = "nextn.shared_head_norm.weight"
"""Without it, the decoder's last norm serves."""

NORMS = (
    "attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm", "attn_norm_2",
    "post_ffw_norm_1", "pre_ffw_norm_2", "post_ffw_norm_2", "layer_output_norm",
)  # fmt: skip
"""Norms around the parts of a layer, of which each family has some."""
FIRST_NORM = "token_embd_norm"
"""Where the first layer has a norm before its own, which RWKV counts as that layer's."""
POSITIONS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
"""Factors of rotary positions: in the file and no weight of the model."""
BUFFERS = ("exp_probs_b.bias", "exp_probs_b", "layer_output_scale.weight")
"""What the published code keeps as a buffer and not as a parameter, and a file as a tensor: what is
added to routing scores, and a layer's one factor."""
UNUSED = tuple(f"blk.0.time_mix_v{index}.weight" for index in range(3))
"""What RWKV-7's first layer has in every file, and no model uses."""
OWN_TABLES = ("nextn.embed_tokens.weight", "nextn.shared_head_head.weight")
"""Copies of embedding and head that some files have in a prediction layer."""

_SOFTMAX: Names = {
    "q_proj": ("attn_q", "attn_qkv"), "k_proj": ("attn_k", "attn_qkv"),
    "v_proj": ("attn_v", "attn_qkv"), "o_proj": ("attn_output",), "sinks": ("attn_sinks",),
    "q_norm": ("attn_q_norm",), "k_norm": ("attn_k_norm",),
    "gate_proj": ("attn_gate",), "g_proj": ("attn_gate",),
}  # fmt: skip
_LATENT: Names = {
    "q_proj": ("attn_q",), "q_a_proj": ("attn_q_a",), "q_a_layernorm": ("attn_q_a_norm",),
    "q_b_proj": ("attn_q_b",), "kv_a_proj_with_mqa": ("attn_kv_a_mqa",),
    "kv_a_layernorm": ("attn_kv_a_norm",), "kv_b_proj": ("attn_kv_b",), "k_b_proj": ("attn_k_b",),
    "v_b_proj": ("attn_v_b",), "o_proj": ("attn_output",),
    "indexer.wq_b": ("indexer.attn_q_b",), "indexer.wk": ("indexer.attn_k",),
    "indexer.k_norm": ("indexer.k_norm",), "indexer.weights_proj": ("indexer.proj",),
}  # fmt: skip
_STATE_SPACE: Names = {
    "in_proj": ("ssm_in",), "conv1d": ("ssm_conv1d",), "x_proj": ("ssm_x",),
    "dt_proj": ("ssm_dt",), "dt_bias": ("ssm_dt",), "A_log": ("ssm_a",), "D": ("ssm_d",),
    "norm": ("ssm_norm",), "out_proj": ("ssm_out",), "dt_layernorm": ("ssm_dt_norm",),
    "b_layernorm": ("ssm_b_norm",), "c_layernorm": ("ssm_c_norm",),
}  # fmt: skip
_RWKV_7: Names = {
    **dict.fromkeys((f"x_{letter}" for letter in "rwkvag"), ("time_mix_lerp_fused",)),
    **{name: (f"time_mix_{name}",) for name in ("k_k", "k_a", "r_k")},
    "r_proj": ("time_mix_receptance",), "k_proj": ("time_mix_key",),
    "v_proj": ("time_mix_value",), "o_proj": ("time_mix_output",), "g_norm": ("time_mix_ln",),
    "g_norm.bias": ("time_mix_ln.bias",),
    **{f"{gate}_lora.0": (f"time_mix_{gate}1",) for gate in "wavg"},
    **{f"{gate}_lora.2": (f"time_mix_{gate}2",) for gate in "wavg"},
    **{f"{gate}_lora.2.bias": (f"time_mix_{gate}0",) for gate in "wav"},
    "ffn.x_k": ("channel_mix_lerp_k",), "ffn.key": ("channel_mix_key",),
    "ffn.value": ("channel_mix_value",),
}  # fmt: skip
_BY_KIND: dict[str, Names] = {
    "attention": _SOFTMAX,
    "latent_attention": _LATENT,
    "mamba1": _STATE_SPACE,
    "mamba2": _STATE_SPACE,
    "gated_deltanet": {
        **_STATE_SPACE,
        "in_proj_qkvz": ("attn_qkv+attn_gate", "ssm_in"),
        "in_proj_ba": ("ssm_ba", "ssm_beta+ssm_alpha"),
    },
    "kda": {
        **_SOFTMAX,
        "conv1d": ("ssm_conv1d_q+ssm_conv1d_k+ssm_conv1d_v",),
        "dt_bias": ("ssm_dt",), "A_log": ("ssm_a",), "b_proj": ("ssm_beta",),
        "f_a_proj": ("ssm_f_a",), "f_b_proj": ("ssm_f_b",), "g_a_proj": ("ssm_g_a",),
        "g_b_proj": ("ssm_g_b",), "g_proj": ("ssm_g",), "o_norm": ("ssm_norm",),
    },
    "rwkv7": _RWKV_7,
    "short_convolution": {
        name: (f"shortconv.{name}",) for name in ("in_proj", "conv", "out_proj")
    },
}  # fmt: skip
_DENSE: Names = {
    "act_fn.alpha_p": (), "act_fn.alpha_n": (),
    "gate_proj": ("ffn_gate", "ffn_up"), "up_proj": ("ffn_up",), "down_proj": ("ffn_down",),
}  # fmt: skip
_SPARSE: Names = {
    "router": ("ffn_gate_inp",), "score_bias": ("exp_probs_b",),
    "experts.gate_proj": ("ffn_gate_exps", "ffn_gate_up_exps"),
    "experts.up_proj": ("ffn_up_exps", "ffn_gate_up_exps"),
    "experts.down_proj": ("ffn_down_exps",),
    "gate_proj": ("ffn_gate_shexp", "ffn_gate"), "up_proj": ("ffn_up_shexp", "ffn_up"),
    "down_proj": ("ffn_down_shexp", "ffn_down"), "shared_expert_gate": ("ffn_gate_inp_shexp",),
    "fc1_latent_proj": ("ffn_latent_down",), "fc2_latent_proj": ("ffn_latent_up",),
    "router.scale": ("ffn_gate_inp.scale",), "router.per_expert_scale": ("ffn_down_exps.scale",),
}  # fmt: skip


def names_of(part: Mixer | Mlp | MoE) -> Names:
    """The names of the weights of one part of a layer; none for a kind llama.cpp does not have."""
    if isinstance(part, MoE):
        return _SPARSE
    return _DENSE if isinstance(part, Mlp) else _BY_KIND.get(part.type, {})
