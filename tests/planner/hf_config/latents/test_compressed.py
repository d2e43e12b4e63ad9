"""DeepSeek-V4 as its files name and extend it."""

from planner.hf_config import parse
from planner.parameters import count
from presets.models import load_model_config


def test_deepseek_ref_is_deepseek_v4() -> None:
    """sgl-project/DeepSeek-V4-Flash-FP8 and -Pro-FP8 are saved so."""
    for name in ("deepseek-v4-flash", "deepseek-v4-pro"):
        config = load_model_config(name)
        assert parse({**config, "model_type": "deepseek_ref"}) == parse(config)


def test_a_drafter_in_place_of_prediction_layers_is_not_counted_and_said() -> None:
    """DeepSeek-V4-Flash-0731 as published: stages 43 to 45 are DSpark's, by the names of its files
    (github.com/gogongxt/python, scripts/models/deepseek_v4_flash_0731.md)."""
    config = load_model_config("deepseek-v4-flash")
    stages = {
        "compress_ratios": [*config["compress_ratios"][:43], 0, 0, 0], "dspark_block_size": 5,
        "dspark_noise_token_id": 128799, "dspark_target_layer_ids": [40, 41, 42],
        "dspark_markov_rank": 256,
    }  # fmt: skip
    model = parse({**config, **stages})
    assert model.groups == parse(config).groups
    assert count(model).mtp == 0
    assert any("DSpark" in note for note in model.notes)
