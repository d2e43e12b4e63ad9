"""In which numbers matrices are multiplied, by what their checkpoint does with the inputs."""

from typing import Any

import pytest

from planner.deployment import Deployment
from planner.formats.quantization import assign
from planner.hf_config import parse
from planner.timing.matrices import held_by_rank
from presets.models import load_model_config
from tests.planner.models import LLAMA_8B, model

INT8 = {"num_bits": 8, "type": "int", "strategy": "channel"}
FP8 = {"num_bits": 8, "type": "float", "strategy": "channel"}
FP4 = {"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16}
ROWS = {"num_bits": 8, "dynamic": True, "strategy": "token"}


def compressed(weights: dict[str, Any], inputs: Any = None) -> dict[str, Any]:
    group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs}
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": group}}


def torchao(kind: str, version: int = 2) -> dict[str, Any]:
    typed = {"_type": f"{kind}Config", "_version": version, "_data": {}}
    return {"quant_method": "torchao", "quant_type": {"default": typed}}


@pytest.mark.parametrize(
    ("config", "numbers"),
    [
        ({"quant_method": "gptq", "bits": 8, "group_size": 128}, ""),
        ({"quant_method": "auto-round", "bits": 8, "group_size": 128}, ""),
        ({"quant_method": "quanto", "weights": "int8"}, ""),
        ({"quant_method": "eetq"}, ""),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "int8"),
        ({"quant_method": "fp8"}, "fp8"),
        ({"quant_method": "fp_quant"}, "fp4"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "fp4"),
        ({"quant_method": "modelopt", "quant_algo": "W4A16_NVFP4"}, ""),
        ({"quant_method": "modelopt", "quant_algo": "W4A8_MXFP4_FP8"}, "fp8"),
        (compressed(INT8), ""),
        (compressed(INT8, ROWS), "int8"),
        (compressed(FP8), ""),
        (compressed(FP8, ROWS), "fp8"),
        (compressed(FP4), ""),
        (torchao("Int8WeightOnly"), ""),
        (torchao("Int8DynamicActivationInt8Weight"), "int8"),
        (torchao("Float8WeightOnly"), ""),
        (torchao("Float8DynamicActivationFloat8Weight"), "fp8"),
        (torchao("MXDynamicActivationMXWeight", 1), "fp8"),
        (torchao("NVFP4WeightOnly", 1), ""),
        (torchao("NVFP4DynamicActivationNVFP4Weight", 1), "fp4"),
    ],
)
def test_weights_alone_are_multiplied_in_16_bits(config: dict[str, Any], numbers: str) -> None:
    """By whether the checkpoint's library quantises inputs too: W8A16 and the like do not."""
    stored = assign(model(LLAMA_8B, quantization_config=config), "auto").layers[0].weights
    up = [(weight, fmt) for weight, fmt in stored if weight.name == "up_proj"]
    assert held_by_rank(up, Deployment()).numbers == numbers


def test_experts_in_four_bits() -> None:
    """vLLM multiplies gpt-oss in 16 bits by itself; DeepGEMM takes DeepSeek-V4 inputs in fp8."""
    fp8 = {"quant_method": "fp8", "weight_block_size": [128, 128], "expert_dtype": "fp4"}
    for config, numbers in (({"quant_method": "mxfp4"}, ""), (fp8, "fp8")):
        checkpoint = parse(load_model_config("qwen3-30b-a3b") | {"quantization_config": config})
        stored = assign(checkpoint, "auto").layers[0].weights
        experts = [(weight, fmt) for weight, fmt in stored if weight.role == "expert"]
        assert {fmt.name for _, fmt in experts} == {"mxfp4"}
        assert held_by_rank(experts, Deployment()).numbers == numbers
