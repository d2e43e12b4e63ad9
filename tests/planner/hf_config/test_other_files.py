"""What is given in place of a config.json is named, and fields beyond it all at once."""

from typing import Any

import pytest

from planner.errors import ConfigRefused
from planner.hf_config import parse
from tests.planner.models import LLAMA_8B

PEFT = {
    "base_model_name_or_path": "meta-llama/Llama-3.1-8B", "peft_type": "LORA", "r": 16,
    "lora_alpha": 32, "target_modules": ["q_proj", "v_proj"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (PEFT, "give the config.json of meta-llama/Llama-3.1-8B, and reserve adapters with the "
               "engine's max_loras and max_lora_rank 16"),
        ({"peft_type": "LORA"}, "give the config.json of its base, and reserve adapters with the "
                                "engine's max_loras"),
        ({"metadata": {"total_size": 1}, "weight_map": {}}, "the index of a checkpoint's weights"),
        ({"tokenizer_class": "LlamaTokenizer"}, "a tokenizer's configuration: give the config"),
        ({"bos_token_id": 1, "do_sample": True, "temperature": 0.6}, "a generation_config.json"),
        ({"dim": 4096, "n_layers": 32, "n_heads": 32}, "this is a params.json"),
        ({"tokenizer_class": "LlamaTokenizer", "hidden_size": 64}, "model_type is missing"),
        ({}, "model_type is missing"),
    ],
)  # fmt: skip
def test_each_is_told_by_its_fields(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigRefused) as refused:
        parse(config)
    assert words in str(refused.value)


def test_fields_that_are_not_understood_are_named_together() -> None:
    odd = {"my_flag": True, "lora_r": 16, "off": False, "attn_gate": "sigmoid"}
    with pytest.raises(ConfigRefused) as refused:
        parse({**LLAMA_8B, **odd})
    assert str(refused.value) == (
        "my_flag: True is not understood for this model type, nor lora_r and attn_gate, and could "
        "change memory: take them out if they do not"
    )
    assert refused.value.field == "my_flag"
    many = {f"odd_{i}": i + 1 for i in range(9)}
    with pytest.raises(ConfigRefused, match="and odd_5 and 3 more, and could change"):
        parse({**LLAMA_8B, **many})


def test_one_field_is_named_alone() -> None:
    with pytest.raises(ConfigRefused, match=r"type, and could change memory: take it out if it d"):
        parse({**LLAMA_8B, "my_flag": True})
