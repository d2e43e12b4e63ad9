"""DeepSeek-V4 under the name of its reference code."""

from planner.hf_config import parse
from presets.models import load_model_config


def test_deepseek_ref_is_deepseek_v4() -> None:
    """sgl-project/DeepSeek-V4-Flash-FP8 and -Pro-FP8 are saved so."""
    for name in ("deepseek-v4-flash", "deepseek-v4-pro"):
        config = load_model_config(name)
        assert parse({**config, "model_type": "deepseek_ref"}) == parse(config)
