"""Weights of published checkpoints, against their published sizes and engines' start-up logs."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.deployment import Deployment
from planner.errors import ConfigRefused, PlanRefused
from planner.formats.gguf_mixes import BASE
from planner.formats.quantization import Assignment, assign
from planner.formats.quantization_config import READERS, scheme
from planner.hf_config import parse
from planner.model import Model
from planner.parallelism import shard
from planner.units import GIB
from planner.weights import weights_bytes
from presets.models import load_model_config
from tests.planner.models import DEEPSEEK_V3, LLAMA_8B, model

GGUF_FILES = json.loads(
    Path(__file__).parent.with_name("data").joinpath("gguf_file_sizes.json").read_text()
)


def preset(name: str, quantization: dict[str, Any] | None = None, **changes: Any) -> Model:
    config = load_model_config(name) | changes
    return parse(config if quantization is None else config | {"quantization_config": quantization})


def llama(quantization: dict[str, Any]) -> Assignment:
    return assign(model(LLAMA_8B, quantization_config=quantization), "auto")


def formats(assignment: Assignment, layer: int) -> dict[str, str]:
    """Format of each weight of one layer, by name."""
    part = next(p for p in assignment.layers if layer in p.layers)
    return {weight.name: fmt.name for weight, fmt in part.weights}


def total(found: Model, name: str = "auto") -> int:
    return weights_bytes(assign(found, name)).total


LINEAR = 32 * (2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 14336 * 4096)
"""Elements of Llama-3.1-8B's matrices inside the layers."""

NORMS = 65 * 4096 * 2
TABLE = 128256 * 4096 * 2
"""Bytes of its norms, and of its embedding or its head, in bf16."""


def test_llama_by_hand() -> None:
    whole = model(LLAMA_8B)
    assert total(whole) == 16_060_522_496  # 8,030,261,248 parameters of 2 B
    assert total(whole, "fp32") == 2 * 16_060_522_496
    assert total(whole, "fp8") == LINEAR + 32 * 7 * 4 + NORMS + 2 * TABLE
    assert total(whole, "mxfp4") == LINEAR // 32 * 17 + NORMS + 2 * TABLE
    assert total(whole, "q4_k") == LINEAR // 256 * 144 + 2 * NORMS + TABLE * 144 // 256
    scale_and_zero = LINEAR // 128 * 2 + LINEAR // 128 // 2
    assert total(whole, "int4") == LINEAR // 2 + scale_and_zero + NORMS + 2 * TABLE


def test_components_and_active_bytes() -> None:
    found = weights_bytes(assign(model(LLAMA_8B), "auto"))
    assert (found.embedding, found.head, found.norms) == (TABLE, TABLE, NORMS)
    assert found.attention == 32 * 2 * (2 * 4096 * 4096 + 2 * 1024 * 4096)
    assert found.mlp == 32 * 2 * 3 * 14336 * 4096
    assert found.active == found.total - TABLE + 4096 * 2


@pytest.mark.parametrize(
    ("name", "size"),
    [
        # Sum of all tensors, which each repository's model.safetensors.index.json states.
        ("gpt-oss-20b", 13_761_264_768),
        ("gpt-oss-120b", 65_248_815_744),
    ],
)
def test_gpt_oss_checkpoints_to_the_byte(name: str, size: int) -> None:
    assert total(preset(name)) == size


def test_deepseek_v3_checkpoint() -> None:
    quantization = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}
    found = weights_bytes(
        assign(model(DEEPSEEK_V3, quantization_config=quantization,
                     num_nextn_predict_layers=1), "auto")
    )  # fmt: skip
    # The files, headers of 91,991 tensors included; the MTP layer there has its own copy of
    # the embedding and of the head.
    files = 688_586_727_753
    tables = 2 * 129280 * 7168 * 2
    headers = files - found.total - found.mtp - tables
    assert 91_991 * 100 < headers < 91_991 * 150


def test_nvfp4_checkpoint() -> None:
    quantization = {"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16,
                    "exclude_modules": ["lm_head"]}  # fmt: skip
    headers = 6_027_861_376 - weights_bytes(llama(quantization)).total
    assert 0 < headers < 200_000


@pytest.mark.parametrize(
    ("name", "repository", "file_type", "size", "header"),
    [
        (f["model"], f["repository"], kind, size,
         f["bytes"]["q8_0"] - total(preset(f["model"]), "q8_0"))
        for f in GGUF_FILES["files"] for kind, size in f["bytes"].items()
    ],
)  # fmt: skip
def test_gguf_files(name: str, repository: str, file_type: str, size: int, header: int) -> None:
    """A file is its tensors and a header, the same for every type but for a few bytes."""
    assert 500_000 < header < 10_000_000
    assert size - total(preset(name), file_type) == pytest.approx(header, abs=512)


FP8_BLOCK = {"quant_method": "fp8", "weight_block_size": [128, 128]}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True}


def compressed(kind: str, bits: int, strategy: str, **weights: Any) -> dict[str, Any]:
    own = {"num_bits": bits, "type": kind, "strategy": strategy, **weights}
    return {
        "quant_method": "compressed-tensors",
        "ignore": ["lm_head"],
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": own}},
    }


FBGEMM_405B = {
    "quant_method": "fbgemm_fp8",
    "modules_to_not_convert": ["lm_head"]
    + [f"model.layers.{i}.self_attn.{n}_proj" for i in range(126) for n in "qkvo"]
    + [f"model.layers.{i}.mlp.{n}_proj" for i in (0, 125) for n in ("gate", "up", "down")],
}


@pytest.mark.parametrize(
    ("name", "quantization", "changes", "tp", "gib"),
    [
        ("qwen3-30b-a3b", FP8_BLOCK, {}, 1, 29.0435),
        ("qwen3-8b", FP8_BLOCK, {}, 1, 8.80),
        ("llama-3.3-70b-instruct", compressed("float", 8, "channel"), {}, 1, 67.72),
        ("llama-3.3-70b-instruct", compressed("int", 8, "channel"), {}, 2, 33.88),
        ("llama-3.3-70b-instruct", compressed("int", 8, "channel"), {}, 4, 16.96),
        ("meta-llama-3-70b", AWQ, {}, 2, 18.55),
        ("llama-3.1-405b", FBGEMM_405B, {"num_key_value_heads": 16}, 8, 57.752),
    ],
)
def test_weights_that_vllm_reports(
    name: str, quantization: dict[str, Any], changes: dict[str, Any], tp: int, gib: float
) -> None:
    """vLLM's log line counts 0.01 to 0.04 GiB of rope tables and the like as weights."""
    assignment = assign(preset(name, quantization, **changes), "auto")
    deployment = Deployment(tensor_parallel_size=tp)
    stored = [(len(p.layers), w, f) for p in assignment.layers for w, f in p.weights]
    stored += [(1, w, f) for w, f in assignment.outside]
    pieces = [(count, shard(weight, deployment), fmt) for count, weight, fmt in stored]
    found = sum(n * piece.copies * fmt.bytes(piece.shape) for n, piece, fmt in pieces) / GIB
    assert found <= gib <= found + 0.04


def test_eight_bits_alone_are_packed_with_scales_in_the_model_s_dtype() -> None:
    """vLLM 0.33.0's CompressedTensorsWNA16, whose scales are of params_dtype; W8A8's are fp32."""
    config = compressed("int", 8, "channel")
    group = config["config_groups"]["group_0"]
    alone = scheme(config).linear
    group["input_activations"] = {"num_bits": 8, "dynamic": True}
    both = scheme(config).linear
    assert alone is not None
    assert both is not None
    assert (alone.bytes((96, 2048)), both.bytes((96, 2048))) == (96 * 2050, 96 * 2052)


def test_compressed_tensors_ignores_by_expression() -> None:
    found = assign(preset("kimi-k2.5"), "auto")
    dense, sparse = formats(found, 0), formats(found, 1)
    assert set(dense.values()) == {"bf16"}
    assert sparse["experts.gate_proj"] == sparse["experts.down_proj"] == "int4_g32"
    assert {sparse[n] for n in ("gate_proj", "router", "o_proj")} == {"bf16"}


def test_layers_left_unquantised_split_a_group() -> None:
    found = llama({"quant_method": "fp8", "ignored_layers": [
        *(f"model.layers.0.self_attn.{n}_proj" for n in "qkvo"), "model.layers.31", "lm_head",
    ]})  # fmt: skip
    assert sorted(len(part.layers) for part in found.layers) == [1, 1, 30]
    assert formats(found, 0)["q_proj"] == "bf16"
    assert formats(found, 0)["up_proj"] == "fp8"
    assert set(formats(found, 31).values()) == {"bf16"}
    assert formats(found, 3)["down_proj"] == "fp8"


@pytest.mark.parametrize(
    ("quantization", "q_proj", "gate_proj"),
    [
        ({"quant_method": "fp8", "modules_to_not_convert": None}, "fp8", "fp8"),
        ({"quant_method": "fp8", "modules_to_not_convert": ["self_attn"]}, "bf16", "fp8"),
        ({"quant_method": "fp8", "modules_to_not_convert": ["gate"]}, "fp8", "fp8"),
        ({"quant_method": "fp8", "ignored_layers": ["model.layers.*.self_attn"]}, "bf16", "fp8"),
        ({"quant_method": "fp8", "ignored_layers": ["model.layers.1.mlp"]}, "fp8", "fp8"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 32}, "int4_g32", "int4_g32"),
        ({"quant_method": "gptq", "bits": 4, "group_size": -1}, "int4_channel", "int4_channel"),
        (
            {"quant_method": "gptq", "bits": 4,
             "dynamic": {"-:.*attn.*": {}, "+:.*gate.*": {"bits": 8}}},
            "bf16",
            "int8_g128",
        ),
        (
            {"quant_method": "gptq", "bits": 4,
             "modules_in_block_to_quantize": [["self_attn.q_proj"]]},
            "int4_g128",
            "bf16",
        ),
        ({"quant_method": "awq", "modules_to_not_convert": ["mlp"]}, "int4_g128", "bf16"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "int8_bnb", "int8_bnb"),
        (
            {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
            "nf4_double",
            "nf4_double",
        ),
        (compressed("float", 8, "tensor"), "fp8", "fp8"),
        (compressed("float", 8, "block", block_structure=[64, 64]), "fp8_block", "fp8_block"),
        (compressed("float", 4, "tensor_group", group_size=16), "nvfp4", "nvfp4"),
        (compressed("float", 4, "group", group_size=32), "mxfp4", "mxfp4"),
        (compressed("int", 4, "group", group_size=64), "int4_g64", "int4_g64"),
        (
            {"quantization": {"quant_algo": "FP8", "exclude_modules": ["*self_attn*", "lm_head"]}},
            "bf16",
            "fp8",
        ),
        (
            {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": {
                "model.layers.*.self_attn.q_proj": {"quant_algo": "FP8"},
                "model.layers.*.mlp.gate_proj": {"quant_algo": "NVFP4", "group_size": 16}}},
            "fp8",
            "nvfp4",
        ),
        ({"quant_method": "fbgemm_fp8"}, "fp8_per_channel", "fp8_per_channel"),
        ({"quant_method": "quanto", "weights": "int8"}, "quanto_int8", "quanto_int8"),
    ],
)  # fmt: skip
def test_methods(quantization: dict[str, Any], q_proj: str, gate_proj: str) -> None:
    found = formats(llama(quantization), 5)
    assert (found["q_proj"], found["gate_proj"]) == (q_proj, gate_proj)
    assert found["layer_norm"] == "bf16"


def test_routers_embeddings_and_heads_stay() -> None:
    found = assign(model(DEEPSEEK_V3), "nvfp4")
    assert formats(found, 10)["router"] == "bf16"
    assert formats(found, 10)["experts.up_proj"] == "nvfp4"
    assert {fmt.name for _, fmt in found.outside} == {"bf16"}
    assert {w.name: f.name for w, f in assign(model(DEEPSEEK_V3), "q4_k_m").outside} == {
        "embed_tokens": "q4_k", "lm_head": "q6_k", "norm": "fp32",
    }  # fmt: skip


def test_experts_of_their_own_dtype() -> None:
    found = assign(
        model(DEEPSEEK_V3, expert_dtype="fp4", quantization_config=FP8_BLOCK), "auto"
    )  # fmt: skip
    assert formats(found, 20)["experts.gate_proj"] == "mxfp4"
    assert formats(found, 20)["gate_proj"] == "fp8_block"


def test_experts_named_one_by_one() -> None:
    def ignoring(count: int) -> dict[str, Any]:
        names = [f"model.layers.9.mlp.experts.{i}.down_proj" for i in range(count)]
        return {"quant_method": "fp8", "ignored_layers": names}

    found = assign(model(DEEPSEEK_V3, quantization_config=ignoring(256)), "auto")
    assert formats(found, 9)["experts.down_proj"] == "bf16"
    assert formats(found, 9)["experts.up_proj"] == "fp8"
    with pytest.raises(ConfigRefused, match="3 of 256 experts"):
        assign(model(DEEPSEEK_V3, quantization_config=ignoring(3)), "auto")


@pytest.mark.parametrize(
    ("quantization", "field"),
    [
        ({"quant_method": "quip"}, "quantization_config.quant_method"),
        ({"bits": 4}, "quantization_config.quant_method"),
        ({"quant_method": "gptq"}, "quantization_config.bits"),
        ({"quant_method": "gptq", "bits": 5}, "quantization_config.bits"),
        ({"quant_method": "fp8", "fmt": "int4"}, "quantization_config.fmt"),
        ({"quant_method": "fp8", "activation_scheme": "foo"},
         "quantization_config.activation_scheme"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "load_in_8bit": True},
         "quantization_config.load_in_4bit"),
        ({"quant_method": "gptq", "bits": 4, "group_size": "x"}, "quantization_config.group_size"),
        ({"quant_method": "gptq", "bits": 4, "dynamic": [1]}, "quantization_config.dynamic"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 0}, "quantization_config.group_size"),
        ({"quant_method": "awq", "bits": 3}, "quantization_config.bits"),
        ({"quant_method": "awq", "bits": 4, "group_size": 0}, "quantization_config.group_size"),
        ({"quant_method": "awq", "modules_to_not_convert": [3]},
         "quantization_config.modules_to_not_convert"),
        ({"quant_method": "fp8", "weight_block_size": [0, 1]},
         "quantization_config.weight_block_size"),
        ({"quant_method": "fp8", "weight_block_size": [128, 128], "expert_dtype": "int3"},
         "quantization_config.expert_dtype"),
        ({"quant_method": "bitsandbytes"}, "quantization_config.load_in_4bit"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "int4"},
         "quantization_config.bnb_4bit_quant_type"),
        ({"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"},
         "quantization_config.quantized_layers"),
        ({"quant_method": "modelopt", "quant_algo": "INT1"}, "quantization_config.quant_algo"),
        ({"quant_method": "compressed-tensors"}, "quantization_config.config_groups"),
        (compressed("float", 4, "channel"),
         "quantization_config.config_groups.group_0.weights.strategy"),
        (compressed("int", 8, "channel") | {"sparsity_config": {"format": "sparse-24-bitmask"}},
         "quantization_config.sparsity_config.format"),
        ({"quant_method": "compressed-tensors", "config_groups": {}, "ignore": ["re:("]},
         "quantization_config.ignore"),
        ({"quant_method": "torchao", "quant_type": "autoquant"},
         "quantization_config.quant_type"),
        ({"quant_method": "hqq"}, "quantization_config.quant_config"),
        ("fp8", "quantization_config"),
    ],
)  # fmt: skip
def test_what_does_not_settle_the_bytes_is_refused(quantization: Any, field: str) -> None:
    with pytest.raises(ConfigRefused) as refused:
        llama(quantization)
    assert refused.value.field == field
    assert len(str(refused.value)) < 200


values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 300) | st.text("ab8:.", max_size=4)
    | st.sampled_from(["re:.*attn.*", "model.layers.0", "*", "[", "int", "float", "group", "FP8"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text("ab8-+:", max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
FIELDS = (
    "bits", "group_size", "sym", "desc_act", "dynamic", "modules_to_not_convert", "ignore",
    "config_groups", "quant_algo", "quantized_layers", "weight_block_size", "load_in_4bit",
    "quant_type", "quant_config", "expert_dtype", "quantization", "modules_in_block_to_quantize",
    "extra_config", "sparsity_config", "weights", "config_for_layers", "shapes", "num_codebooks",
    "nbits_per_codebook", "in_group_size", "hadamard_size", "forward_dtype", "linear_class",
)  # fmt: skip


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(READERS)), st.dictionaries(st.sampled_from(FIELDS), values))
def test_any_configuration_is_answered_or_refused(method: str, rest: dict[str, Any]) -> None:
    try:
        size = weights_bytes(llama({"quant_method": method, **rest})).total
    except (ConfigRefused, PlanRefused) as refused:
        size = len(str(refused))
    assert size > 0


def test_unknown_dtypes_are_refused() -> None:
    with pytest.raises(PlanRefused, match="q4_k_xl"):
        assign(model(LLAMA_8B), "q4_k_xl")


def test_answers_are_kept() -> None:
    whole = model(LLAMA_8B)
    assert assign(whole, "fp8") is assign(whole, "fp8")
    assert assign(whole, "fp8") is not assign(whole, "int8")


@pytest.mark.parametrize("config", [LLAMA_8B, DEEPSEEK_V3])
def test_assignments_cover_every_parameter(config: dict[str, Any]) -> None:
    whole = model(config)
    every = sum(w.parameters for w in whole.outside()) + sum(
        g.count * sum(w.parameters for w in g.weights(whole.hidden_size)) for g in whole.groups
    )
    for name in ("auto", "fp8", "nvfp4", "q4_k_m", "q2_k", *BASE):
        found = assign(whole, name)
        stored = [(len(p.layers), w) for p in found.layers for w, _ in p.weights]
        stored += [(1, w) for w, _ in found.outside]
        assert sum(n * w.parameters for n, w in stored) == every, name
        assert sum(found.bytes_by_format().values()) == weights_bytes(found).total
