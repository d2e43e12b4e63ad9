"""Tiny models, one of each kind that the validation runs."""

LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 128,
    "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 64, "vocab_size": 512, "max_position_embeddings": 256,
    "torch_dtype": "float16", "tie_word_embeddings": False, "rms_norm_eps": 1e-6,
    "hidden_act": "silu", "rope_theta": 10000.0,
}  # fmt: skip
MOE = {
    **LLAMA, "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe",
    "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64,
    "decoder_sparse_step": 1, "mlp_only_layers": [], "norm_topk_prob": True,
    "attention_bias": False,
}  # fmt: skip
GEMMA = {
    **LLAMA, "architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text",
    "sliding_window": 16, "query_pre_attn_scalar": 64, "tie_word_embeddings": True,
    "layer_types": ["sliding_attention", "full_attention"],
}  # fmt: skip
MLA = {
    **{key: value for key, value in LLAMA.items() if key != "head_dim"},
    "architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2",
    "num_key_value_heads": 2, "kv_lora_rank": 64, "q_lora_rank": None, "qk_nope_head_dim": 64,
    "qk_rope_head_dim": 64, "v_head_dim": 64, "n_routed_experts": 4, "num_experts_per_tok": 2,
    "n_shared_experts": 1, "moe_intermediate_size": 64, "first_k_dense_replace": 1,
    "moe_layer_freq": 1, "attention_bias": False, "n_group": 1, "topk_group": 1,
    "topk_method": "greedy",
}  # fmt: skip
