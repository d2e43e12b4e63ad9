"""Whether the head of a multimodal file is its embedding, where wrapper and text model may differ.

Followed is what the wrapper's own class in transformers 5.24 builds: it goes by the wrapper's own
tie_word_embeddings. vLLM does too: it puts the wrapper's value in place of the text model's (its
VllmConfig.with_hf_config, since January 2026). Where the two differ, the class is followed, as
checkpoints are saved from it:

- the classes of TEXT_TIES_ALONE ask the text model only, where vLLM goes by the wrapper;
- those of NEVER_TIED keep a head apart, where vLLM goes by the wrapper: true is refused;
- a file without a value of its own was saved before transformers 5, which always writes it. Then
  the text model's value held, and so it does here; both now read their class's default instead,
  and transformers keeps a head apart that it finds in the checkpoint.
"""

from collections.abc import Mapping
from typing import Any

from planner.errors import ConfigRefused
from planner.hf_config.reader import short

TIES = "tie_word_embeddings"

# Wrappers whose class takes the text model's value where their own says false.
TEXT_TIES = (
    "fast_vlm", "glm4v", "glm4v_moe", "glm_ocr", "hunyuan_vl", "llava", "llava_next_video",
    "llava_onevision", "minimax_m3_vl", "paddleocr_vl", "qwen2_5_vl", "qwen2_vl", "shieldgemma2",
    "video_llama_3",
)  # fmt: skip
# Wrappers whose class never asks their own value.
TEXT_TIES_ALONE = ("blip-2", "instructblip", "instructblipvideo", "llama4", "vibevoice")
# Wrappers whose class keeps a head apart, whatever is said.
NEVER_TIED = (
    "audioflamingo3", "cosmos3_edge", "inkling2", "inkling2_loop", "inkling_mm_model", "molmo2",
    "muse_spark", "musicflamingo", "nemo_speechlm", "nemotron_h_omni", "omniasr", "qwen2_audio",
    "vibevoice_asr", "voxtral",
)  # fmt: skip

DIFFERS = (
    "tie_word_embeddings is {0}, as the file itself says; {1} says {2}. If the checkpoint holds "
    "lm_head.weight, set both to false."
)


def share_head(config: Mapping[str, Any], text: dict[str, Any], name: str) -> tuple[str, ...]:
    """Put into `text`, the object `name` of the file `config`, what holds; notes about it."""
    wrapper, outer, inner = config.get("model_type"), config.get(TIES), text.get(TIES)
    if wrapper in NEVER_TIED:
        if outer or inner:
            raise ConfigRefused(
                f"{TIES}: true is what vLLM goes by, where transformers keeps lm_head apart: set "
                "it to false if the checkpoint holds lm_head.weight",
                field=TIES,
            )
        text[TIES] = False
        return ()
    if outer is None or wrapper in TEXT_TIES_ALONE or (outer is False and wrapper in TEXT_TIES):
        return ()
    text[TIES] = outer
    if inner in (None, outer):
        return ()
    if "auto_map" in config:
        raise ConfigRefused(
            f"{TIES}: {short(outer)} contradicts {name}.{TIES}, and no field says which of them "
            "the code beside the weights reads: set both to false if the checkpoint holds "
            "lm_head.weight, else to true",
            field=TIES,
        )
    return (DIFFERS.format(short(outer), f"{name}.{TIES}", short(inner)),)
