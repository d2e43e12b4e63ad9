"""Whole models, towers for images and sound included.

Each class of transformers 5.24 with two sets of fields, counted by make_counted_towers.py.
"""

from typing import Any

import pytest

from planner.engines.vision_tower import tower_of
from planner.errors import ConfigRefused
from planner.hf_config import parse
from planner.parameters import count
from tests.planner.hf_config.counts import cases
from tests.planner.models import text

CASES = [
    pytest.param(case, id=f"{case['config']['model_type']}-{i % 2}")
    for i, case in enumerate(cases("towers"))
]


@pytest.mark.parametrize("case", CASES)
def test_a_whole_class_is_counted(case: dict[str, Any]) -> None:
    found = parse(case["config"])
    assert found.parameters_elsewhere == ()
    assert count(found).total + count(found).towers == case["parameters"]
    loaded = tower_of(case["config"], found)
    assert loaded is not None
    assert loaded.parameters == count(found).towers


def test_kimi_vls_tower_by_hand() -> None:
    """MoonViT: 27 layers of 1,152 and 4,304 wide, a 64 x 64 grid, 14 x 14 patches of 3 colours."""
    size, inner, wide = 1152, 4304, 4 * 1152
    layer = 4 * (size + 1) * size + (size + 1) * inner + (inner + 1) * size + 4 * size
    tower = 27 * layer + 64 * 64 * size + (3 * 14 * 14 + 1) * size + 2 * size
    projector = 2 * size + (wide + 1) * wide + (wide + 1) * 2048
    vision = {
        "model_type": "moonvit", "patch_size": 14, "num_attention_heads": 16,
        "num_hidden_layers": 27, "hidden_size": size, "intermediate_size": inner,
        "merge_kernel_size": [2, 2],
    }  # fmt: skip
    found = parse({"model_type": "kimi_vl", "text_config": text(2048), "vision_config": vision})
    assert count(found).towers == tower + projector


def test_gemma_3ns_eye_and_ear() -> None:
    """681,348,640 + 3,345,408 of sound by transformers, 294,126,912 of MobileNetV5 by timm 1.0.31
    and 4,460,544 of its embedder."""
    vision = {
        "model_type": "gemma3n_vision", "architecture": "mobilenetv5_300m_enc", "vocab_size": 128,
        "hidden_size": 2048, "vocab_offset": 262144, "do_pooling": False, "num_classes": 2,
        "label_names": ["LABEL_0", "LABEL_1"],
    }  # fmt: skip
    config = {
        "model_type": "gemma3n", "text_config": text(2048), "vision_config": vision,
        "audio_config": {"model_type": "gemma3n_audio"},
    }  # fmt: skip
    sound, sight = 681_348_640 + 3_345_408, 294_126_912 + 4_460_544
    assert count(parse(config)).towers == sound + sight
    vision["architecture"] = "mobilenetv4_conv_small"
    found = parse(config)
    assert (count(found).towers, found.parameters_elsewhere) == (sound, ("vision_config",))
    assert found.tower_name == "audio tower"


def test_a_tower_that_is_not_understood_is_estimated_beside_one_that_is() -> None:
    vision = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "out_hidden_size": 64}
    sound = {"output_dim": 64, "encoder_layers": 2}
    config = {
        "model_type": "qwen2_5_omni_thinker", "text_config": text(64), "vision_config": vision,
        "audio_config": sound,
    }  # fmt: skip
    known = parse(config)
    assert known.tower_name == "vision and audio towers"
    unknown = {**config, "vision_config": {**vision, "extra_layers": 3}}
    found = parse(unknown)
    assert found.parameters_elsewhere == ("vision_config",)
    whole, estimated = tower_of(config, known), tower_of(unknown, found)
    assert whole is not None
    assert estimated is not None
    assert estimated.parameters == pytest.approx(whole.parameters, rel=0.1)


def test_every_object_beside_the_decoder_is_named_or_counted() -> None:
    config = {
        "model_type": "llava", "text_config": text(64), "codec_config": {"hidden_size": 512},
        "image_processor_config": {"size": 336},
    }  # fmt: skip
    assert parse(config).parameters_elsewhere == ("codec_config",)


def test_ovis_sizes_its_head_by_the_outer_vocabulary() -> None:
    decoder = text(64, model_type="qwen2", num_key_value_heads=8)
    config = {"model_type": "ovis2", "text_config": decoder, "vocab_size": 320}
    assert count(parse(config)).head == 320 * 64
    with pytest.raises(ConfigRefused, match="vocab_size: 151643"):
        parse({**config, "vocab_size": 151643})


def test_ultravox_by_hand() -> None:
    """Whisper's encoder, then eight frames of 1,280 to 512, halved by the gate, to 64."""
    sound = {
        "model_type": "whisper", "d_model": 1280, "encoder_ffn_dim": 5120, "encoder_layers": 2,
        "encoder_attention_heads": 20, "num_mel_bins": 128, "decoder_layers": 4,
    }  # fmt: skip
    config = {
        "model_type": "ultravox", "architectures": ["UltravoxModel"], "text_config": text(64),
        "audio_config": sound, "hidden_size": 512, "projector_act": "swiglu", "stack_factor": 8,
        "projector_ln_mid": True, "norm_init": 0.4, "num_projector_layers": 0,
        "text_model_lora_config": {"r": 0},
    }  # fmt: skip
    size, inner = 1280, 5120
    layer = 4 * size * size + 3 * size + 2 * size * inner + inner + size + 4 * size
    around = (3 * 128 + 1) * size + (3 * size + 1) * size + 1500 * size + 2 * size
    projector = 8 * size + 8 * size * 512 + 256 * 64 + 256
    found = parse(config)
    assert count(found).towers == 2 * layer + around + projector
    assert count(found).head == 320 * 64
    assert found.parameters_elsewhere == ()
    assert parse({**config, "num_projector_layers": 2}).parameters_elsewhere == ("audio_config",)


def test_a_thinkers_head_is_there_whatever_the_whole_is_called() -> None:
    thinker = {"model_type": "qwen2_5_omni_thinker", "text_config": text(64)}
    config = {
        "model_type": "qwen2_5_omni", "architectures": ["Qwen2_5OmniModel"],
        "thinker_config": thinker, "talker_config": {"hidden_size": 896},
    }  # fmt: skip
    assert count(parse(config)).head == 320 * 64
    assert parse(config).parameters_elsewhere == ("talker_config",)


@pytest.mark.parametrize(
    ("model_type", "fields", "windows"),
    [
        ("voxtral_realtime_text", {"sliding_window": 256}, [256, 256]),
        ("voxtral_realtime_text", {"sliding_window": None}, [None, None]),
        ("qwen2_5_omni_text", {"sliding_window": 256, "use_sliding_window": True,
                               "max_window_layers": 1}, [None, 256]),
        ("qwen2_5_omni_text", {"sliding_window": 256}, [None, None]),
        ("phi4_multimodal", {"sliding_window": 256}, [256, 256]),
        ("molmo2_text", {}, [None, None]),
    ],
)  # fmt: skip
def test_a_decoder_beside_towers_keeps_what_its_class_keeps(
    model_type: str, fields: dict[str, Any], windows: list[int | None]
) -> None:
    """Windows of the cache layers that transformers 5.24 makes for these fields."""
    config = text(512, model_type=model_type, num_hidden_layers=2, num_key_value_heads=2, **fields)
    found = parse(config)
    kept = [t.window for g in found.groups for t in g.cache()[:1] for _ in range(g.count)]
    assert kept == windows
