"""What a family's own code assumes about rotary positions where the configuration is silent.

Sources: class attributes (`default_theta`) and attention code of transformers 5.23.
"""

THETA = 10_000.0
THETAS = {
    "apertus": 12e6, "bitnet": 5e5, "cohere": 5e5, "cwm": 1e6, "ernie4_5": 5e5, "ernie4_5_moe": 5e5,
    "ernie4_5_vl_moe_text": 5e5, "flex_olmo": 5e5, "gemma3_text": 1e6, "gemma3n_text": 1e6,
    "gpt_oss": 150e3, "helium": 1e5, "hy_v3": 11_158_840.0, "lfm2": 1e6, "lfm2_moe": 1e6,
    "lfm3": 1e6, "llama4_text": 5e5, "longcat_flash": 1e7, "minimax": 1e6, "minimax_m2": 5e6,
    "minimax_m3": 5e6, "minimax_m3_vl_text": 5e6, "mixtral": 1e6, "olmo3": 5e5,
    "paddleocr_vl_text": 5e5, "phimoe": 1e6, "qwen2_5_vl_text": 1e6, "qwen2_vl_text": 1e6,
    "qwen3_omni_moe_text": 1e6, "qwen3_vl_moe_text": 5e5, "qwen3_vl_text": 5e5,
    "smollm3": 2e6, "solar_open": 1e6,
}  # fmt: skip
LOCAL_THETA = {"gemma3_text": 1e4, "gemma3n_text": 1e4}
"""Families whose windowed layers turn with a theta of their own."""
PARTIAL = {
    "bamba": 0.5, "glm": 0.5, "glm4": 0.5, "glm4_moe": 0.5, "glm4v_moe_text": 0.5,
    "gpt_neox": 0.25, "nemotron": 0.5, "persimmon": 0.5, "phi": 0.5, "qwen3_5": 0.25,
    "qwen3_5_moe": 0.25, "qwen3_5_moe_text": 0.25, "qwen3_5_text": 0.25, "qwen3_next": 0.25,
    "recurrent_gemma": 0.5, "stablelm": 0.25,
}  # fmt: skip
"""The part of a head that is rotated; elsewhere all of it."""
NO_POSITIONS = ("jamba", "nemotron_h", "zamba")
"""Families whose attention encodes no positions, whatever else the configuration holds."""
NOT_ROTARY = (
    "biogpt", "ctrl", "falcon_mamba", "gpt2", "gpt_bigcode", "gpt_neo", "mamba", "mamba2", "mpt",
    "opt", "rwkv", "rwkv7", "xglm", "xlstm",
)  # fmt: skip
UNDESCRIBED = (
    "baichuan", "chatglm", "minimax_m1", "minimax_text_01", "openelm", "orion", "phi-msft", "qwen",
    "step3p5", "telechat", "xverse",
)  # fmt: skip
"""Families whose own code settles more than their fields say: nothing is assumed for them."""
ONLY_IN_WINDOWS = ("afmoe", "cohere2", "exaone4", "exaone_moe")
"""Families that rotate in windowed layers and encode no positions in those that see everything."""
