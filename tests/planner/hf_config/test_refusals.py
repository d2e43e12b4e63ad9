"""Broken and hostile configurations: one clear sentence each, and never anything else."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import ConfigRefused
from planner.hf_config import parse
from planner.hf_config.document import MAX_BYTES, read_document
from planner.parameters import count
from presets.models import load_model_config
from tests.planner.hf_config.counts import cases

CONFIGS: list[dict[str, Any]] = [
    case["config"] for name in ("dense", "sparse") for case in cases(name)
]
LLAMA = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "vocab_size": 128256,
}  # fmt: skip
ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-(2**70), max_value=2**70),
    st.sampled_from([0, 1, -1, 2**31, 2**63, 10**400, 3.5, -0.0, 1e308, math.nan, math.inf]),
    st.sampled_from(
        ["", "0", "12", "full_attention", "bfloat16", "llama", "NaN", "\x00", "é" * 99]
    ),
    st.lists(st.one_of(st.integers(-5, 9), st.text(max_size=3), st.none()), max_size=5),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
    st.just([[["global"], 10**9]]),
    st.just({"attention": {"no_op": 3}}),
)


def sized_or_refused(config: Any) -> None:
    """Whatever stands in a configuration: parsing counts it, or refuses it in one line."""
    try:
        model = parse(config)
    except ConfigRefused as refused:
        message = str(refused)
        assert message
        assert "\n" not in message
        assert len(message) < 400
    else:
        assert count(model).total > 0


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(CONFIGS), st.data())
def test_changed_fields_never_raise_anything_else(
    config: dict[str, Any], data: st.DataObject
) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(config)), min_size=1, max_size=3))
    changed = {**config, **{name: data.draw(ODD) for name in names}}
    if data.draw(st.booleans()):
        nested = next((n for n, value in config.items() if n == "text_config" and value), None)
        if nested is not None:
            name = data.draw(st.sampled_from(sorted(config[nested])))
            changed[nested] = {**config[nested], name: data.draw(ODD)}
    sized_or_refused(changed)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(CONFIGS), st.data())
def test_missing_and_added_fields_never_raise_anything_else(
    config: dict[str, Any], data: st.DataObject
) -> None:
    dropped = data.draw(st.sets(st.sampled_from(sorted(config)), max_size=3))
    kept = {name: value for name, value in config.items() if name not in dropped}
    other = data.draw(st.sampled_from(CONFIGS))
    name = data.draw(st.sampled_from(sorted(other)))
    sized_or_refused({**kept, name: data.draw(st.one_of(ODD, st.just(other[name])))})


@settings(max_examples=100, deadline=None)
@given(st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
                    lambda inner: st.one_of(st.lists(inner, max_size=3),
                                            st.dictionaries(st.text(max_size=9), inner)),
                    max_leaves=20))  # fmt: skip
def test_any_json_is_sized_or_refused(value: Any) -> None:
    sized_or_refused(value)


@pytest.mark.parametrize(
    "name",
    [name for name in LLAMA if name not in ("model_type", "num_key_value_heads")],
)
def test_a_missing_size_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigRefused, match=f"{name} is missing"):
        parse({key: value for key, value in LLAMA.items() if key != name})


@pytest.mark.parametrize(
    "value",
    [0, -1, -4096, 2**31, 10**30, "4096", True, False, 4096.5, math.nan, math.inf, -math.inf,
     [4096], {"value": 4096}],
)  # fmt: skip
@pytest.mark.parametrize(
    "name",
    ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "intermediate_size",
     "head_dim"],
)  # fmt: skip
def test_a_size_that_is_none_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigRefused, match=name):
        parse({**LLAMA, name: value})


@pytest.mark.parametrize(
    ("model_type", "change", "field"),
    [
        ("qwen2_vl_text", {"head_dim": 64}, "head_dim"),
        ("qwen2_5_vl_text", {"head_dim": 64}, "head_dim"),
        ("glm4v_text", {"head_dim": 64}, "head_dim"),
        ("glm4v_text", {"attention_bias": False}, "attention_bias"),
    ],
)
def test_fields_that_the_class_does_not_read_may_only_agree(
    model_type: str, change: dict[str, Any], field: str
) -> None:
    """transformers' classes divide, and always have the biases; 4096 / 32 is 128."""
    config = {**LLAMA, "model_type": model_type, "head_dim": 128}
    assert count(parse(config)).total > 0
    with pytest.raises(ConfigRefused, match=field):
        parse({**config, **change})


GPT = {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 320, "n_positions": 32}
BLOOM = {"hidden_size": 64, "n_layer": 2, "n_head": 4, "vocab_size": 320}
MPT = {"d_model": 64, "n_layers": 2, "n_heads": 4, "vocab_size": 320}


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"model_type": "gpt2", **GPT}, "intermediate_size"),
        ({"model_type": "gptj", **GPT}, "intermediate_size"),
        ({"model_type": "gpt_bigcode", **GPT}, "intermediate_size"),
        ({"model_type": "bloom", **BLOOM}, "n_inner"),
        ({"model_type": "mpt", **MPT}, "intermediate_size"),
    ],
)
def test_a_width_that_the_class_does_not_read_may_only_agree(
    config: dict[str, Any], name: str
) -> None:
    """transformers' classes have four hidden sizes inside, GPT-2's another only as n_inner."""
    assert parse({**config, name: 256}).groups == parse(config).groups
    with pytest.raises(ConfigRefused, match=f"{name}: 100 is not 256"):
        parse({**config, name: 100})


def test_another_name_of_rotary_widths_may_only_agree() -> None:
    """To GLM-4.7-Flash's class, head_dim is qk_rope_head_dim."""
    latent = {
        "model_type": "glm4_moe_lite", "hidden_size": 64, "intermediate_size": 96,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4,
        "vocab_size": 320, "kv_lora_rank": 32, "q_lora_rank": 24, "qk_nope_head_dim": 16,
        "qk_rope_head_dim": 8, "v_head_dim": 12, "n_routed_experts": 8, "num_experts_per_tok": 2,
        "moe_intermediate_size": 24,
    }  # fmt: skip
    assert parse({**latent, "head_dim": 8}).groups == parse(latent).groups
    with pytest.raises(ConfigRefused, match="head_dim: 64 contradicts qk_rope_head_dim"):
        parse({**latent, "head_dim": 64})


def test_more_layers_than_any_model_has_are_refused_at_once() -> None:
    with pytest.raises(ConfigRefused, match="num_hidden_layers"):
        parse({**LLAMA, "num_hidden_layers": 2**31 - 1})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"num_key_value_heads": 5}, "num_key_value_heads"),
        ({"num_key_value_heads": 64}, "num_key_value_heads"),
        ({"hidden_size": 4097}, "num_attention_heads"),
        ({"layer_types": ["full_attention"] * 31}, "layer_types"),
        ({"layer_types": ["full_attention"] * 31 + ["banana"]}, "layer_types"),
        ({"layer_types": "full_attention"}, "layer_types"),
        ({"sliding_window": 4096}, "sliding_window"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": "four"}}, "factor"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": [4]}}, "factor"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": -3}}, "factor"),
        ({"rope_scaling": {"rope_type": "linear", "factor": math.nan}}, "factor"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 1e308}}, "factor"),
        ({"rope_scaling": {"rope_type": "foo", "factor": 2}}, "rope_type"),
        ({"rope_scaling": {"type": 7, "factor": 2}}, "type"),
        (
            {"rope_scaling": {"rope_type": "yarn", "original_max_position_embeddings": "8192"}},
            "original_max_position_embeddings",
        ),
        ({"rope_theta": "abc"}, "rope_theta"),
        ({"architectures": ["LlamaForRewardModel"]}, "architectures"),
        ({"attention_bias": "yes"}, "attention_bias"),
        ({"attention_bias": 1}, "attention_bias"),
        ({"tie_word_embeddings": "true"}, "tie_word_embeddings"),
        ({"torch_dtype": "banana"}, "torch_dtype"),
        ({"quantization_config": "int4"}, "quantization_config"),
        ({"kv_lora_rank": 512}, "kv_lora_rank"),
        ({"num_experts": 8}, "num_experts"),
        ({"is_encoder_decoder": True}, "is_encoder_decoder"),
        ({"add_cross_attention": True}, "add_cross_attention"),
        ({"pruned_heads": {"1": [0]}}, "pruned_heads"),
        ({"hidden_act": "xielu"}, "hidden_act"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "architectures"),
        ({"model_type": "banana"}, "model_type"),
        ({"model_type": ["llama"]}, "model_type"),
        ({"model_type": None}, "model_type"),
    ],
)
def test_a_contradiction_names_its_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigRefused, match=field) as refused:
        parse({**LLAMA, **change})
    assert refused.value.field == field


@pytest.mark.parametrize("model_type", ["t5", "bart", "whisper", "t5gemma", "pegasus"])
def test_encoder_decoders_are_refused_with_the_reason(model_type: str) -> None:
    with pytest.raises(ConfigRefused, match="encoder-decoder"):
        parse({**LLAMA, "model_type": model_type})


@pytest.mark.parametrize("model_type", ["bert", "roberta", "modernbert"])
def test_encoders_are_refused_with_the_reason(model_type: str) -> None:
    with pytest.raises(ConfigRefused, match="generates no text"):
        parse({**LLAMA, "model_type": model_type})


@pytest.mark.parametrize("field", ["engram_layer_ids", "kv_source_layer_ids"])
def test_deepseek_v4_1_is_refused_with_the_reason(field: str) -> None:
    with pytest.raises(ConfigRefused, match=field):
        parse({"model_type": "deepseek_v41", "text_config": {"model_type": "deepseek_v41_text"}})


@pytest.mark.parametrize(
    ("model_type", "reason"),
    [
        ("llada", "masked"), ("llada2_moe", "masked"), ("Dream", "masked"),
        ("ouro", "total_ut_steps"), ("dory", "n_recurrent_loops"),
    ],
)  # fmt: skip
def test_models_that_do_not_pass_once_a_token_are_refused_with_the_reason(
    model_type: str, reason: str
) -> None:
    with pytest.raises(ConfigRefused, match=reason) as refused:
        parse({**LLAMA, "model_type": model_type})
    assert refused.value.field == "model_type"


def test_a_decoder_saved_without_a_head_has_none() -> None:
    whole, bare = (
        count(parse({**LLAMA, "tie_word_embeddings": False, "architectures": [name]})).total
        for name in ("LlamaForCausalLM", "LlamaModel")
    )
    assert whole - bare == LLAMA["vocab_size"] * LLAMA["hidden_size"]


def test_a_window_that_is_off_may_be_saved_as_nought() -> None:
    off = {"use_sliding_window": False, "sliding_window": 0}
    config = {**load_model_config("qwen2.5-7b"), **off}
    assert parse(config).groups == parse({**config, "sliding_window": None}).groups
    with pytest.raises(ConfigRefused, match="sliding_window"):
        parse({**config, "use_sliding_window": True})


def test_drafting_layers_are_not_guessed() -> None:
    """vLLM builds ERNIE's of a dense layer, which no field says; Nemotron's pattern is checked."""
    ernie = next(c for c in CONFIGS if c["model_type"] == "ernie4_5_moe")
    ernie = {**ernie, "num_nextn_predict_layers": 1}
    assert count(parse(ernie)).mtp == 0
    assert any("are not counted" in note for note in parse(ernie).notes)
    nemotron = load_model_config("nemotron-3-super-120b-a12b")
    assert any("only the last is counted" in note for note in parse(nemotron).notes)
    with pytest.raises(ConfigRefused, match="mtp_hybrid_override_pattern"):
        parse({**nemotron, "mtp_hybrid_override_pattern": "??zz"})


def test_what_stands_beside_a_nested_model_is_not_swallowed() -> None:
    text = {"text_config": LLAMA, "model_type": "llava", "vision_config": {"hidden_size": 1024}}
    assert parse(text).parameters_elsewhere == ("vision_config",)
    with pytest.raises(ConfigRefused, match="num_memory_tokens"):
        parse({**text, "num_memory_tokens": 4})


def test_llavas_own_false_gives_way_to_the_text_models_ties() -> None:
    """llava-onevision-0.5b: transformers 5.24's class makes 893,675,552 parameters of these."""
    text = {
        "model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864, "vocab_size": 152000,
        "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    }  # fmt: skip
    vision = {
        "model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304,
        "num_hidden_layers": 26, "num_attention_heads": 16, "patch_size": 14, "image_size": 384,
        "vision_use_head": False,
    }  # fmt: skip
    config = {"model_type": "llava_onevision", "text_config": text, "vision_config": vision}
    found = count(parse({**config, "tie_word_embeddings": False}))
    assert found.total + found.towers == 893_675_552


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "null", "12", '"llama"', "{", '{"model_type": "llama"', "{'model_type': 'llama'}",
        "[" * 5000 + "]" * 5000,
        '{"a":' * 5000 + "1" + "}" * 5000,
        '{"hidden_size": 1' + "0" * 5000 + "}",
        " " * (MAX_BYTES + 1),
        json.dumps({**LLAMA, "padding": "x" * 10_000_000}),
        b"\xff\xfe\x00\x01",
    ],
    ids=lambda text: repr(text[:20]),
)  # fmt: skip
def test_a_broken_file_is_refused(text: str | bytes) -> None:
    with pytest.raises(ConfigRefused) as refused:
        parse(read_document(text))
    assert len(str(refused.value)) < 300


def test_a_deep_object_is_refused_without_recursion() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = {"text_config": deep}
    with pytest.raises(ConfigRefused, match="nested too deeply"):
        parse(deep)
    with pytest.raises(ConfigRefused, match="nested too deeply"):
        parse({**LLAMA, "rope_scaling": deep})


def test_numbers_that_json_cannot_hold_are_refused() -> None:
    written = json.dumps(LLAMA).replace("4096", "NaN")
    with pytest.raises(ConfigRefused, match="hidden_size"):
        parse(read_document(written))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_position_embeddings", "abc"),
        ("max_position_embeddings", -1),
        ("max_position_embeddings", 0),
        ("max_position_embeddings", True),
        ("max_position_embeddings", 10**15),
        ("rope_scaling", "yes"),
        ("torch_dtype", 0),
        ("torch_dtype", "float13"),
        ("torch_dtype", ["bfloat16"]),
    ],
)
def test_values_that_mean_nothing_are_refused(field: str, value: object) -> None:
    with pytest.raises(ConfigRefused, match=field):
        parse({**LLAMA, field: value})


def test_a_field_given_twice_is_refused() -> None:
    with pytest.raises(ConfigRefused, match="hidden_size is given twice"):
        read_document('{"hidden_size": 1, "hidden_size": 2}')


def test_a_number_too_large_says_the_limit() -> None:
    with pytest.raises(ConfigRefused, match="from 1 to 2,147,483,647"):
        parse({**LLAMA, "hidden_size": 10**15})


def test_half_of_a_character_is_refused() -> None:
    """Neither a page nor JSON could show it again."""
    with pytest.raises(ConfigRefused, match="half of a character"):
        read_document('{"model_type": "\\ud800"}')
