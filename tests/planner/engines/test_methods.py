"""Which engine loads what, by the registries of vLLM 0.33.0 and SGLang 0.5.23."""

from typing import Any

import pytest

from planner.deployment import Deployment
from planner.engines.methods import not_loaded
from planner.engines.platforms import check_runs
from planner.errors import PlanRefused
from planner.formats.quantization import assign
from presets.gpus import load_gpu
from tests.planner.models import DEEPSEEK_V3, LLAMA_8B, model

H100, A100, B200 = (
    load_gpu(name) for name in ("h100-sxm5-80gb", "a100-sxm4-80gb", "b200-sxm-180gb")
)
ENGINES = ("vllm", "sglang", "tensorrt-llm", "transformers")


def torchao(kind: str, version: int = 2, **rest: Any) -> dict[str, Any]:
    typed = {"_type": f"{kind}Config", "_version": version, "_data": {}}
    return {"quant_method": "torchao", "quant_type": {"default": typed}, **rest}


FLOAT8 = torchao("Float8DynamicActivationFloat8Weight")
FP_QUANT = {"quant_method": "fp_quant", "forward_dtype": "mxfp4"}


def loaded(config: dict[str, Any], gpu: Any = H100) -> list[str]:
    assignment = assign(model(LLAMA_8B, quantization_config=config), "auto")
    return [name for name in ENGINES if not_loaded(name, assignment, gpu) is None]


@pytest.mark.parametrize(
    ("config", "gpu", "engines"),
    [
        (torchao("Int8WeightOnly"), A100, ["vllm", "transformers"]),
        (torchao("Int8WeightOnly", 1), A100, []),
        ({"quant_method": "torchao", "quant_type": "int4_weight_only"}, H100, []),
        (torchao("Int8WeightOnly", modules_to_not_convert=[]), H100, ["transformers"]),
        (FLOAT8, H100, ["vllm", "transformers"]),
        (FLOAT8, A100, []),
        (FP_QUANT, H100, []),
        (FP_QUANT, B200, ["vllm", "transformers"]),
        ({"quant_method": "eetq"}, H100, ["transformers"]),
        ({"quant_method": "bitnet"}, H100, ["transformers"]),
        ({"quant_method": "aqlm", "linear_weights_not_to_quantize": ["lm_head"]}, H100,
         ["transformers"]),
        ({"quant_method": "gptq", "bits": 4}, H100, list(ENGINES)),
    ],
)  # fmt: skip
def test_who_loads_it(config: dict[str, Any], gpu: Any, engines: list[str]) -> None:
    assert loaded(config, gpu) == engines


def test_experts_of_torchao_are_not_vllms() -> None:
    found = assign(model(DEEPSEEK_V3, quantization_config=torchao("Int8WeightOnly")), "auto")
    assert "experts" in (not_loaded("vllm", found, H100) or "")
    assert not_loaded("transformers", found, H100) is None


def test_a_format_asked_for_by_name_is_not_the_checkpoints() -> None:
    checkpoint = model(LLAMA_8B, quantization_config={"quant_method": "eetq"})
    check_runs("vllm", checkpoint, H100, Deployment(weights_dtype="fp8"))
    with pytest.raises(PlanRefused, match="vLLM loads no eetq checkpoints"):
        check_runs("vllm", checkpoint, H100, Deployment())
