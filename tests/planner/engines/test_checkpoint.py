"""A command loads what was planned, or has a placeholder for it."""

import json
import shlex
from pathlib import Path

import pytest

from cli import main
from presets.models import load_model_config, served_name


def command(capsys: pytest.CaptureFixture[str], model: str, engine: str, *words: str) -> str:
    main(["plan", "--model", model, "--gpu", "h100-sxm5-80gb", "--engine", engine, *words,
          "--format", "json"])  # fmt: skip
    return str(json.loads(capsys.readouterr().out)["engine"]["command"])


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("llama-3.1-8b", "meta-llama/Llama-3.1-8B"),
        ("gpt-oss-120b", "openai/gpt-oss-120b"),
        ("QWEN/qwen2.5-3b", "Qwen/Qwen2.5-3B"),
        ("qwen2.5-3b", "Qwen/Qwen2.5-3B"),
        ("llama-3.3-70b", "meta-llama/Llama-3.3-70B-Instruct"),
        ("my-upload.json", "/path/to/model"),
    ],
)
def test_names_are_those_of_the_hub(reference: str, name: str) -> None:
    assert served_name(reference) == name


@pytest.mark.parametrize("engine", ["vllm", "sglang", "tensorrt-llm", "transformers"])
def test_a_format_that_is_not_made_on_load_is_a_placeholder(
    engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = command(capsys, "llama-3.1-8b", engine, "--weights-dtype", "int4")
    assert "<meta-llama/Llama-3.1-8B quantised to int4 (AWQ or GPTQ): its id here>" in text
    if engine != "transformers":
        assert "meta-llama/Llama-3.1-8B" not in shlex.split(text)


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_fp8_is_made_on_load(engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(command(capsys, "llama-3.1-8b", engine, "--weights-dtype", "fp8"))
    assert "meta-llama/Llama-3.1-8B" in words
    assert words[words.index("--quantization") + 1] == "fp8"


def test_a_checkpoints_own_format_needs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    text = command(capsys, "gpt-oss-120b", "vllm", "--weights-dtype", "mxfp4")
    assert text.split()[:3] == ["vllm", "serve", "openai/gpt-oss-120b"]
    assert "--quantization" not in text
    assert "--dtype float16" in command(
        capsys, "llama-3.1-8b", "vllm", "--weights-dtype", "fp16", "--kv-cache-dtype", "fp8"
    )
    quantised = command(capsys, "gpt-oss-20b", "vllm", "--weights-dtype", "bf16")
    assert "<openai/gpt-oss-20b quantised to bf16: its id here>" in quantised


def test_llama_cpp_has_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    text = command(capsys, "llama-3.1-8b", "llama.cpp", "--weights-dtype", "q8_0")
    assert "-m /path/to/Llama-3.1-8B-Q8_0.gguf" in text


def test_a_named_format_needs_nothing_of_a_checkpoint_that_states_none(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """MIXED_PRECISION without saying which layers have what."""
    mixed = {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"}
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**load_model_config("minimax-m3"), "quantization_config": mixed}))
    main(["plan", "--model", str(file), "--gpu", "b200-sxm-180gb", "--gpus", "8", "--engine",
          "vllm", "--weights-dtype", "fp8", "--format", "json"])  # fmt: skip
    text = json.loads(capsys.readouterr().out)["engine"]["command"]
    assert "quantised to fp8 (FP8): its id here>" in text


def test_8_bit_bitsandbytes_is_not_made_on_load(capsys: pytest.CaptureFixture[str]) -> None:
    """vllm#8799: "only support 4-bit inflight quantisation"."""
    text = command(capsys, "llama-3.1-8b", "vllm", "--weights-dtype", "int8_bnb")
    assert "<meta-llama/Llama-3.1-8B quantised to int8_bnb (bitsandbytes): its id here>" in text
    assert "--quantization" not in text
    made = command(capsys, "llama-3.1-8b", "vllm", "--weights-dtype", "nf4")
    assert "--quantization bitsandbytes" in made
