"""Start-up logs: every printed figure read as the records have it, and laid beside a plan."""

import json
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from planner.deployment import Deployment
from planner.engines.engine import EngineFigures
from planner.engines.logs import compare, explanation, largest, read_log
from planner.engines.logs.calibrate import calibrate
from planner.engines.sglang.figures import sglang_figures
from planner.engines.sglang.options import SglangOptions
from planner.engines.vllm.figures import vllm_figures
from planner.engines.vllm.options import VllmOptions
from planner.errors import PlanRefused
from planner.units import GIB, MIB
from presets.gpus import load_gpu
from tests.planner.models import LLAMA_8B, model

LOGS = Path(__file__).parents[4] / "shared" / "truth" / "engine_logs.jsonl"
H100 = load_gpu("h100-sxm5-80gb")
TODAY = date(2026, 11, 23)
REPORTED = {
    "weights_gib_per_gpu": ("sizes", "weights", GIB),
    "consumed_weights_plus_nontorch_gib": ("sizes", "consumed", GIB),
    "activation_peak_gib": ("sizes", "activation", GIB),
    "non_torch_gib": ("sizes", "non_torch", GIB),
    "kv_available_gib": ("sizes", "kv_cache", GIB),
    "cudagraph_gib": ("sizes", "cuda_graphs", GIB),
    "cudagraph_est_gib": ("sizes", "cuda_graphs_estimate", GIB),
    "total_gpu_memory_gib": ("sizes", "total", GIB),
    "free_gpu_memory_gib": ("sizes", "free", GIB),
    "kv_tokens": ("counts", "tokens", 1),
    "gpu_blocks": ("counts", "blocks", 1),
    "max_concurrency": ("counts", "concurrency", 1),
    "max_concurrency_len": ("counts", "max_model_len", 1),
}
OTHER_RANKS = {
    "v0-dsv25-tp8pp2-a100-40",
    "v1-qwen3vl-235b-fp8-tp8ep",
    "llmd-llama-31-8b-instruct-tp1pp2-8192",
}
"""Records of the first rank, where the log has a fuller one: the reader takes that."""
LLAMA_LOG = """
INFO [api_server.py:1] vLLM API server version 0.19.0
INFO [gpu_worker.py:284] init: free_memory=78.68GiB, total_memory=79.19GiB
INFO Model loading took 14.99 GiB memory and 5.0 seconds
INFO Available KV cache memory: 53.91 GiB
INFO GPU KV cache size: 441,632 tokens
INFO Maximum concurrency for 16,000 tokens per request: 27.60x
INFO Free memory on device (78.68/79.19 GiB) on startup. Desired GPU memory utilization is \
(0.9, 71.27 GiB). Actual usage is 14.99 GiB for weight, 2.13 GiB for peak activation, \
0.24 GiB for non-torch memory, and 0.91 GiB for CUDAGraph memory.
"""


def llama(version: str = "0.19.0", **options: Any) -> EngineFigures:
    return vllm_figures(
        model(LLAMA_8B), H100, Deployment(),
        VllmOptions(version=version, max_model_len=16000, **options),
    )  # fmt: skip


def test_figures_of_every_record_are_read() -> None:
    if not LOGS.exists():
        pytest.skip("the shared start-up logs are not here")
    same: Counter[str] = Counter()
    for record in map(json.loads, LOGS.open()):
        try:
            found = read_log("\n".join(record["verbatim_lines"]))
        except PlanRefused:
            continue
        same[found.engine] += 1
        for name, (part, field, unit) in REPORTED.items():
            expected = record["reported"].get(name)
            figure = getattr(found, part).get(field)
            if expected is None or figure is None or record["id"] in OTHER_RANKS:
                continue
            near = max(0.006, 1e-3 * abs(expected))
            assert abs(figure.value / unit - expected) <= near, (record["id"], name, figure)
            same[name] += 1
    assert (same["vllm"], same["sglang"], same["llama.cpp"]) == (83, 6, 7)
    assert same["kv_available_gib"] >= 77
    assert same["weights_gib_per_gpu"] >= 66
    assert same["kv_tokens"] >= 63
    assert same["activation_peak_gib"] >= 50


def test_a_whole_log_is_laid_beside_its_plan() -> None:
    found = read_log(LLAMA_LOG)
    assert (found.engine, found.version, found.utilisation) == ("vllm", "0.19.0", 0.9)
    rows = {row.name: row for row in compare(found, llama())}
    assert set(rows) == {
        "weights", "activation", "non_torch", "cuda_graphs", "kv_cache", "requested", "tokens",
        "concurrency",
    }  # fmt: skip
    assert rows["weights"].logged == pytest.approx(14.99 * GIB)
    assert rows["weights"].within_range
    assert abs(rows["kv_cache"].share) < 0.02
    assert rows["tokens"].logged == 441632
    assert rows["kv_cache"].line.endswith("53.91 GiB")


def test_the_largest_difference_is_explained() -> None:
    text = LLAMA_LOG.replace("14.99 GiB", "17.99 GiB")
    rows = compare(read_log(text), llama())
    row = largest(rows)
    assert row is not None
    assert row.name == "weights"
    assert row.difference == pytest.approx(3 * GIB, abs=0.01 * GIB)
    sentence = explanation(rows)
    assert sentence.startswith("Furthest off: Weights, of which the log has 3.0")
    assert "outside the stated range" in sentence
    assert "quantisation" in sentence


def test_a_cache_that_no_printed_size_explains_is_said_to() -> None:
    """Weights differ by their last digit; the cache is 5 GiB short for a reason not in the log."""
    text = LLAMA_LOG.replace("53.91", "48.91").replace("441,632", "400,656")
    sentence = explanation(compare(read_log(text), llama()))
    assert sentence.startswith("The cache is ")
    assert "smaller than predicted" in sentence
    assert "no size that the log prints beside it accounts for that" in sentence


def test_a_cache_within_its_range_is_not_passed_over_for_weights_that_agree() -> None:
    """54.15 GiB are predicted; a log of few lines says neither more nor why."""
    text = "Model loading took 14.99 GiB memory\nAvailable KV cache memory: 53.91 GiB"
    rows = compare(read_log(text), llama())
    assert all(row.within_range for row in rows)
    sentence = explanation(rows)
    assert sentence.startswith("The cache is 243.1")
    assert "smaller than predicted (-0.4 %), and no size that the log prints" in sentence
    assert sentence.endswith("No figure is outside its range.")


def test_a_calibration_repeats_the_log() -> None:
    """Applied to the plan that it was read beside, it gives the log's own cache."""
    text = LLAMA_LOG.replace("2.13 GiB", "3.13 GiB").replace("53.91", "52.91")
    reading = read_log(text)
    figures = llama()
    found = calibrate(reading, figures, TODAY)
    assert dict(found.differences)["activation"] == pytest.approx(
        3.13 * GIB - figures.bytes_of("activation"), abs=1
    )
    moved = reading.bytes_of("requested")
    assert moved is not None
    expected = 52.91 * GIB - (moved - figures.budget_bytes)
    assert found.kv_cache_bytes(figures) == pytest.approx(expected, abs=2)
    assert found.label == "calibrated by a start-up log of vLLM, 2026-11-23"
    longer = llama(max_num_seqs=256)
    assert found.kv_cache_bytes(longer) == longer.kv_cache.bytes - found.total_bytes


def test_sglang_prints_gb_and_means_gib() -> None:
    text = """
    Load weight begin. avail mem=78.46 GB
    Load weight end. type=LlamaForCausalLM, dtype=torch.bfloat16, avail mem=63.43 GB
    KV Cache is allocated. #tokens: 413572, K size: 25.24 GB, V size: 25.24 GB
    """
    found = read_log(text)
    assert found.engine == "sglang"
    figures = sglang_figures(model(LLAMA_8B), H100, Deployment(), SglangOptions())
    rows = {row.name: row for row in compare(found, figures)}
    assert rows["weights"].logged == pytest.approx(15.03 * GIB, abs=0.01 * GIB)
    assert rows["kv_cache"].logged == pytest.approx(50.48 * GIB)
    assert rows["kv_cache"].share == pytest.approx(0, abs=0.001)
    assert rows["tokens"].difference == pytest.approx(0, abs=400)


def test_llama_cpp_prints_mib() -> None:
    found = read_log(
        "load_tensors:        CUDA0 model buffer size =  4403.49 MiB\n"
        "llama_kv_cache: size = 1024.00 MiB (  8192 cells,  32 layers,  1/1 seqs), "
        "K (f16):  512.00 MiB, V (f16):  512.00 MiB\n"
        "llama_context:      CUDA0 compute buffer size =   258.50 MiB\n"
    )
    assert found.engine == "llama.cpp"
    assert found.bytes_of("kv_cache") == 1024 * MIB
    assert found.bytes_of("weights") == round(4403.49 * MIB)
    assert found.counts["tokens"].value == 8192


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "no start-up log"),
        ("", "no start-up log"),
        ("vllm says nothing of use", "known here"),
        ("x" * 4_000_001, "longer than"),
    ],
)
def test_other_text_is_refused_in_a_sentence(text: str, message: str) -> None:
    with pytest.raises(PlanRefused, match=message):
        read_log(text)


def test_a_log_of_another_engine_names_it() -> None:
    with pytest.raises(PlanRefused, match="choose sglang as the engine"):
        compare(read_log("Load weight begin. avail mem=78.43 GB"), llama())


def test_the_engines_refusal_is_kept() -> None:
    found = read_log(
        "Load weight end. quant=fp8, avail mem=12.25 GB, mem usage=125.65 GB.\n"
        "ValueError: Loaded weights leave no GPU memory for the KV cache under "
        "--mem-fraction-static=0.88."
    )
    assert found.refused is not None
    assert found.refused.startswith("ValueError: Loaded weights leave no GPU memory")


def test_lines_of_different_starts_are_told_apart() -> None:
    """10 GiB hold 81,920 tokens of 131,072 B, not the 441,632 of a cache of 53.91 GiB."""
    mixed = LLAMA_LOG.replace("53.91", "10.00")
    rows = {row.name: row for row in compare(read_log(mixed), llama())}
    assert not rows["tokens"].within_range
    assert rows["tokens"].contradicted
    text = explanation(tuple(rows.values()))
    assert "24,313 B a token, where the plan takes 131,0" in text
    whole = compare(read_log(LLAMA_LOG), llama())
    assert not any(row.contradicted for row in whole)
    small = LLAMA_LOG.replace("53.91", "10.00").replace("441,632", "81,920")
    assert not any(row.contradicted for row in compare(read_log(small), llama()))


def test_no_recorded_start_contradicts_itself() -> None:
    if not LOGS.exists():
        pytest.skip("the shared start-up logs are not here")
    compared = 0
    for record in map(json.loads, LOGS.open()):
        alike = record["model"] == "meta-llama/Llama-3.1-8B-Instruct" and record["tp"] == 1
        if not alike or record["pp"] != 1 or record["kv_dtype"] != "auto(bf16)":
            continue
        try:
            rows = compare(read_log("\n".join(record["verbatim_lines"])), llama())
        except PlanRefused:
            continue
        compared += any(row.name == "kv_cache" for row in rows)
        assert not any(row.contradicted for row in rows), record["id"]
    assert compared
