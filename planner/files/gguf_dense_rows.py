"""Architectures of llama.cpp with attention and dense layers, a row of data each.

As its converters write them (conversion/*.py) and its models read them (src/models/*.cpp), 2026
(commit 0c1e5709).
"""

from planner.files.gguf_architecture import BIASES, LATENT, Architecture

PER_LAYER = {
    "embedding_length_per_layer_input": "hidden_size_per_layer_input",
    "attention.shared_kv_layers": "num_kv_shared_layers",
    "rope.freq_base_swa": "rope_local_base_freq",
}
DENSE = {
    "apertus": Architecture("apertus", flags=("attention_bias",)),
    "arcee": Architecture("arcee", flags=BIASES),
    "baichuan": Architecture("baichuan"),
    "bloom": Architecture("bloom"),
    "chatglm": Architecture("glm", flags=("attention_bias",)),
    "cohere2": Architecture("cohere2", flags=("attention_bias",), period=4),
    "command-r": Architecture("cohere", flags=("attention_bias", "use_qk_norm")),
    "deci": Architecture(
        "nemotron-nas",
        dict.fromkeys(("attention.head_count", "attention.head_count_kv", "feed_forward_length")),
        flags=BIASES,
    ),
    "ernie4_5": Architecture("ernie4_5", flags=("use_bias",)),
    "exaone": Architecture("exaone", flags=BIASES),
    "exaone4": Architecture("exaone4", period=4),
    "falcon": Architecture(
        "falcon",
        {"feed_forward_length": "ffn_hidden_size", "attention.head_count_kv": "num_kv_heads"},
        flags=("bias",),
        values={"new_decoder_architecture": True, "parallel_attn": True},
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
    "gpt2": Architecture("gpt2"),
    "gptneox": Architecture("gpt_neox", {"use_parallel_residual": None}, flags=("attention_bias",)),
    "granite": Architecture("granite", flags=BIASES),
    "hunyuan-dense": Architecture("hunyuan_v1_dense", flags=("attention_bias",)),
    "internlm2": Architecture("internlm2", flags=("bias",)),
    "jais2": Architecture("jais2", flags=BIASES),
    "llama": Architecture("llama", flags=BIASES),
    "minicpm": Architecture("minicpm", flags=("attention_bias",)),
    "minicpm3": Architecture("minicpm3", LATENT),
    "mistral3": Architecture("ministral3"),
    "nanbeige": Architecture(
        "nanbeige", {"num_loops": "num_loops", "skip_loop_final_norm": None}, flags=BIASES
    ),
    "nemotron": Architecture("nemotron", flags=BIASES),
    "olmo": Architecture("olmo"),
    "olmo2": Architecture("olmo2", flags=("attention_bias",), period=4),
    "orion": Architecture("orion"),
    "phi2": Architecture("phi"),
    "phi3": Architecture("phi3"),
    "plamo3": Architecture("plamo3", period=8),
    "qwen2": Architecture("qwen2"),
    "qwen2vl": Architecture("qwen2_vl_text"),
    "qwen3": Architecture("qwen3", flags=("attention_bias",)),
    "qwen3vl": Architecture("qwen3_vl_text", flags=("attention_bias",)),
    "seed_oss": Architecture("seed_oss", flags=("attention_bias", "attention_out_bias")),
    "smollm3": Architecture("smollm3", flags=BIASES),
    "spark2_5": Architecture(
        "spark2_5", flags=BIASES, values={"headwise_attn_output_gate": True}, period=4
    ),
    "stablelm": Architecture(
        "stablelm",
        {"use_parallel_residual": "use_parallel_residual"},
        flags=("use_qkv_bias", "qk_layernorm"),
    ),
    "starcoder2": Architecture("starcoder2", flags=("use_bias",)),
    "xverse": Architecture("xverse"),
}
