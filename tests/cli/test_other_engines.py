"""Flags of the engines besides vLLM on `plan`."""

import json

import pytest

from cli import main
from cli.other_engines import FLAGS
from planner.engines.registry import ENGINES


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    try:
        code = main(["plan", "--model", "llama-3.1-8b", "--gpu", "h100-sxm5-80gb", *words])
    except SystemExit as error:
        code = int(error.code or 0)
    out = capsys.readouterr()
    return code, out.out, out.err


@pytest.mark.parametrize("engine", list(FLAGS))
def test_every_option_has_its_flag(engine: str) -> None:
    fields = set(ENGINES[engine].options.model_fields) - {"version"}
    assert set(FLAGS[engine]) == fields


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (
            ["--engine", "sglang", "--mem-fraction-static", "0.8", "--disable-radix-cache"],
            "python -m sglang.launch_server --model-path meta-llama/Llama-3.1-8B "
            "--mem-fraction-static 0.8 --disable-radix-cache",
        ),
        (
            ["--engine", "tensorrt-llm", "--max-seq-len", "8192", "--no-enable-block-reuse"],
            "trtllm-serve meta-llama/Llama-3.1-8B --max_batch_size 2048 --max_num_tokens 8192 "
            "--max_seq_len 8192 --kv_cache_free_gpu_memory_fraction 0.9 --extra_llm_api_options "
            "config.yaml",
        ),
        (
            ["--engine", "llama.cpp", "--weights-dtype", "q4_k_m", "-ngl", "20", "-ctk", "q8_0",
             "-c", "16384", "-np", "2"],
            "llama-server -m /path/to/Llama-3.1-8B-Q4_K_M.gguf -ngl 20 -c 16384 -np 2 -ctk q8_0",
        ),
    ],
)  # fmt: skip
def test_commands_repeat_the_flags(
    capsys: pytest.CaptureFixture[str], words: list[str], command: str
) -> None:
    code, out, err = run(capsys, *words, "--format", "json")
    assert (code, err) == (0, "")
    engine = json.loads(out)["engine"]
    assert engine["command"] == command
    assert engine["name"] == words[1]


@pytest.mark.parametrize("format", ["text", "json", "markdown", "html", "csv"])
def test_a_file_that_the_command_reads_stands_beside_it(
    capsys: pytest.CaptureFixture[str], format: str
) -> None:
    words = ("--engine", "tensorrt-llm", "--kv-cache-dtype", "fp8", "--format", format)
    code, out, err = run(capsys, *words)
    assert (code, err) == (0, "")
    text = json.loads(out)["engine"]["config_file"] if format == "json" else out
    assert "kv_cache_config:\n  dtype: fp8\n" in text


def test_text_says_what_the_engine_does(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "--engine", "transformers", "--concurrency", "4")
    assert (code, err) == (0, "")
    assert "transformers 5.23.0" in out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--mem-fraction-static", "0.8"], "--mem-fraction-static is a flag of --engine sglang"),
        (
            ["--engine", "vllm", "--n-gpu-layers", "3"],
            "--n-gpu-layers is a flag of --engine llama.cpp",
        ),
        (["--engine", "sglang", "--max-loras", "2"], "--max-loras is a flag of --engine vllm"),
        (
            ["--engine", "sglang", "--mem-fraction-static", "1.5"],
            "static must be below 1",
        ),
        (
            ["--engine", "sglang", "--chunked-prefill-size", "999999999999"],
            "max_num_batched_tokens must be at most 16,777,216",
        ),
        (["--engine", "sglang", "--engine-version", "0.2"], "SGLang 0.2 is not described"),
        (  # kv_cache_types in llama.cpp's common/arg.cpp
            ["--engine", "llama.cpp", "-ctk", "nvfp4"],
            "llama.cpp has no cache type nvfp4; choose one of f32, f16, bf16, q8_0, q5_1, q5_0, "
            "q4_1, q4_0, iq4_nl\n",
        ),
    ],
)
def test_mistakes_are_one_sentence(
    capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "setting"),
    [
        (["vllm", "--max-model-len", "8k"], "max_model_len"),
        (["sglang", "--context-length", "8k"], "max_model_len"),
        (["llama.cpp", "--weights-dtype", "q8_0", "-c", "8k"], "ctx_size"),
    ],
)
def test_lengths_may_be_written_short(
    words: list[str], setting: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["plan", "--model", "llama-3.1-8b", "--gpu", "h100-sxm5-80gb", "--format", "json"]
    assert main([*flags, "--engine", *words]) == 0
    found = json.loads(capsys.readouterr().out)["engine"]
    assert found["settings"][setting] == 8192
    assert "8192" in found["command"]
