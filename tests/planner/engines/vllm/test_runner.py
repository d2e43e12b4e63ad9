"""Which runner starts a model, against the conditions of vLLM's config/vllm by version."""

import pytest

from planner.deployment import Deployment
from planner.engines.vllm.figures import vllm_figures
from planner.engines.vllm.in_flight import overlap_of
from planner.engines.vllm.options import VllmOptions, resolve
from planner.engines.vllm.runner import second_runner
from planner.engines.vllm.versions import rules_of
from planner.estimate import Estimate
from planner.hf_config import parse
from presets.gpus import load_gpu
from presets.models import load_model_config


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [
        ("qwen3-8b", "0.20.2", False),
        ("qwen3-8b", "0.22.1", True),
        ("llama-3.1-8b", "0.22.1", False),
        ("llama-3.1-8b", "0.23.0", True),
        ("qwen2.5-7b", "0.24.0", False),
        ("deepseek-v2-lite", "0.23.0", False),
        ("deepseek-v2-lite", "0.24.0", True),
        ("qwen2.5-7b", "0.25.1", True),
        ("qwen3-30b-a3b", "0.28.0", False),
        ("deepseek-v3", "0.28.0", False),
        ("deepseek-v4-flash", "0.27.1", False),
        ("deepseek-v4-flash", "0.28.0", True),
        ("qwen3.5-27b", "0.28.0", False),
        ("mamba-2.8b-hf", "0.28.0", False),
        ("qwen3.5-27b", "0.29.0", True),
        ("qwen3-30b-a3b", "0.29.0", True),
    ],
)
def test_the_second_runner_takes_over_by_version(name: str, version: str, expected: bool) -> None:
    assert second_runner(parse(load_model_config(name)), rules_of(version)) is expected


def test_what_keeps_a_model_on_the_first_runner() -> None:
    qwen = parse(load_model_config("qwen3-8b"))
    old, later, new = (rules_of(version) for version in ("0.23.0", "0.24.0", "0.33.0"))
    assert not second_runner(qwen, old, quantised=True)
    assert second_runner(qwen, later, quantised=True)
    assert not second_runner(qwen, later, pools=True)
    assert second_runner(qwen, new, pools=True)
    assert not second_runner(qwen, later, wrapper="internvl_chat")
    assert not second_runner(qwen, rules_of("0.31.0"), "ngram")
    assert second_runner(qwen, new, "ngram")
    assert not second_runner(qwen, new, "suffix")


@pytest.mark.parametrize(
    ("method", "stages", "version", "expected"),
    [
        ("dflash", 1, "0.23.0", False),
        ("dflash", 1, "0.24.0", True),
        ("eagle3", 1, "0.29.0", True),
        ("eagle3", 2, "0.29.0", False),
        ("eagle3", 2, "0.30.0", True),
        ("eagle", 2, "0.29.0", True),
    ],
)
def test_drafting_that_the_second_runner_had_not_yet(
    method: str, stages: int, version: str, expected: bool
) -> None:
    """_get_v2_model_runner_unsupported_features of each version."""
    qwen = parse(load_model_config("qwen3-8b"))
    assert second_runner(qwen, rules_of(version), method, stages=stages) is expected


@pytest.mark.parametrize(
    ("wrapper", "version", "nvidia", "amd"),
    [
        ("kimi_k3", "0.27.1", True, False),
        ("kimi_k3", "0.28.0", True, True),
        ("deepseek_v4", "0.28.0", True, False),
        ("deepseek_v4", "0.31.0", True, False),
        ("deepseek_v4", "0.32.0", True, True),
        ("deepseek_v32", "0.28.0", False, False),
        ("deepseek_v32", "0.29.0", True, False),
        ("glm_moe_dsa", "0.29.0", True, True),
        ("glm_moe_dsa", "0.30.0", True, False),
        ("qwen3_moe", "0.30.0", True, True),
        ("inkling_mm_model", "0.25.1", False, False),
        ("inkling_mm_model", "0.26.0", True, True),
        ("longcat_flash_ngram", "0.26.0", True, True),
    ],
)
def test_amds_cards_keep_some_on_the_first(
    wrapper: str, version: str, nvidia: bool, amd: bool
) -> None:
    """DEFAULT_V2_MODEL_RUNNER_ARCHITECTURES less what ROCm leaves out, then
    ROCM_DEFAULT_MRV1_ARCHITECTURES, of each version."""
    experts = parse(load_model_config("qwen3-30b-a3b"))
    found = [
        second_runner(experts, rules_of(version), wrapper=wrapper, amd=on) for on in (False, True)
    ]
    assert found == [nvidia, amd]


@pytest.mark.parametrize(
    ("version", "stages", "expected"),
    [("0.30.0", 2, False), ("0.31.0", 1, False), ("0.31.0", 2, True)],
)
def test_a_pipeline_leaves_amds_default_from_0_31(
    version: str, stages: int, expected: bool
) -> None:
    """0.31.0 keeps to ROCM_DEFAULT_MRV1_ARCHITECTURES only where the first runner can serve the
    configuration, and there it cannot schedule a pipeline ahead; 0.30.0 does not ask."""
    experts = parse(load_model_config("qwen3-30b-a3b"))
    rules = rules_of(version)
    found = second_runner(experts, rules, wrapper="deepseek_v4", stages=stages, amd=True)
    assert found is expected


@pytest.mark.parametrize(
    ("asked", "like"), [("int4", {"quant_method": "awq", "bits": 4, "group_size": 128}),
                        ("fp8", None), ("nf4", None)],
)  # fmt: skip
@pytest.mark.parametrize("version", ["0.22.1", "0.23.0"])
def test_weights_that_only_a_checkpoint_has_start_as_that_checkpoint_does(
    asked: str, like: dict[str, object] | None, version: str
) -> None:
    """is_quantized of 0.22.1 and 0.23.0 is hf_config.quantization_config, which an AWQ checkpoint
    has and a 16-bit one that --quantization fp8 or bitsandbytes rewrites while loading has not."""
    config = dict(load_model_config("qwen3-8b"))
    card, options = load_gpu("h100-sxm5-80gb"), VllmOptions(version=version)

    def activation(found: dict[str, object], weights: str) -> Estimate:
        deployment = Deployment(weights_dtype=weights)
        figures = vllm_figures(parse(found), card, deployment, options, config=found)
        return figures.components["activation"]

    own = config if like is None else {**config, "quantization_config": like}
    assert activation(config, asked) == activation(own, "auto")
    first = activation({**config, "quantization_config": {"quant_method": "fp8"}}, "auto")
    assert (activation(config, asked) == first) is (like is not None)


def test_batches_in_flight_know_the_whole_file_and_the_card() -> None:
    """A decoder within deepseek_vl_v2 is none of the classes that 0.26 names. On AMD's cards 0.31.0
    keeps DeepSeek-V4 on the first runner, which schedules one stage ahead, and moves a pipeline to
    the second, which schedules any ahead (max_concurrent_batches)."""
    lite = parse(load_model_config("deepseek-v2-lite"))
    rules = rules_of("0.26.0")
    assert overlap_of(lite, rules, None, pools=False) == "all"
    assert overlap_of(lite, rules, None, pools=False, wrapper="deepseek_vl_v2") == "first"
    card = load_gpu("mi300x-192gb")
    config = load_model_config("deepseek-v4-flash")
    for version, expected in (("0.30.0", "first"), ("0.31.0", "all")):
        options = VllmOptions(version=version)
        of_amd = resolve(parse(config), card, options, wrapper="deepseek_v4")
        assert of_amd.overlap == expected
