"""Checkpoints saved in float32: what each engine holds of them by default, and when asked."""

import json
import shlex
from typing import Any

import pytest

from cli import main
from planner.hf_config import parse
from planner.run_dtype import as_run, plain_dtype
from presets.models import load_model_config

PARAMETERS = 7_298_617_344
"""OLMo-2-1124-7B: 2 x 100,352 x 4,096 outside, 32 layers of 7 matrices and four norms, one norm."""
TOKEN_ELEMENTS = 32 * 2 * 32 * 128
"""Keys and values of 32 heads of 128 in 32 layers."""


def engine(capsys: pytest.CaptureFixture[str], name: str, *words: str) -> dict[str, Any]:
    status = main(["plan", "--model", "olmo-2-1124-7b", "--gpu", "l40s", "--engine", name,
                   "--context", "4k", "--concurrency", "8", *words,
                   "--format", "json"])  # fmt: skip
    captured = capsys.readouterr()
    return {"status": status, "error": captured.err, **json.loads(captured.out or "{}")}


def test_by_hand() -> None:
    layer = 4 * 4096 * 4096 + 3 * 4096 * 11008 + 4 * 4096
    assert 2 * 100_352 * 4096 + 32 * layer + 4096 == PARAMETERS


@pytest.mark.parametrize("name", ["vllm", "sglang"])
@pytest.mark.parametrize(("words", "size"), [((), 2), (("--weights-dtype", "fp32"), 4)])
def test_servers_load_16_bits_unless_asked(
    name: str, words: tuple[str, ...], size: int, capsys: pytest.CaptureFixture[str]
) -> None:
    found = engine(capsys, name, *words)["engine"]
    weights = found["components"]["weights"]["bytes"]
    assert weights == pytest.approx(size * PARAMETERS, rel=1e-3)
    left = found["kv_cache"]["bytes"] - found["kv_cache_tokens"] * size * TOKEN_ELEMENTS
    assert 0 <= left < 16 * size * TOKEN_ELEMENTS, "less than one block of 16 tokens"
    command = shlex.split(found["command"])
    asked = command[command.index("--dtype") + 1] if "--dtype" in command else None
    assert asked == ("float32" if words else None)
    assert found["requests"] >= 8 if not words else found["requests"] < 8


def test_sglang_prints_the_dtype_that_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    """_get_and_verify_dtype: "we use float16 for float32 models"."""
    assert "dtype=torch.float16" in str(engine(capsys, "sglang")["engine"]["log_lines"])
    asked = engine(capsys, "sglang", "--weights-dtype", "bf16")["engine"]
    assert "--dtype bfloat16" in asked["command"]
    assert "dtype=torch.bfloat16" in str(asked["log_lines"])


def test_transformers_keeps_it_as_saved(capsys: pytest.CaptureFixture[str]) -> None:
    found = engine(capsys, "transformers")["engine"]
    weights = found["components"]["weights"]["bytes"]
    assert weights == pytest.approx(4 * PARAMETERS, rel=1e-3)
    assert found["kv_cache"]["bytes"] == 8 * 4096 * 4 * TOKEN_ELEMENTS
    assert 'dtype="auto"' in found["command"]


def test_tensorrt_llm_has_no_kernels_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no kernels for float32" in engine(capsys, "tensorrt-llm")["error"]
    found = engine(capsys, "tensorrt-llm", "--weights-dtype", "bf16")["engine"]
    assert "<allenai/OLMo-2-1124-7B saved in bfloat16: its id here>" in found["command"]


def test_llama_cpps_file_has_16_bits(capsys: pytest.CaptureFixture[str]) -> None:
    """All but the input table, which stays in CPU memory, at 2 bytes; norms at 4."""
    found = engine(capsys, "llama.cpp")["engine"]
    matrices = PARAMETERS - 100_352 * 4096
    assert found["components"]["weights"]["bytes"] == pytest.approx(2 * matrices, rel=1e-3)
    assert "BF16.gguf" in found["command"]


def test_a_dtype_asked_for_is_the_caches_too(capsys: pytest.CaptureFixture[str]) -> None:
    main(["plan", "--model", "llama-3.1-8b", "--gpu", "h100-sxm5-80gb", "--engine", "vllm",
          "--weights-dtype", "fp32", "--format", "json"])  # fmt: skip
    found = json.loads(capsys.readouterr().out)["engine"]
    each = found["kv_cache"]["bytes"] / found["kv_cache_tokens"]
    assert each == pytest.approx(2 * 131_072, rel=1e-3)


def test_names() -> None:
    assert [plain_dtype(n) for n in ("half", "FP32", "auto", "fp8", "q4_k_m")] == [
        "float16", "float32", None, None, None,
    ]  # fmt: skip
    model = parse(load_model_config("olmo-2-1124-7b"))
    assert (model.dtype, model.saved_dtype) == ("bfloat16", "float32")
    assert as_run(model, "auto") is model
    assert as_run(model, "fp32") is as_run(model, "fp32")
    assert as_run(model, "auto", "float16").dtype == "float16"


@pytest.mark.parametrize(
    ("version", "gpu", "flag"),
    [
        ("0.33.0", "l40s", None),
        ("0.8.5", "l40s", "bfloat16"),
        ("0.33.0", "t4", "half"),
        ("0.19.1", "v100-sxm2-32gb", "half"),
    ],
)
def test_bf16_is_a_flag_where_vllm_takes_float16(
    version: str, gpu: str, flag: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Asked for bf16; a T4 or V100 has none, and 0.8.5 ran float32 checkpoints in float16."""
    main(["plan", "--model", "olmo-2-1124-7b", "--gpu", gpu, "--engine", "vllm", "--engine-version",
          version, "--weights-dtype", "bf16", "--format", "json"])  # fmt: skip
    command = shlex.split(json.loads(capsys.readouterr().out)["engine"]["command"])
    assert (command[command.index("--dtype") + 1] if "--dtype" in command else None) == flag
