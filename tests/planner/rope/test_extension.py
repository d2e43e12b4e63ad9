"""How far scaled positions take published models, and which are refused."""

import random
from math import log

import pytest

from planner.deployment import Deployment
from planner.errors import ConfigRefused, PlanRefused
from planner.findings import findings
from planner.hf_config import parse
from planner.plan import make_plan
from planner.positions import reach
from planner.rope.extension import extend
from planner.rope.layers import rotary_layers
from planner.rope.published import claims
from planner.rope.words import cannot_extend, lines, remedy
from planner.workload import Workload
from presets.gpus import load_gpu
from presets.models import load_model_config
from tests.planner.models import LLAMA_8B, model, preset


def test_the_parameters_of_vllms_page_on_context_extension() -> None:
    """Its example for Qwen3-0.6B: 32,768 to 131,072 tokens."""
    found = extend(preset("qwen3-0.6b"), 131072, original=32768)
    assert found.rope_parameters == {
        "factor": 4.0, "original_max_position_embeddings": 32768, "rope_theta": 1000000,
        "rope_type": "yarn",
    }  # fmt: skip


def test_the_parameters_that_qwen3_5_is_stretched_with() -> None:
    """As recipes for it have them: sections, theta and the rotated quarter stay."""
    found = extend(preset("qwen3.5-27b"), 524288)
    assert found.rope_parameters == {
        "mrope_interleaved": True, "mrope_section": [11, 11, 10], "rope_type": "yarn",
        "rope_theta": 10000000, "partial_rotary_factor": 0.25, "factor": 2.0,
        "original_max_position_embeddings": 262144,
    }  # fmt: skip
    assert found.layers.width == 64


def test_yarn_of_a_32k_model_to_128k() -> None:
    """Qwen2.5-3B: theta 1e6, 64 pairs. Pair i turns 32,768 / (2 pi 1e6^(i/64)) times; 32 times at
    i = 23.6 and once at i = 39.7: 0 to 23 are kept, 40 to 63 slowed by 4."""
    found = extend(preset("qwen2.5-3b-instruct"), 131072)
    assert (found.factor, found.kept, found.interpolated) == (4.0, 24, 24)
    assert found.after.attention_factor == pytest.approx(0.1 * log(4) + 1)
    assert found.max_position_embeddings == 131072
    assert found.rope_scaling == {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768,
    }  # fmt: skip


def test_windowed_layers_keep_their_own_theta() -> None:
    found = extend(preset("gemma-3-270m"), 131072)
    assert found.rope_parameters["sliding_attention"] == {
        "rope_type": "default", "rope_theta": 10000.0,
    }  # fmt: skip
    assert found.rope_parameters["full_attention"]["rope_theta"] == 1000000.0
    assert found.local is not None
    assert found.local.window == 512
    assert any("distances end at the window" in text for _, text in lines(found))


def test_linear_and_dynamic_leave_scores_alone() -> None:
    linear = extend(preset("qwen3-8b"), 81920, "linear")
    assert set(linear.shares) == {0.5}
    assert linear.rope_scaling == {"rope_type": "linear", "factor": 2.0}
    dynamic = extend(preset("qwen3-8b"), 81920, "dynamic")
    assert dynamic.kept == 1
    # 2 x 2 - 1 = 3: the slowest pair is slowed by 3^(126/128 x 128/126).
    assert dynamic.shares[-1] == pytest.approx(1 / 3)
    assert dynamic.after.attention_factor == linear.after.attention_factor == 1.0
    assert linear.max_position_embeddings is None


@pytest.mark.parametrize("seed", range(20))
def test_a_factor_never_falls_short_of_the_context(seed: int) -> None:
    """Engines take int(original x factor) as the new length."""
    rng = random.Random(seed)
    original = rng.randrange(1000, 300_000)
    config = {**LLAMA_8B, "max_position_embeddings": original}
    for _ in range(50):
        context = rng.randrange(original + 1, 40 * original)
        assert int(original * extend(parse(config), context).factor) == context


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("opt-6.7b", "learned a table of 2,048 positions"),
        ("gpt2-medium", "learned a table of 1,024 positions"),
        ("bloom-7b1", "biases attention by distance"),
        ("mamba-2.8b-hf", "encodes no positions"),
        ("jamba-v0.1", "encodes no positions"),
        ("nvidia-nemotron-nano-9b-v2", "encodes no positions"),
        ("llama-3.1-8b", r"scaled already \(llama3\)"),
        ("deepseek-v3", r"scaled already \(yarn\)"),
        ("phi-4-mini-instruct", r"scaled already \(longrope\)"),
        ("gemma-3-27b-it", r"scaled already \(linear\)"),
        ("mistral-7b-v0.1", "a window of at most 4,096 tokens"),
        ("falcon-7b", "states no length"),
        ("chatglm3-6b", "rope_theta is not in the configuration"),
    ],
)
def test_models_that_cannot_or_need_not_be_stretched(name: str, why: str) -> None:
    found = preset(name)
    with pytest.raises(PlanRefused, match=why):
        extend(found, 4 * (found.max_position_embeddings or 8192))


@pytest.mark.parametrize(
    ("context", "method", "original", "why"),
    [
        (40960, "yarn", None, "within the 40,960"),
        (131072, "longrope", None, "a search on the model itself"),
        (131072, "magic", None, "choose yarn, linear, dynamic"),
        (131072, "yarn", 50000, "not within the 40,960"),
        (131072, "yarn", -1, "not within the 40,960"),
    ],
)
def test_inputs_that_contradict_each_other(
    context: int, method: str, original: int | None, why: str
) -> None:
    with pytest.raises(PlanRefused, match=why):
        extend(preset("qwen3-8b"), context, method, original=original)


def test_positions_only_in_windows_need_no_scaling() -> None:
    """Cohere2 encodes none in layers that see everything."""
    config = {
        "model_type": "cohere2", "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 8, "num_attention_heads": 32, "num_key_value_heads": 8,
        "vocab_size": 256000, "max_position_embeddings": 8192, "rope_theta": 50000,
        "sliding_window": 4096, "sliding_window_pattern": 4, "layer_norm_eps": 1e-5,
        "torch_dtype": "bfloat16",
    }  # fmt: skip
    with pytest.raises(PlanRefused, match="only the model's windowed layers turn"):
        extend(parse(config), 131072)


@pytest.mark.parametrize(
    ("fields", "width", "partial"),
    [
        ({"partial_rotary_factor": 0.5}, 64, 0.5),
        ({"rotary_dim": 32}, 32, 0.25),
        ({"rope_parameters": {"partial_rotary_factor": 0.75, "rope_theta": 1e4}}, 96, 0.75),
        ({}, 128, None),
    ],
)
def test_a_part_of_a_head_is_turned(
    fields: dict[str, object], width: int, partial: float | None
) -> None:
    whole = rotary_layers(model(LLAMA_8B, **fields))[0]
    assert (whole.width, whole.rope.get("partial_rotary_factor")) == (width, partial)


def test_the_class_says_what_the_file_leaves_out() -> None:
    """transformers' class attributes: Llama 10,000, SmolLM3 2,000,000, GLM-4 half a head."""
    assert preset("llama-2-7b-hf").rope == {"rope_theta": 10000.0}
    smol = {**load_model_config("smollm3-3b")}
    del smol["rope_theta"]
    assert (parse(smol).rope or {})["rope_theta"] == 2e6
    glm = {**load_model_config("glm-4-9b-chat-hf")}
    del glm["partial_rotary_factor"]
    assert rotary_layers(parse(glm))[0].width == 64


def test_a_part_of_a_head_beyond_all_of_it_is_refused() -> None:
    with pytest.raises(ConfigRefused, match=r"partial_rotary_factor: 1\.5 is not a number above 0"):
        model(LLAMA_8B, partial_rotary_factor=1.5)


def test_what_is_beyond_the_published_factors_is_labelled() -> None:
    within, claimed, outside = (
        claims(extend(preset("llama-2-7b-hf"), 4096 * factor)) for factor in (4, 16, 64)
    )
    assert within[0].startswith("The sources claim 2 to 4 times")
    assert claimed[0] == "Beyond the sources' claim: 16 times is more than their 4."
    assert outside[0] == "Outside what was published: 64 times is more than the 32 shown for YaRN."


def test_a_plan_beyond_its_positions_is_told_the_remedy() -> None:
    gpu = load_gpu("h200-sxm-141gb")

    def said(name: str, context: int) -> str:
        plan = make_plan(preset(name), gpu, Deployment(), Workload(context=context))
        return {f.code: f.message for f in findings(plan)}["beyond_stated_context"]

    assert "Stretched 3.2 times by YaRN its positions reach 131,072" in said("qwen3-8b", 131072)
    assert "scaled already (llama3)" in said("llama-3.1-8b", 262144)
    assert said("opt-6.7b", 4096).endswith("there is none beyond its end.")


def test_no_model_is_told_to_stretch_what_it_cannot() -> None:
    """The remedy and the parameters are one decision."""
    for name in ("qwen3-8b", "mistral-7b-v0.1", "gemma-2-9b", "jamba-v0.1", "glm-4.5-air"):
        found = preset(name)
        wanted = 2 * (reach(found).supported_tokens or 8192)
        why = cannot_extend(found, wanted)
        if not why:
            assert extend(found, wanted).factor == 2
        assert remedy(found, wanted).startswith(f"{why[:1].upper()}{why[1:]}" or "Stretched 2 t")
