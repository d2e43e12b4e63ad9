"""Which engine loads what, by the registries of vLLM 0.33.0 and SGLang 0.5.23."""

from typing import Any

import pytest

from planner.deployment import Deployment
from planner.engines.methods import not_loaded
from planner.engines.platforms import check_runs
from planner.engines.vllm.figures import vllm_figures
from planner.engines.vllm.options import VllmOptions
from planner.errors import PlanRefused
from planner.formats.quantization import assign
from presets.gpus import load_gpu
from tests.planner.models import DEEPSEEK_V3, LLAMA_8B, model

H100, A100, B200, MI300X = (
    load_gpu(name)
    for name in ("h100-sxm5-80gb", "a100-sxm4-80gb", "b200-sxm-180gb", "instinct-mi300x")
)
ENGINES = ("vllm", "sglang", "tensorrt-llm", "transformers")


def torchao(kind: str, version: int = 2, kept: Any = None, **data: Any) -> dict[str, Any]:
    typed = {"_type": f"{kind}Config", "_version": version, "_data": data}
    wrapped = {"quant_method": "torchao", "quant_type": {"default": typed}}
    return {**wrapped, "modules_to_not_convert": kept}


FLOAT8 = torchao("Float8DynamicActivationFloat8Weight")
FP_QUANT = {"quant_method": "fp_quant", "forward_dtype": "mxfp4"}

TABLES = {
    "vector_lens": [-1, 8], "num_centroids": [-1, 65536], "num_res_centroids": [-1, -1],
    "group_num": 1, "group_size": 4096,
}  # fmt: skip
VPTQ = {
    "quant_method": "vptq", "config_for_layers": {"model.layers.0.self_attn.q_proj": TABLES}
}  # fmt: skip


def loaded(config: dict[str, Any], gpu: Any = H100) -> list[str]:
    assignment = assign(model(LLAMA_8B, quantization_config=config), "auto")
    return [name for name in ENGINES if not_loaded(name, assignment, gpu) is None]


@pytest.mark.parametrize(
    ("config", "gpu", "engines"),
    [
        (torchao("Int8WeightOnly"), A100, ["vllm", "transformers"]),
        (torchao("Int8WeightOnly", 1), A100, []),
        (torchao("Int4WeightOnly"), A100, []),
        (torchao("Int4WeightOnly"), MI300X, []),
        (torchao("Int4WeightOnly", int4_packing_format="tile_packed_to_4d",
                 int4_tile_packed_ntile=16), MI300X, ["vllm", "transformers"]),
        (torchao("Int4WeightOnly"), H100, ["vllm", "transformers"]),
        (torchao("Int4WeightOnly", int4_packing_format="tile_packed_to_4d"), A100,
         ["vllm", "transformers"]),
        ({"quant_method": "torchao", "quant_type": "int4_weight_only"}, H100, []),
        (torchao("Int8WeightOnly", kept=[]), H100, ["transformers"]),
        (FLOAT8, H100, ["vllm", "transformers"]),
        (FLOAT8, A100, []),
        (FLOAT8, MI300X, ["vllm", "transformers"]),
        (FP_QUANT, MI300X, []),
        (FP_QUANT, H100, []),
        (FP_QUANT, B200, ["vllm", "transformers"]),
        ({"quant_method": "eetq"}, H100, ["transformers"]),
        ({"quant_method": "bitnet"}, H100, ["transformers"]),
        (VPTQ, H100, ["transformers"]),
        ({"bits": 4, "group_size": 64}, H100, []),
        ({"quant_method": "gptq", "bits": 4}, H100, list(ENGINES)),
    ],
)  # fmt: skip
def test_who_loads_it(config: dict[str, Any], gpu: Any, engines: list[str]) -> None:
    assert loaded(config, gpu) == engines


@pytest.mark.parametrize(
    ("config", "engine", "said"),
    [
        (torchao("Int8WeightOnly", 1), "vllm", "vLLM no longer loads torchao v1 checkpoints"),
        (torchao("Int8WeightOnly", 1), "sglang", "SGLang loads no torchao v1 checkpoints"),
        ({"bits": 4, "group_size": 64}, "vllm", "vLLM loads no mlx checkpoints"),
    ],
)
def test_only_what_once_loaded_is_lost(config: dict[str, Any], engine: str, said: str) -> None:
    assignment = assign(model(LLAMA_8B, quantization_config=config), "auto")
    assert not_loaded(engine, assignment, H100) == said


def test_experts_of_torchao_are_not_vllms() -> None:
    found = assign(model(DEEPSEEK_V3, quantization_config=torchao("Int8WeightOnly")), "auto")
    assert "experts" in (not_loaded("vllm", found, H100) or "")
    assert not_loaded("transformers", found, H100) is None


@pytest.mark.parametrize(
    ("method", "loads", "does_not"),
    [("aqlm", "0.8.5", "0.11.0"), ("hqq", "0.11.0", "0.15.1"), ("fp_quant", "0.15.1", "0.11.0"),
     ("fp_quant", "0.13.0", "0.11.0"), ("mxfp8", "0.24.0", "0.22.1")],
)  # fmt: skip
def test_versions_of_vllm(method: str, loads: str, does_not: str) -> None:
    """By the registries of vLLM 0.8.5, 0.11.0, 0.15.1 and 0.24.0, vllm#30136 and vllm#45568."""
    params = {"weight_quant_params": {"nbits": 4, "group_size": 64}}
    config = {"quant_method": method, "quant_config": params}
    config |= {"linear_weights_not_to_quantize": ["lm_head"]} if method == "aqlm" else {}
    checkpoint = model(LLAMA_8B, quantization_config=config)
    figures = vllm_figures(checkpoint, B200, Deployment(), VllmOptions(version=loads))
    assert figures.refused is None
    with pytest.raises(PlanRefused, match=f"quant_method {method}: vLLM {does_not}"):
        vllm_figures(checkpoint, B200, Deployment(), VllmOptions(version=does_not))


def test_vllm_takes_torchao_from_its_own_package() -> None:
    """`pip install torchao`, as vLLM 0.33.0's TorchAOConfig says where it is missing."""
    checkpoint = model(LLAMA_8B, quantization_config=torchao("Int8WeightOnly"))
    found = vllm_figures(checkpoint, H100, Deployment(), VllmOptions())
    assert any("install torchao beside it" in note for note in found.notes)


def test_a_format_asked_for_by_name_is_not_the_checkpoints() -> None:
    checkpoint = model(LLAMA_8B, quantization_config={"quant_method": "eetq"})
    check_runs("vllm", checkpoint, H100, Deployment(weights_dtype="fp8"))
    with pytest.raises(PlanRefused, match="vLLM loads no eetq checkpoints"):
        check_runs("vllm", checkpoint, H100, Deployment())
