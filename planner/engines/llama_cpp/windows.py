"""Which models llama.cpp keeps only a window of, where their layers slide.

Each of its architectures settles that for itself: those that set `swa_type` get a second, smaller
cache for the layers that slide (llama-kv-cache-iswa.cpp), all others one cache of every token,
whatever window their file names. Sources: load_arch_hparams of src/models/*.cpp, and
conversion/*.py for the model types that an architecture is written from, 2026. That writes the
window as config.json has it, also where transformers makes another of it (MiMo-V2: 128 and 129).
"""

from collections.abc import Mapping
from typing import Any

from planner.engines.rotary import text_config
from planner.errors import PlanRefused
from planner.kinds.attention import Attention, LatentAttention
from planner.memo import memo
from planner.model import LayerGroup, Model

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


def as_read(model: Model, config: Mapping[str, Any] | None = None) -> Model:
    """The model as llama.cpp reads it: with the windows that it keeps. config: the model's own.

    Raises PlanRefused where layers have windows and no architecture of llama.cpp is known for them.
    """
    if not has_windows(model):
        return model
    if not _keeps_windows(model):
        return _with_window(model, None)
    written = text_config(config).get("sliding_window")
    return _with_window(model, written) if isinstance(written, int) else model


@memo(maxsize=64)
def _with_window(model: Model, window: int | None) -> Model:
    """With this window wherever a layer has one; the same object where nothing changes."""

    def changed(group: LayerGroup) -> LayerGroup:
        mixers = tuple(
            mixer.model_copy(update={"window": window})
            if isinstance(mixer, Attention | LatentAttention) and mixer.window not in (None, window)
            else mixer
            for mixer in group.mixers
        )
        return group if mixers == group.mixers else group.model_copy(update={"mixers": mixers})

    groups = tuple(changed(group) for group in model.groups)
    if groups == model.groups:
        return model
    return Model(**{name: getattr(model, name) for name in Model.model_fields} | {"groups": groups})


def has_windows(model: Model) -> bool:
    """Whether any layer needs no more than its last tokens."""
    return any(
        tensor.window is not None and tensor.stride == 1
        for group in model.groups
        for tensor in group.cache()
    )


def _keeps_windows(model: Model) -> bool:
    if model.model_type in IGNORED:
        return False
    if model.model_type not in KEPT:
        raise PlanRefused(
            f"sliding_window: what llama.cpp keeps of the windows of {model.model_type} is not "
            "described; plan without --engine or for another engine"
        )
    return model.model_type != "exaone4" or model.num_hidden_layers == EXAONE4_LAYERS
