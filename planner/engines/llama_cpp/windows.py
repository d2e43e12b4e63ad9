"""Which models llama.cpp keeps only a window of, where their layers slide.

Each of its architectures settles that for itself: those that set `swa_type` get a second, smaller
cache for the layers that slide (llama-kv-cache-iswa.cpp), all others one cache of every token,
whatever window their file names. Sources: load_arch_hparams of src/models/*.cpp, and
conversion/*.py for the model types that an architecture is written from, 2026.
"""

from planner.errors import PlanRefused
from planner.model import Model

KEPT = frozenset({
    "afmoe", "cohere2", "cohere2_moe", "exaone4", "exaone_moe", "gemma2", "gemma3_text",
    "gemma3n_text", "gemma4_text", "gemma4_unified_text", "gpt_oss", "laguna", "llama4_text",
    "mellum", "mimo_v2", "mimo_v2_flash", "muse_glimmer_text", "olmo3", "plamo3", "step3p5",
    "step3p7",
})  # fmt: skip
IGNORED = frozenset({
    "dots1", "ministral3", "mistral", "mixtral", "phi3", "phimoe", "qwen2", "qwen2_moe",
    "qwen2_5_omni_text", "qwen2_5_vl", "qwen2_5_vl_text", "qwen2_vl", "qwen2_vl_text", "qwen3",
    "qwen3_moe", "smollm3", "starcoder2",
})  # fmt: skip
"""phi3 is switched off by hand (llama.cpp#13676), Mistral's types are llama there."""
EXAONE4_LAYERS = 64
"""exaone4.cpp has windows at this number of layers, that of the one size published with them."""


def has_windows(model: Model) -> bool:
    """Whether any layer needs no more than its last tokens."""
    return any(
        tensor.window is not None and tensor.stride == 1
        for group in model.groups
        for tensor in group.cache()
    )


def keeps_windows(model: Model) -> bool:
    """Whether layers with a window hold no more than it.

    Raises PlanRefused where layers have one and no architecture of llama.cpp is known for them.
    """
    if not has_windows(model) or model.model_type in IGNORED:
        return False
    if model.model_type not in KEPT:
        raise PlanRefused(
            f"sliding_window: what llama.cpp keeps of the windows of {model.model_type} is not "
            "described; plan without --engine or for another engine"
        )
    return model.model_type != "exaone4" or model.num_hidden_layers == EXAONE4_LAYERS
