"""Start-up logs from public threads and files: what they print, beside what is predicted.

data/public_logs.json holds the few lines, their address, and what is known of the deployment. Rows
that a record names as `apart` depend on something its text does not say; `note` says what of a
record was worked out.
"""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from planner.deployment import Deployment
from planner.engines.engine import EngineFigures
from planner.engines.llama_cpp.figures import llama_cpp_figures
from planner.engines.llama_cpp.options import LlamaCppOptions
from planner.engines.logs import compare, read_log
from planner.engines.sglang.figures import sglang_figures
from planner.engines.sglang.options import SglangOptions
from planner.engines.tensorrt_llm.figures import tensorrt_llm_figures
from planner.engines.tensorrt_llm.options import TensorrtLlmOptions
from planner.engines.vllm.figures import vllm_figures
from planner.engines.vllm.options import VllmOptions
from planner.engines.vllm.versions import rules_of
from planner.hardware import gpu_with_memory
from planner.hf_config import parse
from planner.units import GIB, MIB
from presets.gpus import load_gpu
from presets.models import load_model_config

RECORDS = json.loads((Path(__file__).parents[1] / "data" / "public_logs.json").read_text())
BY_ID = {record["id"]: record for record in RECORDS}
PLANNED = [
    r
    for r in RECORDS
    if r["engine"] == "vllm"
    and rules_of(r["options"]["version"]).since(10)
    and {"kv_cache"} <= set(read_log("\n".join(r["lines"])).sizes)
    and {"tokens"} <= set(read_log("\n".join(r["lines"])).counts)
]


def config_of(record: dict[str, Any]) -> dict[str, Any]:
    config = copy.deepcopy(load_model_config(record["preset"])) | record.get("set", {})
    for part in ("text_config", "vision_config"):
        config.get(part, {}).update(record.get(part, {}))
    return config


def with_cache(record: dict[str, Any], size: float) -> EngineFigures:
    """The pool of so many bytes. Weights of a checkpoint that the record does not say are those of
    a small one: they are no part of the pool, and would leave no room for it."""
    deployment = record["deployment"]
    if "kv_cache" in record.get("apart", []):
        deployment = {**deployment, "weights_dtype": "int4"}
    return figures_of({**record, "deployment": deployment}, kv_cache_memory_bytes=int(size))


def figures_of(record: dict[str, Any], **more: Any) -> EngineFigures:
    config = config_of(record)
    parsed = parse(copy.deepcopy(config), record["id"])
    gpu = gpu_with_memory(load_gpu(record["gpu"]), int(record["memory_gib"] * GIB))
    deployment, given = Deployment(**record["deployment"]), record["options"] | more
    if record["engine"] == "vllm":
        return vllm_figures(parsed, gpu, deployment, VllmOptions(**given), config=config)
    if record["engine"] == "sglang":
        return sglang_figures(parsed, gpu, deployment, SglangOptions(**given), config=config)
    if record["engine"] == "llama.cpp":
        return llama_cpp_figures(parsed, gpu, deployment, LlamaCppOptions(**given), config=config)
    options = TensorrtLlmOptions(**given)
    return tensorrt_llm_figures(parsed, gpu, deployment, options, config=config)


def read(record: dict[str, Any]) -> Any:
    return read_log("\n".join(record["lines"]))


@pytest.mark.parametrize("name", BY_ID)
def test_a_public_log_lies_within_the_stated_ranges(name: str) -> None:
    record = BY_ID[name]
    reading = read(record)
    assert reading.engine == record["engine"]
    rows = compare(reading, figures_of(record))
    assert rows
    apart = [row.name for row in rows if not row.within_range]
    assert apart == record.get("apart", [])


@pytest.mark.parametrize("record", PLANNED, ids=[record["id"] for record in PLANNED])
def test_printed_memory_gives_the_printed_tokens(record: dict[str, Any]) -> None:
    """The memory is printed to 0.01 GiB: the tokens lie between those of its two ends."""
    reading = read(record)
    memory, counts = reading.sizes["kv_cache"], reading.counts
    low, high = (with_cache(record, memory.value + side * memory.half_digit) for side in (-1, 1))
    assert low.kv_cache_tokens <= counts["tokens"].value <= high.kv_cache_tokens
    if "blocks" in counts:
        assert low.num_blocks <= counts["blocks"].value <= high.num_blocks
    if "concurrency" in counts:
        assert low.max_concurrency - 0.005 <= counts["concurrency"].value
        assert counts["concurrency"].value <= high.max_concurrency + 0.005


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("qwen36-35b-nvfp4-mtp-gb10", 5_747_892),
        ("qwen35-35b-fp8-gb10", 729_696),
        ("qwen3next-tp2-h200", 973_760),
    ],
)
def test_hybrid_models_give_the_printed_tokens_to_the_digit(name: str, tokens: int) -> None:
    """Their blocks are so large that the printed memory leaves one number."""
    memory = read(BY_ID[name]).sizes["kv_cache"].value
    assert with_cache(BY_ID[name], memory).kv_cache_tokens == tokens


@pytest.mark.parametrize(
    ("name", "weights_mib", "cache_mib"),
    [("qwen3-4b-llamacpp", 2375.91, 1152), ("llama32-3b-llamacpp", 1918.36, 224)],
)
def test_llama_cpp_buffers_to_the_digit(name: str, weights_mib: float, cache_mib: float) -> None:
    found = figures_of(BY_ID[name])
    assert found.components["weights"].bytes / MIB == pytest.approx(weights_mib, abs=0.006)
    assert found.kv_cache.bytes == cache_mib * MIB


def test_full_and_window_caches_are_added() -> None:
    assert read(BY_ID["gptoss120b-llamacpp"]).sizes["kv_cache"].value == 2340 * MIB
    assert figures_of(BY_ID["gptoss120b-llamacpp"]).kv_cache.bytes == 2340 * MIB


def test_tensorrt_llm_pages_hold_the_printed_tokens() -> None:
    record = BY_ID["kimi-k25-trtllm"]
    found, counts = figures_of(record), read(record).counts
    per_token = found.kv_cache.bytes / found.kv_cache_tokens
    assert counts["tokens"].value == 32 * counts["blocks"].value
    assert counts["tokens"].value * per_token / GIB == pytest.approx(166.02, abs=0.01)
