"""Positions stretched for the planned context: what each engine is told, and what it then plans."""

import json
import shlex
from typing import Any

import pytest

from planner.deployment import Deployment
from planner.engines.deploy import files
from planner.engines.engine import EngineFigures
from planner.engines.extended import extended
from planner.engines.registry import ENGINES, options_of
from planner.engines.rotary import rotary_bytes
from planner.errors import PlanRefused
from planner.hf_config import parse
from planner.workload import Workload
from presets.gpus import load_gpu
from presets.models import load_model_config

GPU = load_gpu("h100-sxm5-80gb")
YARN = {"rope_type": "yarn", "factor": 3.2, "original_max_position_embeddings": 40960}
PARAMETERS = {"rope_theta": 1000000, **YARN}


def figures(
    engine: str, name: str = "qwen3-8b", context: int = 131072, **options: Any
) -> EngineFigures:
    config = load_model_config(name)
    return ENGINES[engine].figures(
        parse(config, name), GPU, Deployment(), options_of(engine, options),
        Workload(context=context), config=config,
    )  # fmt: skip


def flag(command: str, name: str) -> str:
    words = shlex.split(command)
    return words[words.index(name) + 1]


def test_vllm_is_told_by_hf_overrides() -> None:
    """The flags of its page on context extension."""
    found = figures("vllm")
    assert flag(found.command, "--max-model-len") == "131072"
    assert json.loads(flag(found.command, "--hf-overrides")) == {"rope_parameters": PARAMETERS}
    assert found.settings["max_model_len"] == 131072
    assert "stretches them 3.2 times by YaRN" in found.notes[0]


@pytest.mark.parametrize(
    ("version", "field"),
    [("0.8.5", "rope_scaling"), ("0.11.0", "rope_scaling"), ("0.15.1", "rope_parameters")],
)
def test_older_versions_know_the_older_name(version: str, field: str) -> None:
    """rope_parameters came with vllm#28542 (0.12)."""
    found = json.loads(flag(figures("vllm", version=version).command, "--hf-overrides"))
    assert list(found) == [field]
    assert ("rope_theta" in found[field]) == (field == "rope_parameters")


def test_a_text_model_inside_another_is_told_inside_it() -> None:
    found = figures("vllm", "qwen3.5-27b", 524288)
    text = json.loads(flag(found.command, "--hf-overrides"))["text_config"]
    assert text["rope_parameters"]["mrope_section"] == [11, 11, 10]
    assert text["rope_parameters"]["factor"] == 2.0
    with pytest.raises(PlanRefused, match="overrides no fields inside text_config"):
        figures("vllm", "qwen3.5-27b", 524288, version="0.11.0")


def test_layer_types_with_positions_of_their_own_keep_them() -> None:
    """vLLM multiplies no lengths of Gemma 3: the new one is stated."""
    found = json.loads(flag(figures("vllm", "gemma-3-270m").command, "--hf-overrides"))
    assert found["max_position_embeddings"] == 131072
    assert set(found["rope_parameters"]) == {"full_attention", "sliding_attention"}


def test_sglang_replaces_fields_whole_so_theta_is_repeated() -> None:
    found = figures("sglang")
    assert flag(found.command, "--context-length") == "131072"
    assert json.loads(flag(found.command, "--json-model-override-args")) == {
        "rope_parameters": PARAMETERS, "max_position_embeddings": 131072,
    }  # fmt: skip


def test_llama_cpp_has_flags_of_its_own() -> None:
    found = figures("llama.cpp")
    assert found.command.endswith(
        "-c 131072 --rope-scaling yarn --rope-scale 3.2 --yarn-orig-ctx 40960"
    )
    apart = figures("llama.cpp", parallel=2, kv_unified=False)
    assert flag(apart.command, "-c") == "262144"
    assert any("context_length=int:131072" in note for note in found.notes)


def test_tensorrt_llm_has_no_flag_and_says_what_to_write() -> None:
    found = figures("tensorrt-llm")
    written = json.dumps({"rope_scaling": YARN, "max_position_embeddings": 131072})
    assert written in found.notes[0]
    assert flag(found.command, "--max_seq_len") == "131072"
    assert "with that in its config.json: its id here" in found.command


def test_transformers_takes_them_as_arguments() -> None:
    found = figures("transformers")
    assert f"rope_parameters={PARAMETERS!r}, max_position_embeddings=131072" in found.command


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("name", "context"),
    [("qwen3-8b", 40960), ("llama-3.1-8b", 262144), ("mistral-7b-v0.1", 65536)],
)
def test_commands_stay_as_they_are_where_nothing_is_stretched(
    engine: str, name: str, context: int
) -> None:
    found = figures(engine, name, context)
    assert "rope" not in found.command
    assert not any("stretch" in note for note in found.notes)


@pytest.mark.parametrize("engine", ENGINES)
def test_where_nothing_stretches_it_the_engine_page_says_why(engine: str) -> None:
    notes = figures(engine, "llama-3.1-8b", 262144).notes
    assert any(
        "262,144 tokens are beyond the 131,072" in n and "scaled already" in n for n in notes
    )


def test_a_length_that_is_asked_for_is_kept() -> None:
    assert "rope" not in figures("vllm", max_model_len=32768).command
    longer = figures("vllm", context=1024, max_model_len=81920)
    assert json.loads(flag(longer.command, "--hf-overrides"))["rope_parameters"]["factor"] == 2.0
    with pytest.raises(PlanRefused, match=r"200,000 is beyond .* scaled already \(llama3\)"):
        figures("vllm", "llama-3.1-8b", 1024, max_model_len=200_000)


def test_tables_of_cosines_grow_with_the_positions() -> None:
    """One table of 128 numbers a position in bf16: (131,072 - 40,960) x 128 x 2 B."""
    config = load_model_config("qwen3-8b")
    model = parse(config)
    plain = rotary_bytes(model, model.groups, config)
    longer, own, found = extended(model, config, Workload(context=131072), None)
    assert found is not None
    assert rotary_bytes(longer, longer.groups, own) - plain == (131072 - 40960) * 128 * 2
    assert own is not None
    assert config["rope_scaling"] is None
    before, after = figures("vllm", context=40960), figures("vllm")
    grown = after.components["weights"].bytes - before.components["weights"].bytes
    assert grown == pytest.approx((131072 - 40960) * 128 * 2, abs=2**21)


def test_the_rewritten_configuration_reads_as_the_stretched_model() -> None:
    """The model and its file are changed alike."""
    for name in ("qwen3-8b", "qwen3.5-27b", "gemma-3-270m", "glm-4.5-air"):
        config = load_model_config(name)
        model = parse(config)
        wanted = 2 * (model.max_position_embeddings or 0)
        longer, own, _ = extended(model, config, None, wanted)
        assert own is not None
        read = parse(own)
        assert read.max_position_embeddings == longer.max_position_embeddings == wanted
        assert read.rope == longer.rope


def test_deployment_files_carry_the_overrides() -> None:
    found = files(figures("vllm"), "Qwen/Qwen3-8B", Deployment(), GPU, 2**34)
    assert "hf_overrides:" in found["ray-serve.yaml"]
    assert "--hf-overrides" in found["compose.yaml"]
