"""Architectures of llama.cpp whose layers carry a state, all or some of them: a row of data each.

As its converters write them (conversion/*.py) and its models read them (src/models/*.cpp), 2026
(commit 0c1e5709).
"""

from planner.files.gguf_architecture import LATENT, SHARED_WIDTH, Architecture

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
NEMOTRON_H = Architecture(
    "nemotron_h",
    {
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
STATES = {
    "falcon-h1": Architecture(
        "falcon_h1",
        {**MAMBA_2, "ssm.inner_size": "mamba_d_ssm"},
        flags=("attention_bias", "mlp_bias", "mamba_conv_bias", "mamba_rms_norm"),
    ),
    "granitehybrid": Architecture(
        "granitemoehybrid",
        {
            **MAMBA_2,
            "ssm.inner_size/embedding_length": "mamba_expand",
            "expert_count": "num_local_experts",
            "expert_shared_feed_forward_length": "shared_intermediate_size",
        },
        flags=("attention_bias", "mamba_conv_bias"),
        kinds={"ssm_in.weight": "mamba", "attn_q.weight": "attention"},
    ),
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
    "mamba": Architecture(
        "mamba",
        {
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
    "nemotron_h": NEMOTRON_H,
    "nemotron_h_moe": NEMOTRON_H,
    "qwen35": Architecture("qwen3_5_text", DELTA, kinds=DELTA_KINDS),
    "qwen35moe": Architecture("qwen3_5_moe_text", {**DELTA, **SHARED_WIDTH}, kinds=DELTA_KINDS),
    "qwen3next": Architecture("qwen3_next", {**DELTA, **SHARED_WIDTH}, kinds=DELTA_KINDS),
    "rwkv7": Architecture(
        "rwkv7",
        {
            "wkv.head_size": "head_dim",
            "attention.decay_lora_rank": "decay_low_rank_dim",
            "attention.iclr_lora_rank": "a_low_rank_dim",
            "attention.value_residual_mix_lora_rank": "v_low_rank_dim",
            "attention.gate_lora_rank": "gate_low_rank_dim",
        },
    ),
}
