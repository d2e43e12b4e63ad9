"""The command line's contract."""

import json
from pathlib import Path

import pytest

from cli import main
from presets.models import load_model_config
from tests.planner.models import LLAMA_8B

PLAN = ["plan", "--model", "llama-3.1-8b", "--gpu", "h100-sxm5-80gb"]


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    try:
        status = main(list(arguments))
    except SystemExit as stop:
        status = int(str(stop.code))
    captured = capsys.readouterr()
    assert status == 2
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_inspect_answers_in_order_and_goes_on_after_a_bad_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad, deep, huge = (tmp_path / n for n in ("good", "bad", "deep", "huge"))
    good.write_text(json.dumps(LLAMA_8B))
    bad.write_text('{"model_type": "llama"')
    deep.write_text("[" * 5000 + "]" * 5000)
    huge.write_text('{"model_type": "llama", "x": "' + "a" * (10 * 2**20) + '"}')
    sources = [str(p) for p in (bad, good, deep, huge, tmp_path / "none")]
    found = json.loads(answer(capsys, "inspect", *sources, "--format", "json"))
    assert [entry["source"] for entry in found] == sources
    assert found[3]["reason"].startswith("this has more than 4,194,304 bytes")
    assert [e["status"] for e in found] == ["refused", "ok", "refused", "refused", "refused"]
    assert "not valid JSON" in found[0]["reason"]
    ok = found[1]
    assert ok["parameters"]["total"] == 8_030_261_248
    assert ok["parameters"]["embedding"] == 128256 * 4096
    assert ok["parameters"]["parts"]["feed_forward"] == 32 * 3 * 4096 * 14336
    assert round(ok["shares"]["feed-forward"], 3) == 0.702
    assert ok["layers"] == {"full": 32}
    assert ok["kv_cache"]["bytes_per_token"] == 131072
    assert ok["kv_cache"]["bytes_at"]["8192"] == 2**30
    assert ok["kv_cache"]["state_bytes"] == 0


def test_inspect_says_where_the_parameters_are(capsys: pytest.CaptureFixture[str]) -> None:
    said = answer(capsys, "inspect", "llama-2-7b-hf")
    assert "of which    feed-forward 64.2 %, attention 31.9 %, embedding and head 3.9 %\n" in said


def test_inspect_of_nothing_but_unknown_names_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "'nonsense' is not among the model presets" in complaint(capsys, "inspect", "nonsense")
    both = complaint(capsys, "inspect", "nonsense", "./none.json", "--format", "json")
    assert "nonsense" in both
    assert "./none.json: there is no such file" in both
    assert "refused" in answer(capsys, "inspect", "nonsense", "llama-3.1-8b")
    assert "it has no config.json" in answer(capsys, "inspect", str(tmp_path), "nonsense")
    assert main(["inspect", "--exit-code", "nonsense", "llama-3.1-8b"]) == 1
    assert main(["inspect", "--exit-code", "llama-3.1-8b"]) == 0


def test_a_folder_without_a_configuration_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = complaint(capsys, "plan", "--model", str(tmp_path), "--gpu", "l4")
    assert said.endswith(f"{tmp_path}: it has no config.json\n")


def test_layers_of_a_feed_forward_part_alone_are_said_to_lack_a_mixer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nemotron-H writes one letter a layer: M Mamba-2, * attention, - an MLP and nothing else."""
    name = "nemotron-nano-9b-v2"
    pattern = load_model_config(name)["hybrid_override_pattern"]
    counts = [pattern.count(letter) for letter in "M-*"]
    words = "{} Mamba-2, {} without a mixer, {} full".format(*counts)
    assert f"layers      {words}" in answer(capsys, "inspect", name)
    plan = " ".join(answer(capsys, "plan", "--model", name, "--gpu", "l40s").split())
    assert f"layers: {words}" in plan
    found = json.loads(answer(capsys, "inspect", name, "--format", "json"))[0]
    assert found["layers"] == dict(zip(("mamba2", "none", "full"), counts, strict=True))


def test_plan_has_the_contract_s_fields(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(answer(capsys, *PLAN, "--concurrency", "4", "--format", "json"))
    assert found["kv_cache"]["bytes"] == 4 * 2**30
    assert found["kv_cache"]["bytes_per_gpu"] == 4 * 2**30
    assert found["weights"]["bytes"] == found["weights"]["bytes_per_gpu"] == 16_060_522_496
    assert found["gpu"]["memory_bytes"] - found["total_bytes_per_gpu"] == found["headroom_bytes"]
    assert found["fits"] is True
    assert {"score_matrix_bytes", "flash_workspace_bytes"} <= found["attention"].keys()
    expected = {"schema_version", "model", "parameters", "activations", "overheads"}
    expected |= {"max_context_tokens", "max_concurrency", "findings", "derivation"}
    assert expected <= found.keys()
    assert {"label", "formula", "substitution", "bytes"} <= found["derivation"][0].keys()
    assert {"severity", "code", "message"} <= found["findings"][0].keys()


@pytest.mark.parametrize("fmt", ["text", "json", "markdown", "csv"])
def test_every_format_says_the_same_total(fmt: str, capsys: pytest.CaptureFixture[str]) -> None:
    total = json.loads(answer(capsys, *PLAN, "--format", "json"))["total_bytes_per_gpu"]
    text = answer(capsys, *PLAN, "--format", fmt)
    shown = f"{total / 2**30:,.2f} GiB" if fmt == "text" else str(total)
    assert shown in text or f"{total:,}" in text


@pytest.mark.parametrize("fmt", ["text", "markdown"])
def test_a_length_beyond_the_model_s_is_said_to_be_memory_s(
    fmt: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Llama-3.1-8B states 131,072 positions; an H100 has bytes for more."""
    longest = json.loads(answer(capsys, *PLAN, "--format", "json"))["max_context_tokens"]
    said = f"{longest:,} tokens in memory; the model states 131,072"
    assert said in answer(capsys, *PLAN, "--format", fmt)


def test_text_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    for model in ("llama-3.1-8b", "deepseek-v3", "gemma-3-27b-it"):
        text = answer(capsys, "plan", "--model", model, "--gpu", "l40s")
        assert max(len(line) for line in text.splitlines()) <= 78


def test_full_hub_id_and_path_name_the_same_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(LLAMA_8B))
    rest = ["--gpu", "rtx-4090", "--format", "json"]
    totals = {
        json.loads(answer(capsys, "plan", "--model", name, *rest))["total_bytes_per_gpu"]
        for name in ("llama-3.1-8b", "meta-llama/Llama-3.1-8B", str(file), str(tmp_path))
    }
    assert len(totals) == 1


def test_gpus_alone_means_tensor_parallel(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(answer(capsys, *PLAN, "--gpus", "4", "--format", "json"))
    assert found["deployment"]["tensor_parallel_size"] == 4
    half = ["--pipeline-parallel-size", "2", "--gpus", "4"]
    found = json.loads(answer(capsys, *PLAN, *half, "--format", "json"))
    assert found["deployment"]["tensor_parallel_size"] == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tensor-parallel-size", "3"], "does not divide num_attention_heads"),
        (["--gpus", "8", "--tensor-parallel-size", "4"], "contradicts"),
        (["--gpus", "0"], "at least 1"),
        (["--gpus", "3", "-pp", "2"], "cannot be split into 2 equal parts"),
        (["--context", "0"], "context"),
        (["--context", "many"], "no number of tokens"),
        (["--context", "-8k"], "context must be at least 1, not -8,192"),
        (["--concurrency", "-3"], "concurrency must be at least 1, not -3"),
        (
            ["--conc", "3"],
            "'--conc': did you mean --context or --concurrency?",
        ),
        (["--quantization", "fp8"], "'--quantization': did you mean --weights-dtype?"),
        (["--tp", "4"], "did you mean --tensor-parallel-size?"),
        (["--users=8"], "did you mean --concurrency?"),
        (["--isl", "8k"], "did you mean --prompt-tokens or --context?"),
        (["--engine", "ollama"], "ollama runs llama.cpp, with defaults of its own"),
        (["--concurrency", "-1"], "concurrency"),
        (["--weights-dtype", "banana"], "banana"),
        (["--kv-cache-dtype", "banana"], "banana"),
        (["--gpu-memory-bytes", "-5"], "positive"),
        (["--shared-prefix-tokens", "9000"], "longer than the context"),
        (["--format", "pdf"], "invalid choice"),
        (["--what"], "python -m planner plan: unrecognized argument '--what'; --help lists"),
        (["extra"], "unrecognized argument 'extra'"),
        (["--concurrency", "2k"], "'2k' is no whole number"),
        (["--gpu-memory-bytes", "9" * 400], "is too large"),
        (["--engine", "vllm", "--kv-offloading-size", "inf"], "is too large"),
        (["--engine", "vllm", "--gpu-memory-utilization", "nan"], "'nan' is no number"),
        (["--engine", "vllm", "--gpu-memory-utilization", "0"], "must be above 0, not 0"),
        (
            [
                "--engine",
                "vllm",
                "--speculative-config",
                '{"method": "ngram", "num_speculative_tokens": "0"}',
            ],
            "must be at least 1, not '0'",
        ),
        (["--engine", "vllm", "--engine-version", "0.1"], "choose the nearest of these"),
        (["--prompt-tokens", "100"], "--prompt-tokens are what beams share: add --beam-width"),
        (["--calibration", "nowhere.json"], "nowhere.json: it cannot be read: no such file"),
        (["--calibration", "tests"], "tests: it cannot be read: is a directory"),
        (["--calibration", "README.md"], "README.md: this is no JSON"),
    ],
)
def test_one_line_of_complaint(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in complaint(capsys, *PLAN, *arguments)


@pytest.mark.parametrize(
    ("model", "gpu", "words"),
    [
        ("llama-3.1-8", "h100-sxm5-80gb", "llama-3.1-8b"),
        ("llama-3.1-8b", "h100", "h100-sxm5-80gb"),
        ("llama-3.1-8b", "NVIDIA H100", "h100-sxm5-80gb"),
        ("llama-3.1-8b", "NVIDIA L40X", "Close in name: l40"),
        ("x" * 5000, "l40s", f"'{'x' * 80}' is not among the model presets"),
        ("./missing.json", "h100-sxm5-80gb", "no such file"),
        ("llama-3.1-8b", "custom", "--gpu-memory-bytes"),
    ],
)
def test_unknown_names_suggest_known_ones(
    model: str, gpu: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in complaint(capsys, "plan", "--model", model, "--gpu", gpu)


@pytest.mark.parametrize("gpu", ["NVIDIA L40S", "L40S", "l40s"])
def test_a_card_may_be_named_as_programs_name_it(
    gpu: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "on L40S" in answer(capsys, "plan", "--model", "llama-3.1-8b", "--gpu", gpu)


def test_tokens_in_units_of_1024(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(answer(capsys, *PLAN, "--context", "32k", "--format", "json"))
    assert found["workload"]["context"] == 32768


def test_a_short_model_is_planned_at_its_own_length(capsys: pytest.CaptureFixture[str]) -> None:
    gpt2 = ["plan", "--model", "gpt2-medium", "--gpu", "t4"]
    found = json.loads(answer(capsys, *gpt2, "--format", "json"))
    assert found["workload"]["context"] == 1024
    assert "has only 1,024 positions" in answer(capsys, *gpt2, "--context", "8192")


def test_exit_code_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    too_large = ["plan", "--model", "llama-3.1-70b", "--gpu", "l4"]
    assert main(too_large) == 0
    assert main([*too_large, "--exit-code"]) == 1
    assert main([*PLAN, "--exit-code"]) == 0
    assert main(["plan", "--model", "gpt2-medium", "--gpu", "l4", "--context", "4k", "--exit-code"])


def test_bytes_that_fit_a_card_without_kernels_are_no_answer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["plan", "--model", "llama-3.1-8b", "--gpu", "a100-sxm4-80gb"]
    assert main([*words, "--kv-cache-dtype", "nvfp4", "--exit-code"]) == 1
    first = " ".join(capsys.readouterr().out.split("Model ")[0].split())
    assert first == (
        "Fits in the memory of A100-SXM4-80GB, but no engine runs it: A100-SXM4-80GB has no "
        "kernels for a nvfp4 cache."
    )
    assert main([*words, "--exit-code"]) == 0


@pytest.mark.parametrize(
    ("kind", "text", "name"),
    [
        ("models", "qwen3-8b", "Qwen/Qwen3-8B"),
        ("heads", "gpt-oss", "eagle3  lmsys/EAGLE3-gpt-oss-120b-bf16"),
        ("gpus", "h200", "139.80 GiB"),
        ("formats", "q4_k", "q4_k_m"),
    ],
)
def test_lists_names(kind: str, text: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert name in answer(capsys, "list", kind, text)


def test_a_list_without_a_match_is_a_complaint(capsys: pytest.CaptureFixture[str]) -> None:
    said = complaint(capsys, "list", "models", "zzz")
    assert "none of the models has 'zzz' in its name" in said


@pytest.mark.parametrize("name", ["a" * 300, "", "weights.safetensors"])
def test_references_that_are_no_configuration(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if name.endswith("safetensors"):
        (tmp_path / name).write_bytes(b"0" * 100)
        name = str(tmp_path / name)
    complaint(capsys, "plan", "--model", name, "--gpu", "l4")


def test_no_command_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert "choose one of inspect, plan" in complaint(capsys)


def test_quantisation_in_a_file_beside_the_configuration_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As ModelOpt writes Llama-3.1-70B-Instruct-FP8: a byte for all but norms and the tables.

    70,553,706,496 parameters, of which 2 x 128,256 x 8,192 and 161 x 8,192 stay in 16 bits.
    """
    config = load_model_config("llama-3.1-70b")
    (tmp_path / "config.json").write_text(json.dumps(config))
    quantised = {
        "producer": {"name": "modelopt", "version": "0.23.0"},
        "quantization": {
            "quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"],
        },
    }  # fmt: skip
    (tmp_path / "hf_quant_config.json").write_text(json.dumps(quantised))
    kept = 2 * 128256 * 8192 + 161 * 8192
    for given in (tmp_path, tmp_path / "config.json"):
        out = answer(
            capsys, "plan", "--model", str(given), "--gpu", "h200-sxm-141gb", "--format", "json"
        )
        found = json.loads(out)
        assert found["weights"]["bytes"] == pytest.approx(70_553_706_496 + kept, abs=16 * 560)
        assert found["kv_cache"]["dtype"] == "fp8"
