"""A KV cache format that the checkpoint asks for is what "auto" means."""

from typing import Any

import pytest

from planner.deployment import Deployment
from planner.engines.registry import ENGINES
from planner.errors import ConfigRefused
from planner.hf_config import parse
from planner.plan import make_plan
from planner.workload import Workload
from presets.gpus import load_gpu
from tests.planner.models import LLAMA_8B

FP8 = {"num_bits": 8, "type": "float", "strategy": "tensor", "dynamic": False}
MODELOPT = {"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}
COMPRESSED = {
    "quant_method": "compressed-tensors", "format": "float-quantized", "kv_cache_scheme": FP8,
    "config_groups": {"group_0": {"targets": ["Linear"], "weights": FP8}}, "ignore": ["lm_head"],
}  # fmt: skip


def asked(quantization: dict[str, Any]) -> Any:
    return parse({**LLAMA_8B, "quantization_config": quantization})


@pytest.mark.parametrize(
    "quantization",
    [
        MODELOPT,
        {"producer": {"name": "modelopt"}, "quantization": MODELOPT},
        {"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_scheme": FP8},
        {"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_scheme": "FP8"},
        COMPRESSED,
    ],
)
def test_auto_is_what_the_checkpoint_asks_for(quantization: dict[str, Any]) -> None:
    model, gpu = asked(quantization), load_gpu("h100-sxm5-80gb")
    found = make_plan(model, gpu, Deployment(), Workload(context=8192))
    assert found.kv_bytes_per_token == 32 * 8 * (128 + 128)
    assert any("asks for an fp8 KV cache" in note for note in model.notes)
    overridden = make_plan(model, gpu, Deployment(kv_cache_dtype="bf16"), Workload(context=8192))
    assert overridden.kv_bytes_per_token == 2 * found.kv_bytes_per_token


@pytest.mark.parametrize("name", ["vllm", "sglang", "tensorrt-llm"])
def test_engines_keep_the_cache_that_the_checkpoint_asks_for(name: str) -> None:
    engine, gpu, model = ENGINES[name], load_gpu("h100-sxm5-80gb"), asked(MODELOPT)

    def tokens(cache: str) -> int:
        deployment = Deployment(kv_cache_dtype=cache)
        found = engine.figures(model, gpu, deployment, engine.options(), Workload(context=8192))
        return found.kv_cache_tokens

    assert tokens("auto") == tokens("fp8")
    assert tokens("auto") == pytest.approx(2 * tokens("bf16"), rel=1e-3)


def test_a_command_that_overrides_the_checkpoint_says_so() -> None:
    engine, gpu, model = ENGINES["vllm"], load_gpu("h100-sxm5-80gb"), asked(MODELOPT)
    for cache, flag in (("auto", ""), ("fp8", ""), ("bf16", "--kv-cache-dtype bfloat16")):
        deployment = Deployment(kv_cache_dtype=cache)
        found = engine.figures(model, gpu, deployment, engine.options(), Workload(context=8192))
        assert ("--kv-cache-dtype" in found.command) == bool(flag)
        assert flag in found.command


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kv_cache_quant_algo": "INT3"}, "kv_cache_quant_algo"),
        ({"kv_cache_scheme": {"num_bits": 4, "type": "int"}}, "kv_cache_scheme"),
        ({"kv_cache_scheme": "int3"}, "kv_cache_scheme"),
    ],
)
def test_a_cache_that_is_not_known_is_refused(change: dict[str, Any], field: str) -> None:
    quantization = {"quant_method": "modelopt", "quant_algo": "FP8", **change}
    with pytest.raises(ConfigRefused, match=f"quantization_config.{field}"):
        asked(quantization)


def test_none_asked_for_is_the_model_s_own() -> None:
    for change in ({}, {"kv_cache_quant_algo": None}, {"kv_cache_scheme": None}):
        model = asked({"quant_method": "modelopt", "quant_algo": "FP8", **change})
        assert model.own_cache == "bfloat16"


def test_four_bit_floats_are_nvfp4_to_modelopt_alone() -> None:
    """vLLM's get_kv_cache_quant_algo_string; compressed-tensors has only caches of 8 bits."""
    four = {"num_bits": 4, "type": "float", "dynamic": False}
    assert asked({**MODELOPT, "kv_cache_quant_algo": None, "kv_cache_scheme": four}).own_cache == (
        "nvfp4"
    )
    with pytest.raises(ConfigRefused, match="kv_cache_scheme"):
        asked({**COMPRESSED, "kv_cache_scheme": four})
