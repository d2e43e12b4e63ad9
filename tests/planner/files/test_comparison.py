"""A plan's weights beside what the files of its model hold.

Totals are those that repositories' own indexes and headers state, or counted by hand from shapes.
"""

from typing import Any

import pytest

from planner.deployment import Deployment
from planner.errors import ConfigRefused
from planner.explain import derivation
from planner.export import as_data
from planner.files.comparison import Comparison
from planner.files.parts import of_headers, of_index, part_of
from planner.files.safetensors_header import Index, read_header
from planner.files.weight_files import with_files
from planner.findings import findings
from planner.hf_config import parse
from planner.plan import Plan, make_plan
from planner.workload import Workload
from presets.gpus import load_gpu
from presets.models import load_model_config
from tests.planner.files.written import llama_shapes, safetensors

H200 = load_gpu("h200-sxm-141gb")
LLAMA = load_model_config("llama-3.1-8b")
SMALL = load_model_config("llama-3.2-1b")
TABLE = 128256 * 2048 * 2
"""The embedding of Llama-3.2-1B in bf16, which is its head too."""


def planned(config: dict[str, Any], dtype: str = "auto") -> Plan:
    return make_plan(parse(config), H200, Deployment(weights_dtype=dtype), Workload(context=1024))


def compared(config: dict[str, Any], dtype: str = "auto") -> Comparison:
    found = planned(config, dtype).weight_files
    assert found is not None
    assert found.difference == sum(line.bytes for line in found.lines)
    return found


def headed(
    config: dict[str, Any], dtype: str = "BF16", leave: str = "-", **more: Any
) -> dict[str, Any]:
    """The configuration with one file of a Llama's tensors and `more`, all of one dtype."""
    tensors = {n: (dtype, s) for n, s in llama_shapes(config).items() if leave not in n} | more
    files = of_headers("model.safetensors", [read_header(safetensors(tensors))], 32)
    return with_files(config, files)


def indexed(config: dict[str, Any], total: int, *names: str) -> dict[str, Any]:
    files = {"model-00001-of-00001.safetensors": ("model.embed_tokens.weight", *names)}
    depth = config.get("num_hidden_layers") or config["text_config"]["num_hidden_layers"]
    return with_files(config, of_index("model.safetensors.index.json", Index(total, files), depth))


def test_a_plan_counts_the_tensors_of_llama() -> None:
    found = compared(headed(LLAMA))
    assert found.files.bytes == found.planned == 2 * 8_030_261_248
    assert found.files.tensors == 32 * 9 + 3
    assert found.lines == ()
    assert found.sentence.endswith("14.96 GiB of tensors: what the plan counts, to the byte.")


def test_several_files_hold_and_one_holds() -> None:
    tensors = {name: ("BF16", shape) for name, shape in llama_shapes(LLAMA).items()}
    files = of_headers("2 files", [read_header(safetensors(tensors))], 32)
    assert compared(with_files(LLAMA, files)).sentence.startswith("2 files hold 14.96 GiB")
    assert "model.safetensors holds" in compared(headed(LLAMA)).sentence


@pytest.mark.parametrize(
    ("name", "total"),
    [("gpt-oss-20b", 13_761_264_768), ("gpt-oss-120b", 65_248_815_744)],
)
def test_totals_that_indexes_state(name: str, total: int) -> None:
    assert compared(indexed(load_model_config(name), total, "lm_head.weight")).lines == ()


def test_the_total_of_a_model_with_a_tower() -> None:
    """Qwen3-VL-8B-Instruct: 8,767,123,696 parameters in the headers of its repository."""
    config = load_model_config("qwen3-vl-8b-instruct")
    found = compared(
        indexed(config, 2 * 8_767_123_696, "lm_head.weight", "model.visual.blocks.0.norm1.weight")
    )
    assert found.lines == ()


def test_a_tied_head_that_is_stored_twice() -> None:
    stored = compared(headed(SMALL))
    assert [(line.label, line.bytes) for line in stored.lines] == [("the output head", TABLE)]
    assert not stored.unexplained
    listed = compared(indexed(SMALL, 2 * 1_235_814_400 + TABLE, "lm_head.weight"))
    assert [(line.label, line.bytes) for line in listed.lines] == [("the output head", TABLE)]
    assert compared(headed(SMALL, leave="lm_head")).lines == ()
    assert compared(indexed(SMALL, 2 * 1_235_814_400)).lines == ()


def test_deepseek_v3_counts_its_prediction_layer_and_headers() -> None:
    """The index of its repository: 91,991 tensors; layer 61 has an embedding and a head."""
    quantization = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}
    config = load_model_config("deepseek-v3")
    config |= {"quantization_config": quantization, "num_nextn_predict_layers": 1}
    names = [f"model.layers.{i % 61}.x{i}" for i in range(91_991 - 4)]
    own = ("model.layers.61.embed_tokens.weight", "model.layers.61.shared_head.head.weight")
    found = compared(indexed(config, 688_586_727_753, "lm_head.weight", *names, *own))
    prediction, headers = found.lines
    assert prediction.label == "multi-token-prediction layers"
    assert prediction.bytes > 2 * 129280 * 7168 * 2
    assert headers.label == "of headers"
    assert 91_991 * 100 < headers.bytes < 91_991 * 150
    assert not found.unexplained


def test_prediction_layers_and_towers_that_no_plan_counts() -> None:
    extra = {
        "model.layers.32.mlp.up_proj.weight": ("BF16", (10, 10)),
        "visual.patch_embed.proj.weight": ("BF16", (7, 3)),
        "model.layers.0.self_attn.rotary_emb.inv_freq": ("F32", (64,)),
    }
    found = compared(headed(LLAMA, **extra))
    assert [(line.label, line.bytes, line.explained) for line in found.lines] == [
        ("multi-token-prediction layers", 200, True),
        ("towers", 42, True),
        ("rotary factors and masks", 256, True),
    ]


def test_another_dtype_than_the_plan_runs() -> None:
    saved = {**LLAMA, "torch_dtype": "float32"}
    for config in (headed(saved, "F32"), indexed(saved, 4 * 8_030_261_248, "lm_head.weight")):
        found = compared(config)
        assert found.difference == 2 * 8_030_261_248
        assert not found.unexplained
        assert "planned in b" in found.sentence
    same_size = compared(headed(LLAMA, "F16"))
    assert same_size.lines == ()


def test_files_of_another_model_are_flagged() -> None:
    other = {**headed(LLAMA), "num_hidden_layers": 31}
    found = planned(other)
    assert found.weight_files is not None
    (line,) = found.weight_files.unexplained
    layer = 2 * (2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 14336 * 4096 + 2 * 4096)
    assert (line.label, line.bytes) == ("the layers", layer)
    assert [f.severity for f in findings(found) if f.code == "weight_files"] == ["warning"]
    headless = compared(headed(LLAMA, leave="lm_head"))
    assert [line.bytes for line in headless.unexplained] == [-128256 * 4096 * 2]
    listed = compared(indexed(LLAMA, 2 * 8_030_261_248 + 2, "lm_head.weight"))
    assert [line.bytes for line in listed.unexplained] == [2]


def test_a_format_asked_for_is_not_the_files() -> None:
    found = compared(headed(LLAMA), "q8_0")
    assert [line.explained for line in found.lines] == [True]
    assert "planned as q8_0 and not as the files have them" in found.sentence


def test_derivation_findings_and_data_say_the_same() -> None:
    plan = planned(headed(SMALL))
    steps = {step.label: step.bytes for step in derivation(plan)}
    assert steps["Tensors in model.safetensors"] == 2 * 1_235_814_400 + TABLE
    assert steps["In the files beyond the plan: the output head"] == TABLE
    assert steps["Files less the plan"] == TABLE
    (said,) = [f for f in findings(plan) if f.code == "weight_files"]
    assert said.severity == "info"
    assert "+501.00 MiB the output head" in said.message
    data = as_data(plan)["weights"]["files"]
    assert (data["bytes"], data["planned_bytes"]) == (2 * 1_235_814_400 + TABLE, 2 * 1_235_814_400)
    assert data["difference_bytes"] == TABLE
    assert as_data(planned(SMALL))["weights"]["files"] is None


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.layers.31.self_attn.q_proj.weight", "layers"),
        ("model.layers.32.enorm.weight", "prediction"),
        ("model.language_model.layers.3.mlp.gate.weight", "layers"),
        ("mtp.layers.0.mlp.gate.weight", "prediction"),
        ("transformer.h.0.attn.c_attn.weight", "layers"),
        ("transformer.h.0.attn.bias", "positions"),
        ("transformer.wte.weight", "embedding"),
        ("model.embed_tokens.weight", "embedding"),
        ("backbone.embeddings.weight", "embedding"),
        ("transformer.word_embeddings.weight", "embedding"),
        ("transformer.word_embeddings_layernorm.weight", "other"),
        ("transformer.output_layer.weight", "head"),
        ("lm_head.weight_scale", "head"),
        ("model.norm.weight", "other"),
        ("model.visual.blocks.40.attn.qkv.weight", "towers"),
        ("vision_tower.vision_model.encoder.layers.2.mlp.fc1.weight", "towers"),
        ("multi_modal_projector.mm_input_projection_weight", "towers"),
        ("audio_tower.layers.50.fc1.weight", "towers"),
        ("model.sam_model.blocks.0.attn.qkv.weight", "towers"),  # deepseek_ocr2
        ("vpm.encoder.layers.0.mlp.fc1.weight", "towers"),  # minicpmv
        ("visual_tokenizer.vit.encoder.layers.1.mlp.fc1.weight", "towers"),  # ovis2
        ("vit_large_projector.weight", "towers"),  # step3_vl
        ("model.layers.3.mlp.vision_moe.experts.0.up_proj.weight", "layers"),  # ernie4_5_vl_moe
        ("blk.3.attn_q.weight", "layers"),
        ("token_embd.weight", "embedding"),
        ("output.weight", "head"),
        ("output_norm.weight", "other"),
        ("rope_freqs.weight", "positions"),
    ],
)
def test_parts_by_name(name: str, part: str) -> None:
    assert part_of(name, 32) == part


def test_two_files_with_one_tensor_are_no_set() -> None:
    header = read_header(safetensors({"a": ("BF16", (2,))}))
    with pytest.raises(ConfigRefused, match="a is in two of the files"):
        of_headers("2 files", [header, header], 1)
    with pytest.raises(ConfigRefused, match=r"metadata\.total_size is missing"):
        of_index("x", Index(None, {"a": ("b",)}), 1)
    with pytest.raises(ConfigRefused, match="there is no tensor in it"):
        of_headers("x.safetensors", [read_header(safetensors({}))], 1)


def test_what_stands_in_the_field_must_be_what_sizewell_writes() -> None:
    right = {"name": "a", "bytes": 5, "tensors": 1, "parts": {"layers": {"F32": 5}}}
    assert parse({**LLAMA, "weight_files": right}).files is not None
    for wrong in (
        {"bytes": -1},
        {**right, "bytes": 6},  # which its parts are not
        {**right, "bytes": 10**400, "parts": {}},
        {**right, "parts": {"layers": {"F32": 10, "BF16": -5}}},
    ):
        with pytest.raises(ConfigRefused, match="weight_files is not what Sizewell writes there"):
            parse({**LLAMA, "weight_files": wrong})


def test_repacking_explains_no_half_of_a_checkpoint() -> None:
    """DeepSeek-V3's index says 688,586,727,753 bytes."""
    config = load_model_config("deepseek-v3")
    names = ("model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight", "lm_head.weight")

    def lines(total: int) -> list[bool]:
        index = Index(total, {"a": names})
        whole = with_files(config, of_index("an index", index, 61))
        found = make_plan(
            parse(whole), load_gpu("h200-sxm-141gb"), Deployment(tensor_parallel_size=8), Workload()
        ).weight_files
        assert found is not None
        return [line.explained for line in found.lines]

    assert lines(671 * 10**9) == [True]
    assert lines(335 * 10**9) == [False]
