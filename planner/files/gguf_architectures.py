"""Which model type an architecture of llama.cpp is, and which field each of its keys.

As llama.cpp's converters write them (conversion/*.py) and its models read them (src/models/*.cpp),
2026 (commit 0c1e5709).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FIELDS = {
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "context_length": "max_position_embeddings",
    "rope.freq_base": "rope_theta",
    "expert_count": "num_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_count": "n_shared_experts",
    "leading_dense_block_count": "first_k_dense_replace",
    "nextn_predict_layers": "num_nextn_predict_layers",
}
"""Keys after the architecture's name that are one field of most model types."""
FLAGS = {
    "attention_bias": ("attn_q.bias", "attn_qkv.bias"),
    "attention_out_bias": ("attn_output.bias",),
    "bias": ("attn_output.bias",),
    "mamba_conv_bias": ("ssm_conv1d.bias",),
    "mamba_rms_norm": ("ssm_norm.weight",),
    "mlp_bias": ("ffn_up.bias",),
    "moe_router_enable_expert_bias": ("exp_probs_b.bias",),
    "qk_layernorm": ("attn_q_norm.weight",),
    "use_bias": ("attn_output.bias",),
    "use_conv_bias": ("ssm_conv1d.bias",),
    "use_qk_norm": ("attn_q_norm.weight",),
    "use_qkv_bias": ("attn_q.bias", "attn_qkv.bias"),
}
"""Fields that say whether layers have one of these tensors."""
THETAS = ("rope.freq_base", "rope.freq_base_swa")
"""Keys whose numbers need not be whole."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """One architecture.

    fields: of further keys, or of keys that are another field than usual; "a/b" is a quotient, None
    a key that is no field. flags: those of FLAGS that the model type has. values: what it
    always says. kinds: what a layer that has a tensor is called, the first that fits.

    period: with a window, all layers but the last of each period slide (but the first, with
    `first`), unless the file says otherwise; 0 where no layer does. window: what llama.cpp takes
    where the file names none. chunked: windows jump.
    """

    model_type: str
    fields: Mapping[str, str | None] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    kinds_field: str = "layer_types"
    period: int = 0
    first: bool = False
    window: int | None = None
    chunked: bool = False


BIASES = ("attention_bias", "mlp_bias")
EXPERTS_ALONE = {"expert_feed_forward_length": "intermediate_size"}
"""Of model types with no other feed-forward layers than experts."""
SHARED_WIDTH = {"expert_shared_feed_forward_length": "shared_expert_intermediate_size"}
NO_DENSE = {"first_k_dense_replace": 0}
"""What llama.cpp takes where a file does not say how many of the first layers are dense."""
SHARED_AS_ROUTED = {"expert_shared_feed_forward_length": None}
"""Of model types that count shared experts, each as wide as a routed one."""
ANY_LENGTH = {"context_length": None}
"""The converters of layers with a state write 2**20, whatever the model was trained on."""
MAMBA_2 = {
    "ssm.conv_kernel": "mamba_d_conv",
    "ssm.state_size": "mamba_d_state",
    "ssm.group_count": "mamba_n_groups",
    "ssm.time_step_rank": "mamba_n_heads",
    "ssm.inner_size/ssm.time_step_rank": "mamba_d_head",
}
DELTA = {
    "ssm.conv_kernel": "linear_conv_kernel_dim",
    "ssm.state_size": "linear_key_head_dim",
    "ssm.group_count": "linear_num_key_heads",
    "ssm.time_step_rank": "linear_num_value_heads",
    "ssm.inner_size/ssm.time_step_rank": "linear_value_head_dim",
    "attention.recurrent_layers": None,
    "full_attention_interval": None,
}
DELTA_KINDS = {"ssm_out.weight": "linear_attention", "attn_q.weight": "full_attention"}
LFM2_KINDS = {"shortconv.conv.weight": "conv", "attn_q.weight": "full_attention"}
LATENT = {
    "attention.q_lora_rank": "q_lora_rank",
    "attention.kv_lora_rank": "kv_lora_rank",
    "attention.key_length_mla": "qk_head_dim",
    "attention.value_length_mla": "v_head_dim",
    **SHARED_AS_ROUTED,
}
INDEXED = {
    **LATENT,
    "attention.indexer.head_count": "index_n_heads",
    "attention.indexer.key_length": "index_head_dim",
    "attention.indexer.top_k": "index_topk",
}
PER_LAYER = {
    "embedding_length_per_layer_input": "hidden_size_per_layer_input",
    "attention.shared_kv_layers": "num_kv_shared_layers",
    "rope.freq_base_swa": "rope_local_base_freq",
}
NEMOTRON_H = Architecture(
    "nemotron_h",
    {
        **ANY_LENGTH,
        "expert_count": "n_routed_experts",
        "expert_shared_feed_forward_length": "moe_shared_expert_intermediate_size",
        "moe_latent_size": "moe_latent_size",
        "ssm.conv_kernel": "conv_kernel",
        "ssm.state_size": "ssm_state_size",
        "ssm.group_count": "n_groups",
        "ssm.time_step_rank": "mamba_num_heads",
        "ssm.inner_size/ssm.time_step_rank": "mamba_head_dim",
    },
    flags=("mlp_bias", "use_conv_bias"),
    kinds={
        "ssm_in.weight": "mamba",
        "attn_q.weight": "attention",
        "ffn_gate_inp.weight": "moe",
        "ffn_up.weight": "mlp",
    },
    kinds_field="layers_block_type",
)

ARCHITECTURES = {
    "afmoe": Architecture("afmoe", flags=("attention_bias",), period=4),
    "apertus": Architecture("apertus", flags=("attention_bias",)),
    "arcee": Architecture("arcee", flags=BIASES),
    "bailingmoe": Architecture(
        "bailing_moe", flags=("use_qkv_bias", "use_qk_norm"), values=NO_DENSE
    ),
    "bailingmoe2": Architecture(
        "bailing_moe_v2",
        SHARED_AS_ROUTED,
        flags=("use_qkv_bias", "use_qk_norm", "moe_router_enable_expert_bias"),
 values=NO_DENSE,
    ),
    "baichuan": Architecture("baichuan"),
    "bloom": Architecture("bloom"),
    "chatglm": Architecture("glm", flags=("attention_bias",)),
    "cohere2": Architecture("cohere2", flags=("attention_bias",), period=4),
    "cohere2moe": Architecture(
        "cohere2_moe",
        {**EXPERTS_ALONE, "feed_forward_length": "prefix_dense_intermediate_size",
         **SHARED_AS_ROUTED},
        period=4,
        first=True,
    ),
    "command-r": Architecture("cohere", flags=("attention_bias", "use_qk_norm")),
    "deepseek": Architecture("deepseek", flags=("attention_bias",), values=NO_DENSE),
    "deepseek2": Architecture("deepseek_v2", LATENT, values=NO_DENSE),
    "deepseek32": Architecture("deepseek_v32", INDEXED),
    "dots1": Architecture("dots1", SHARED_AS_ROUTED, flags=("attention_bias",), values=NO_DENSE),
    "ernie4_5": Architecture("ernie4_5", flags=("use_bias",)),
    "ernie4_5-moe": Architecture(
        "ernie4_5_moe",
        {
            **SHARED_AS_ROUTED,
            "interleave_moe_layer_step": "moe_layer_interval",
            "leading_dense_block_count": "moe_layer_start_index",
        },
        flags=("use_bias",),
    ),
    "exaone": Architecture("exaone", flags=BIASES),
    "exaone4": Architecture("exaone4", period=4),
    "exaone-moe": Architecture("exaone_moe", SHARED_AS_ROUTED, values=NO_DENSE, period=4),
    "falcon": Architecture(
        "falcon",
        {"feed_forward_length": "ffn_hidden_size", "attention.head_count_kv": "num_kv_heads"},
        flags=("bias",),
        values={"new_decoder_architecture": True, "parallel_attn": True},
    ),
    "falcon-h1": Architecture(
        "falcon_h1",
        {**MAMBA_2, "ssm.inner_size": "mamba_d_ssm"},
        flags=("attention_bias", "mlp_bias", "mamba_conv_bias", "mamba_rms_norm"),
    ),
    "gemma": Architecture("gemma"),
    "gemma2": Architecture("gemma2", period=2, window=4096),
    "gemma3": Architecture("gemma3_text", {"rope.freq_base_swa": "rope_local_base_freq"}, period=6),
    "gemma3n": Architecture(
        "gemma3n_text",
        {**PER_LAYER, "feed_forward_length": None, "altup.num_inputs": "altup_num_inputs"},
        period=5,
    ),
    "gemma4": Architecture(
        "gemma4_text",
        {
            **PER_LAYER,
            "feed_forward_length": None,
            "attention.head_count_kv": None,
            "attention.key_length": "global_head_dim",
            "attention.key_length_swa": "head_dim",
            "attention.value_length_swa": None,
            "expert_used_count": "top_k_experts",
        },
        period=6,
    ),
    "glm4": Architecture("glm4", flags=("attention_bias",)),
    "glm4moe": Architecture(
        "glm4_moe", SHARED_AS_ROUTED, flags=("attention_bias", "use_qk_norm"), values=NO_DENSE
    ),
    "glm-dsa": Architecture("glm_moe_dsa", INDEXED),
    "gpt2": Architecture("gpt2"),
    "gptneox": Architecture(
"gpt_neox", {"use_parallel_residual": None}, flags=("attention_bias",)
),
    "gpt-oss": Architecture("gpt_oss", EXPERTS_ALONE, flags=("attention_bias",), period=2),
    "granite": Architecture("granite", flags=BIASES),
    "granitemoe": Architecture(
        "granitemoe",
        {**EXPERTS_ALONE, "expert_shared_feed_forward_length": "shared_intermediate_size"},
        flags=("attention_bias",),
    ),
    "granitehybrid": Architecture(
        "granitemoehybrid",
        {
            **ANY_LENGTH,
            **MAMBA_2,
            "ssm.inner_size/embedding_length": "mamba_expand",
            "expert_count": "num_local_experts",
            "expert_shared_feed_forward_length": "shared_intermediate_size",
        },
        flags=("attention_bias", "mamba_conv_bias"),
        kinds={"ssm_in.weight": "mamba", "attn_q.weight": "attention"},
    ),
    "granite_swa": Architecture(
        "granitemoe_swa",
        {**EXPERTS_ALONE, "expert_shared_feed_forward_length": "shared_intermediate_size"},
        flags=("attention_bias",),
        period=4,
        first=True,
    ),
    "hunyuan-dense": Architecture("hunyuan_v1_dense", flags=("attention_bias",)),
    "hunyuan-moe": Architecture(
        "hunyuan_v1_moe", {**EXPERTS_ALONE, **SHARED_AS_ROUTED}, flags=("attention_bias",)
    ),
    "hy_v3": Architecture(
        "hy_v3",
        {"expert_shared_feed_forward_length/expert_feed_forward_length": "n_shared_experts"},
        flags=BIASES,
    ),
    "internlm2": Architecture("internlm2", flags=("bias",)),
    "jais2": Architecture("jais2", flags=BIASES),
    "jamba": Architecture(
        "jamba",
        {
            "ssm.conv_kernel": "mamba_d_conv",
            "ssm.state_size": "mamba_d_state",
            "ssm.time_step_rank": "mamba_dt_rank",
            "ssm.inner_size/embedding_length": "mamba_expand",
        },
        flags=("mamba_conv_bias",),
    ),
    "kimi-linear": Architecture(
        "kimi_linear",
        {
            **LATENT,
            "ssm.conv_kernel": "linear_conv_kernel_dim",
            "kda.head_dim": "linear_head_dim",
        },
        kinds={"attn_kv_a_mqa.weight": "full_attention", "ssm_f_b.weight": "linear_attention"},
    ),
    "lfm2": Architecture(
        "lfm2",
        {"shortconv.l_cache": "conv_L_cache"},
        values={"block_auto_adjust_ff_dim": False},
        kinds=LFM2_KINDS,
    ),
    "lfm2moe": Architecture(
        "lfm2_moe",
        {"shortconv.l_cache": "conv_L_cache", "leading_dense_block_count": "num_dense_layers"},
        kinds=LFM2_KINDS,
    ),
    "llama": Architecture("llama", flags=BIASES),
    "llama4": Architecture(
        "llama4_text",
        {
            **EXPERTS_ALONE,
            "feed_forward_length": "intermediate_size_mlp",
            "expert_count": "num_local_experts",
            "interleave_moe_layer_step": "interleave_moe_layer_step",
        },
        flags=("attention_bias",),
        period=4,
        window=8192,
        chunked=True,
    ),
    "mamba": Architecture(
        "mamba",
        {
            **ANY_LENGTH,
            "feed_forward_length": None,
            "ssm.conv_kernel": "conv_kernel",
            "ssm.inner_size": "intermediate_size",
            "ssm.state_size": "state_size",
            "ssm.time_step_rank": "time_step_rank",
            "ssm.dt_b_c_rms": None,
        },
        flags=("use_conv_bias",),
    ),
    "mamba2": Architecture(
        "mamba2",
        {
            **ANY_LENGTH,
            "feed_forward_length": None,
            "ssm.conv_kernel": "conv_kernel",
            "ssm.state_size": "state_size",
            "ssm.group_count": "n_groups",
            "ssm.time_step_rank": "num_heads",
            "ssm.inner_size/ssm.time_step_rank": "head_dim",
            "ssm.inner_size/embedding_length": "expand",
        },
        flags=("use_conv_bias",),
    ),
    "mellum": Architecture("mellum", flags=("attention_bias",), period=4),
    "minicpm": Architecture("minicpm", flags=("attention_bias",)),
    "minicpm3": Architecture("minicpm3", LATENT),
    "minimax-m2": Architecture("minimax_m2", EXPERTS_ALONE),
    "mistral3": Architecture("ministral3"),
    "mistral4": Architecture("mistral4", LATENT, values=NO_DENSE),
    "nemotron": Architecture("nemotron", flags=BIASES),
    "nemotron_h": NEMOTRON_H,
    "nemotron_h_moe": NEMOTRON_H,
    "olmo": Architecture("olmo"),
    "olmo2": Architecture("olmo2", flags=("attention_bias",), period=4),
    "olmoe": Architecture("olmoe", EXPERTS_ALONE, flags=("attention_bias",)),
    "orion": Architecture("orion"),
    "phi2": Architecture("phi"),
    "phi3": Architecture("phi3"),
    "phimoe": Architecture("phimoe", EXPERTS_ALONE, flags=("attention_bias",)),
    "qwen2": Architecture("qwen2"),
    "qwen2moe": Architecture("qwen2_moe", SHARED_WIDTH),
    "qwen2vl": Architecture("qwen2_vl_text"),
    "qwen3": Architecture("qwen3", flags=("attention_bias",)),
    "qwen35": Architecture("qwen3_5_text", DELTA, kinds=DELTA_KINDS),
    "qwen35moe": Architecture("qwen3_5_moe_text", {**DELTA, **SHARED_WIDTH}, kinds=DELTA_KINDS),
    "qwen3moe": Architecture("qwen3_moe", flags=("attention_bias",)),
    "qwen3next": Architecture("qwen3_next", {**DELTA, **SHARED_WIDTH}, kinds=DELTA_KINDS),
    "qwen3vl": Architecture("qwen3_vl_text", flags=("attention_bias",)),
    "qwen3vlmoe": Architecture("qwen3_vl_moe_text", flags=("attention_bias",)),
    "seed_oss": Architecture("seed_oss", flags=("attention_bias", "attention_out_bias")),
    "smollm3": Architecture("smollm3", flags=BIASES),
    "stablelm": Architecture(
        "stablelm",
        {"use_parallel_residual": "use_parallel_residual"},
        flags=("use_qkv_bias", "qk_layernorm"),
    ),
    "starcoder2": Architecture("starcoder2", flags=("use_bias",)),
    "xverse": Architecture("xverse"),
}  # fmt: skip
