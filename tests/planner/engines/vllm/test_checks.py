"""What a version of vLLM does not take is refused in a sentence; what it does is not."""

import json
from typing import Any

import pytest

from cli import main
from planner.deployment import Deployment
from planner.engines.vllm.figures import vllm_figures
from planner.engines.vllm.options import VllmOptions
from planner.errors import PlanRefused
from planner.hf_config import parse
from presets.gpus import load_gpu
from presets.models import load_model_config

CARD = "h100-sxm5-80gb"
B200 = ("--gpu", "b200-sxm-180gb")


def plan(
    capsys: pytest.CaptureFixture[str], model: str, *words: str, gpu: str = CARD
) -> tuple[dict[str, Any], str]:
    """The engine's part and the verdict; the refusal's sentence where there is none."""
    main(["plan", "--model", model, "--gpu", gpu, "--engine", "vllm", *words, "--format", "json"])
    out, err = capsys.readouterr()
    if err:
        assert len(err.strip().splitlines()) == 1
        return {}, err
    found = json.loads(out)
    return found["engine"], found["verdict"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--kv-cache-dtype", "q8_0"], "kv_cache_dtype q8_0: vLLM 0.33.0 has no such cache"),
        (["--kv-cache-dtype", "nvfp4", "--engine-version", "0.8.5", *B200], "0.20 has it"),
        (["--kv-cache-dtype", "nvfp4"], "H100-SXM5-80GB has no kernels for a nvfp4 cache"),
        (["--context-parallel-size", "2"], "not described with a prefill ring"),
        (["--gpu", "apple-m2-ultra"], "by the vllm-metal plugin, with which it is not described"),
        (["--gpu", "v100-sxm2-32gb"], "(compute capability 7.0, 7.5 needed), which older versions"),
        (["--gpu", "p40"], "on Tesla P40 (compute capability 6.1, 7.5 needed); choose llama.cpp"),
        (["--gpu", "p40", "--engine-version", "0.8.5"], "(compute capability 6.1, 7.0 needed)"),
        (["--kv-cache-dtype", "fp32"], "no such cache"),
        (["--kv-cache-dtype", "int8", "--engine-version", "0.15.1"], "0.20 has it"),
        (["--max-model-len", "200000"], "beyond the 131,072 tokens"),
        (["--max-num-seqs", "9000"], "must be at least max_num_seqs"),
        (["--block-size", "8"], "a multiple of 16"),
        (["--block-size", "48", "--engine-version", "0.15.1"], "one of 16, 32"),
        (["--block-size", "48", "--engine-version", "0.17.1"], "one of 16, 32, 64, 128, 256"),
        (["--block-size", "256", "--engine-version", "0.11.0"], "one of 16, 32, 64, 128 "),
        (["--max-loras", "1", "--max-lora-rank", "7"], "; 8 holds adapters of rank 7 too"),
        (["--max-loras", "1", "--max-lora-rank", "513"], "takes 1, 8, 16, 32, 64, 128, 256, 320"),
        (["--max-loras", "1", "--max-lora-rank", "1", "--engine-version", "0.8.5"], "takes 8, 16"),
        (["--kv-cache-dtype", "fp8_e5m2", "--weights-dtype", "fp8"], "not take it with fp8 weight"),
        (
            ["--mamba-ssm-cache-dtype", "bfloat16", "--engine-version", "0.21.0"],
            "mamba_ssm_cache_dtype bfloat16: vLLM 0.21.0 has no such state (0.22 has it)",
        ),
        (["--mamba-cache-dtype", "float32", "--engine-version", "0.9.1"], "has no such flag"),
    ],
)
def test_refused_values(capsys: pytest.CaptureFixture[str], words: list[str], why: str) -> None:
    engine, sentence = plan(capsys, "llama-3.1-8b", *words)
    assert not engine
    assert why in sentence


@pytest.mark.parametrize(
    "words",
    [
        ["--kv-cache-dtype", "fp8", "--engine-version", "0.8.5"],
        ["--kv-cache-dtype", "bf16", "--engine-version", "0.8.5"],
        ["--kv-cache-dtype", "nvfp4", *B200],
        ["--block-size", "48"],
        ["--max-loras", "1", "--max-lora-rank", "320"],
        ["--max-model-len", "131072"],
        ["--max-num-seqs", "9000", "--max-num-batched-tokens", "16384"],
    ],
)
def test_taken_values(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    engine, _ = plan(capsys, "llama-3.1-8b", *words)
    assert engine["name"] == "vllm"


def test_the_models_own_cache_dtype_is_no_flag(capsys: pytest.CaptureFixture[str]) -> None:
    engine, _ = plan(capsys, "llama-3.1-8b", "--kv-cache-dtype", "bf16")
    assert "--kv-cache-dtype" not in engine["command"]


def test_fewer_tokens_than_sequences_lower_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    engine, _ = plan(capsys, "llama-3.1-8b", "--max-num-batched-tokens", "512")
    assert engine["settings"]["max_num_seqs"] == 512


@pytest.mark.parametrize(("version", "does"), [("0.33.0", "falls back"), ("0.8.5", "refuses")])
def test_bfloat16_runs_as_half_on_a_t4(
    capsys: pytest.CaptureFixture[str], version: str, does: str
) -> None:
    engine, _ = plan(capsys, "qwen3-0.6b", "--engine-version", version, gpu="t4")
    assert "--dtype half" in engine["command"]
    assert any(does in note and "8.0" in note for note in engine["notes"])
    _, sentence = plan(capsys, "gemma-3-4b-it", gpu="t4")
    assert "has no bfloat16" in sentence
    main(["plan", "--model", "qwen3-0.6b", "--gpu", "t4"])
    assert "bf16 needs compute capability 8.0" in capsys.readouterr().out


def test_a_context_beyond_the_length_is_compared_at_the_length(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("--max-model-len", "1024", "--context", "32768")
    engine, verdict = plan(capsys, "llama-3.1-8b", *words)
    assert f"at most {engine['requests']:,} sequences of 1,024 tokens" in verdict
    assert "you asked for 32,768" in verdict


def test_without_a_length_vllm_assumes_2048(capsys: pytest.CaptureFixture[str]) -> None:
    engine, _ = plan(capsys, "mamba-2.8b-hf", "--context", "1024")
    assert engine["settings"]["max_model_len"] == 2048
    assert any("assumes 2,048" in note for note in engine["notes"])


@pytest.mark.parametrize(
    ("engine", "words", "why"),
    [
        ("sglang", ["--kv-cache-dtype", "q8_0"], "SGLang has no such cache"),
        ("tensorrt-llm", ["--kv-cache-dtype", "int8"], "TensorRT-LLM has no such cache"),
        ("tensorrt-llm", ["--kv-cache-dtype", "fp8_e5m2"], "fp8_e5m2: TensorRT-LLM has no such"),
        ("llama.cpp", ["--kv-cache-dtype", "fp8"], "llama.cpp has no cache type fp8"),
        ("transformers", ["--kv-cache-dtype", "fp8"], "transformers keeps the model's dtype"),
        ("sglang", ["--context-length", "200000"], "beyond the 131,072 tokens"),
    ],
)
def test_other_engines_refuse_too(
    capsys: pytest.CaptureFixture[str], engine: str, words: list[str], why: str
) -> None:
    main(["plan", "--model", "llama-3.1-8b", "--gpu", CARD, "--engine", engine, *words])
    assert why in capsys.readouterr().err


@pytest.mark.parametrize(
    ("engine", "asked", "flag"),
    [
        ("vllm", "fp8_e5m2", "--kv-cache-dtype fp8_e5m2"),
        ("vllm", "fp8_e4m3", "--kv-cache-dtype fp8"),
        ("sglang", "fp8_e5m2", "--kv-cache-dtype fp8_e5m2"),
        ("sglang", "fp8", "--kv-cache-dtype fp8_e4m3"),
    ],
)
def test_the_fp8_that_was_asked_for_is_printed(
    capsys: pytest.CaptureFixture[str], engine: str, asked: str, flag: str
) -> None:
    main(["plan", "--model", "llama-3.1-8b", "--gpu", CARD, "--engine", engine,
          "--kv-cache-dtype", asked, "--format", "json"])  # fmt: skip
    found = json.loads(capsys.readouterr().out)["engine"]
    assert f"{found['command']} ".count(f"{flag} ") == 1
    assert found["kv_cache"]["bytes"] / found["kv_cache_tokens"] == pytest.approx(65_536, rel=1e-3)


@pytest.mark.parametrize(
    ("options", "last_without", "first_with"),
    [
        ({"kv_offloading_size": 8.0}, "0.11.0", "0.12.0"),
        ({"kv_cache_memory_bytes": 2**33}, "0.9.1", "0.10.2"),
        ({"runner": "pooling"}, "0.9.1", "0.10.2"),
        ({"disable_hybrid_kv_cache_manager": True}, "0.8.5", "0.9.1"),
        ({"speculative_config": {"method": "suffix", "num_speculative_tokens": 3}},
         "0.11.0", "0.12.0"),
    ],
)  # fmt: skip
def test_flags_are_refused_before_their_version(
    options: dict[str, Any], last_without: str, first_with: str
) -> None:
    """As the argument parsers of the published packages have them."""
    card, llama = load_gpu(CARD), parse(load_model_config("llama-3.1-8b"))
    small = {"max_model_len": 4096, **options}
    with pytest.raises(PlanRefused, match=next(iter(options))):
        vllm_figures(llama, card, Deployment(), VllmOptions(version=last_without, **small))
    assert vllm_figures(llama, card, Deployment(), VllmOptions(version=first_with, **small)).command


@pytest.mark.parametrize(
    ("weights", "version", "package"),
    [
        ("nf4", "0.27.1", None),
        ("nf4", "0.28.0", "vllm-bnb-plugin"),
        ("q4_k_m", "0.23.0", None),
        ("q4_k_m", "0.24.0", "vllm-gguf-plugin"),
        ("fp8", "0.33.0", None),
    ],
)
def test_formats_that_left_vllm_name_their_package(
    weights: str, version: str, package: str | None
) -> None:
    llama = parse(load_model_config("llama-3.1-8b"))
    found = vllm_figures(
        llama, load_gpu(CARD), Deployment(weights_dtype=weights), VllmOptions(version=version)
    )
    named = [note for note in found.notes if "package of its own" in note]
    assert bool(named) is (package is not None)
    assert package is None or package in named[0]


@pytest.mark.parametrize(("dtype", "tokens"), [("auto", 320), ("float32", 576)])
def test_the_dtype_of_states_is_that_of_its_flag(
    capsys: pytest.CaptureFixture[str], dtype: str, tokens: int
) -> None:
    """Qwen3-Next over 4 ranks: states of 8 x 128 x 128 and 3 x 2048 in bfloat16, which blocks of
    1,024 bytes a token cover with 268 tokens, or 524; in steps of 64 on Hopper."""
    words = ["--mamba-ssm-cache-dtype", dtype, "--tensor-parallel-size", "4"]
    engine, _ = plan(capsys, "qwen3-next-80b-a3b-thinking", *words)
    assert engine["block_size"] == tokens
    assert ("--mamba-ssm-cache-dtype float32" in engine["command"]) == (dtype == "float32")
