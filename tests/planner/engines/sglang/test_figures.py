"""SGLang: its own fractions by card, and what its start-up logs printed."""

import json
from pathlib import Path
from typing import Any

import pytest

from planner.deployment import Deployment
from planner.engines.logs import read_log
from planner.engines.sglang.figures import sglang_figures
from planner.engines.sglang.fraction import of_card, reserved_mib
from planner.engines.sglang.options import SglangOptions, max_running_requests, resolve
from planner.engines.sglang.pool import Cell, cell_of, make_pool
from planner.errors import PlanRefused
from planner.formats.dtypes import kv_format
from planner.hardware import gpu_with_memory
from planner.hf_config import parse
from planner.kv_cache import whole
from planner.units import GIB, MIB
from planner.workload import Workload
from presets.gpus import load_gpu
from presets.models import load_model_config
from tests.planner.models import DEEPSEEK_V3, GEMMA_3_27B, JAMBA, LLAMA_8B, model

LOGS = Path(__file__).parents[5] / "shared" / "truth" / "engine_logs.jsonl"
H100 = load_gpu("h100-sxm5-80gb")


@pytest.mark.parametrize(
    ("memory_mib", "tp", "fraction"),
    [
        (15360, 1, 0.757),  # T4
        (24564, 1, 0.72),  # RTX 4090
        (40960, 1, 0.833),  # A100-40
        (81920, 1, 0.836),  # A100-80
        (81559, 1, 0.835),  # H100
        (81559, 8, 0.818),
        (143771, 1, 0.907),  # H200
        (143771, 8, 0.897),
        (183359, 1, 0.857),  # B200
    ],
)
def test_fraction_of_a_card_is_sglangs_own(memory_mib: int, tp: int, fraction: float) -> None:
    chunk, graphs = of_card(memory_mib, tp)
    reserved = reserved_mib(memory_mib, chunk, graphs, tp)
    assert round((memory_mib - reserved) / memory_mib, 3) == fraction


def test_fraction_reaches_the_server_from_the_presets() -> None:
    for gpu_id, fraction in (("t4", 0.757), ("rtx-4090", 0.72), ("b200-sxm-180gb", 0.857)):
        found = resolve(model(LLAMA_8B), load_gpu(gpu_id), Deployment(), SglangOptions())
        assert found.mem_fraction_static == pytest.approx(fraction, abs=0.001)


@pytest.mark.parametrize(
    ("tokens", "layers", "kv_heads", "width", "size_gib"),
    [(367404, 94, 1, 128, 8.23), (38141, 32, 8, 128, 2.33), (104273, 28, 8, 128, 5.57)],
)
def test_keys_of_logged_pools(
    tokens: int, layers: int, kv_heads: int, width: int, size_gib: float
) -> None:
    """Qwen3-235B TP4 (vllm issue 21348), Llama-3.1-8B, Qwen3-0.6B: K alone, in GiB."""
    config = {**LLAMA_8B, "num_hidden_layers": layers, "num_key_value_heads": kv_heads,
              "num_attention_heads": 32, "head_dim": width}  # fmt: skip
    cell = cell_of(whole(model(config)), kv_format("bf16"), Deployment())
    assert round(tokens * cell.full / 2 / GIB, 2) == pytest.approx(size_gib, abs=0.011)


@pytest.mark.parametrize(
    ("before_gib", "after_gib", "fraction", "cell", "logged"),
    [
        (191.33, 176.33, 0.88, 131072, 1256440),  # Llama-3.1-8B on MI300X, 0.3
        (78.49, 62.08, 0.85, 98304, 549277),  # Qwen3-30B-A3B, 32 experts on the GPU
        (22.39, 7.37, 0.88, 131072, 38141),  # Llama-3.1-8B on 24 GB
    ],
)
def test_pools_of_logs_from_free_memory(
    before_gib: float, after_gib: float, fraction: float, cell: int, logged: int
) -> None:
    """Free memory is printed to 0.01 GiB, which is 82 tokens of these cells and more."""
    left = int((after_gib - before_gib * (1 - fraction)) * GIB)
    pool = make_pool(left, Cell(cell), 0, SglangOptions(), model(LLAMA_8B))
    assert pool.tokens == pytest.approx(logged, rel=0.006)


def test_llama_on_24_gb_prints_what_it_printed() -> None:
    """22.39 GiB free and a fraction of 0.879: 38,141 tokens, 2048 requests."""
    gpu = gpu_with_memory(H100, int((22.39 + 0.73) * GIB))
    found = sglang_figures(
        model(LLAMA_8B), gpu, Deployment(),
        SglangOptions(mem_fraction_static=0.879, chunked_prefill_size=2048),
    )  # fmt: skip
    assert found.refused is None
    assert found.kv_cache_tokens == pytest.approx(38141, rel=0.01)
    assert found.bytes_of("weights") + found.bytes_of("non_torch") == pytest.approx(
        15.02 * GIB, abs=0.02 * GIB
    )
    assert found.kv_cache.bytes // 131072 == found.kv_cache_tokens
    assert "max_running_requests=2048, context_len=131072" in found.log_lines[-1]
    assert found.outside_budget["request_table"].bytes == 4 * 2048 * (131072 + 4)


def test_running_requests_by_pool() -> None:
    """tokens / length x 512, from 2,048 to 4,096, and at most half the tokens (model_runner)."""
    assert max_running_requests(38141, 131072) == 2048
    assert max_running_requests(1256440, 131072) == 4096
    assert max_running_requests(100, 131072) == 50


def test_weights_that_leave_nothing_are_refused_with_the_fraction_they_need() -> None:
    """DeepSeek-V4-Pro, 8 x H200: 125.65 of 137.90 GiB at 0.88 (InferenceX 2128)."""
    gpu = gpu_with_memory(load_gpu("h200-sxm-141gb"), 40 * GIB)
    found = sglang_figures(
        model(LLAMA_8B), gpu, Deployment(), SglangOptions(mem_fraction_static=0.3)
    )
    assert found.refused is not None
    assert "no GPU memory for the KV cache under --mem-fraction-static=0.3" in found.refused
    assert found.kv_cache_tokens == 0
    assert found.requests == 0


def test_too_large_a_model_runs_out_of_memory_while_loading() -> None:
    found = sglang_figures(model(DEEPSEEK_V3), H100, Deployment(), SglangOptions())
    assert found.refused is not None
    assert found.refused.startswith("CUDA out of memory while loading")


def test_latents_are_whole_on_every_rank() -> None:
    cell = cell_of(whole(model(DEEPSEEK_V3)), kv_format("bf16"), Deployment(tensor_parallel_size=8))
    assert cell.full == 61 * 576 * 2


def test_sliding_layers_get_their_share_of_the_tokens() -> None:
    gemma = model(GEMMA_3_27B)
    cell = cell_of(whole(gemma), kv_format("bf16"), Deployment())
    assert (cell.full, cell.sliding) == (10 * 8192, 52 * 8192)
    pool = make_pool(10 * GIB, cell, 0, SglangOptions(), gemma)
    assert pool.tokens == 10 * GIB // (81920 + int(0.8 * 425984))
    assert pool.sliding_tokens == int(0.8 * pool.tokens)
    spent = pool.tokens * cell.full + pool.sliding_tokens * cell.sliding
    assert spent <= 10 * GIB
    alike = make_pool(10 * GIB, cell, 0, SglangOptions(disable_hybrid_swa_memory=True), gemma)
    assert (alike.tokens, alike.sliding_tokens) == (10 * GIB // (62 * 8192), 0)


def test_both_pools_are_printed_and_read_back() -> None:
    gemma = model(GEMMA_3_27B)
    found = sglang_figures(gemma, load_gpu("h200-sxm-141gb"), Deployment(), SglangOptions())
    read = read_log("\n".join(found.log_lines))
    assert sum("KV Cache is allocated" in line for line in found.log_lines) == 2
    assert read.bytes_of("kv_cache") == pytest.approx(found.kv_cache.bytes, abs=0.03 * GIB)
    assert read.counts["tokens"].value == found.kv_cache_tokens


def test_a_vision_tower_takes_its_share() -> None:
    """SigLIP of Gemma 3: 27 x 1152^2 is 1.42 of ViT-L, so 0.95 x (1 - 0.042) of 0.835."""
    config = {"vision_config": {"num_hidden_layers": 27, "hidden_size": 1152}}
    gemma = model(GEMMA_3_27B)
    found = resolve(gemma, H100, Deployment(), SglangOptions(), config)
    assert found.mem_fraction_static == pytest.approx(0.7596, abs=0.0002)
    given = SglangOptions(mem_fraction_static=0.8)
    assert resolve(gemma, H100, Deployment(), given, config).mem_fraction_static == 0.8


def test_states_take_their_fixed_share() -> None:
    """0.9 states to 1 of cache: 47.4 % of the memory, one slot as padding."""
    pool = make_pool(19 * GIB, Cell(16384), 10 * MIB, SglangOptions(), model(JAMBA))
    assert pool.states_bytes == 9 * GIB
    assert pool.states == 9 * GIB // (10 * MIB) - 1
    assert pool.tokens == 10 * GIB // 16384
    jamba = model(JAMBA, max_position_embeddings=262144)
    deployment = Deployment(tensor_parallel_size=2)
    work = Workload(context=64)
    found = sglang_figures(jamba, load_gpu("h200-sxm-141gb"), deployment, SglangOptions(), work)
    # Mamba-1, 28 layers: conv (8192, 4 - 1) in bf16 and state (8192, 16) in fp32, halved.
    slot = 28 * (8192 * 3 * 2 + 8192 * 16 * 4) // 2
    share = found.components["states"].bytes
    assert found.requests == (share - slot) // slot // 3


def test_layers_without_a_cache_are_refused() -> None:
    mamba = parse(load_model_config("mamba-2.8b-hf"))
    with pytest.raises(PlanRefused, match="cache none"):
        sglang_figures(mamba, H100, Deployment(), SglangOptions(context_length=8192))


def test_drafting_layers_grow_the_cell() -> None:
    """One EAGLE layer on 32: the pool shrinks to 32/33."""
    base = sglang_figures(model(LLAMA_8B), H100, Deployment(), SglangOptions())
    drafter = model({**LLAMA_8B, "num_hidden_layers": 1})
    options = SglangOptions(
        speculative_algorithm="EAGLE", speculative_draft_model_path="drafter",
        speculative_num_draft_tokens=4,
    )  # fmt: skip
    with_draft = sglang_figures(model(LLAMA_8B), H100, Deployment(), options, draft=drafter)
    left = base.kv_cache.bytes - with_draft.bytes_of("draft_weights")
    assert with_draft.kv_cache_tokens == left // (131072 * 33 // 32)
    with pytest.raises(PlanRefused, match="needs --speculative-draft-model-path"):
        sglang_figures(
            model(LLAMA_8B), H100, Deployment(), SglangOptions(speculative_algorithm="EAGLE3")
        )


def test_requests_share_a_prefix_through_the_radix_cache() -> None:
    work = Workload(context=8192, shared_prefix_tokens=4096)
    found = sglang_figures(model(LLAMA_8B), H100, Deployment(), SglangOptions(), work)
    alone = sglang_figures(
        model(LLAMA_8B), H100, Deployment(), SglangOptions(disable_radix_cache=True), work
    )
    assert found.requests == (found.kv_cache_tokens - 4096) // 4096
    assert alone.requests == alone.kv_cache_tokens // 8192


def test_no_more_tokens_than_are_allowed() -> None:
    """--max-total-tokens lowers the pool, in whole pages, and never lifts it."""
    for limit, tokens in ((1000, 992), (10**9, 10 * GIB // 131072)):
        options = SglangOptions(max_total_tokens=limit, page_size=32)
        pool = make_pool(10 * GIB, Cell(131072), 0, options, model(LLAMA_8B))
        assert pool.tokens == tokens // 32 * 32


def test_one_gpu_needs_no_flags_of_parallelism() -> None:
    found = sglang_figures(model(LLAMA_8B), H100, Deployment(), SglangOptions(), name="a/model")
    assert found.command == "python -m sglang.launch_server --model-path a/model"


def test_command_counts_all_gpus_as_tp() -> None:
    deployment = Deployment(
        tensor_parallel_size=2, data_parallel_size=4, enable_expert_parallel=True,
        kv_cache_dtype="fp8",
    )  # fmt: skip
    found = sglang_figures(
        model(DEEPSEEK_V3), load_gpu("h200-sxm-141gb"),
        deployment, SglangOptions(), name="deepseek-ai/DeepSeek-V3",
    )  # fmt: skip
    assert found.command == (
        "python -m sglang.launch_server --model-path deepseek-ai/DeepSeek-V3 --tp-size 8 "
        "--attn-dp-size 4 --ep-size 8 --kv-cache-dtype fp8_e4m3"
    )


@pytest.mark.parametrize(
    ("version", "graphs", "cache", "attention"),
    [
        ("0.5.10", "--cuda-graph-max-bs 64", "fp4_e2m1", "--dp-size 2 --enable-dp-attention"),
        ("0.5.14", "--cuda-graph-max-bs-decode 64", "fp4_e2m1", "--enable-dp-attention"),
        ("0.5.20", "--cuda-graph-max-bs-decode 64", " nvfp4", "--enable-dp-attention"),
        ("0.5.23", "--cuda-graph-max-bs-decode 64", " nvfp4", "--attn-dp-size 2"),
    ],
)
def test_flags_have_the_names_of_the_version(
    version: str, graphs: str, cache: str, attention: str
) -> None:
    """As the argument parsers of these published packages have them."""
    found = sglang_figures(
        model(LLAMA_8B), load_gpu("b200-sxm-180gb"),
        Deployment(data_parallel_size=2, kv_cache_dtype="nvfp4"),
        SglangOptions(version=version, cuda_graph_max_bs=64),
    )  # fmt: skip
    assert graphs in found.command
    assert cache in found.command
    assert attention in found.command


def test_every_logged_pool_has_the_cell_of_its_model() -> None:
    if not LOGS.exists():
        pytest.skip("the shared start-up logs are not here")
    records: list[dict[str, Any]] = [json.loads(line) for line in LOGS.open()]
    seen = 0
    for record in records:
        reported = record["reported"]
        if "sglang" not in record["engine"] or not reported.get("sglang_k_gb"):
            continue
        known = {"llama3-8b": "llama-3.1-8b", "qwen3-0.6b": "qwen3-0.6b",
                 "qwen3-30b-a3b": "qwen3-30b-a3b"}  # fmt: skip
        if record["model_cfg_key"] not in known:
            continue
        cell = cell_of(
            whole(parse(load_model_config(known[record["model_cfg_key"]]))),
            kv_format("bf16"),
            Deployment(),
        )
        keys = reported["kv_tokens"] * cell.full / 2 / GIB
        assert keys == pytest.approx(reported["sglang_k_gb"], abs=0.011)
        seen += 1
    assert seen == 3


@pytest.mark.parametrize(("name", "mib"), [("llama-3.1-8b", 400), ("deepseek-v2-lite", 1536)])
def test_prefill_graphs_may_lower_a_fraction_that_nobody_gave(name: str, mib: int) -> None:
    """server_args keeps 8 MiB for each of some 50 sizes, 1.5 GiB for latents."""
    found = parse(load_model_config(name))
    own = sglang_figures(found, H100, Deployment(), SglangOptions())
    fraction = own.settings["mem_fraction_static"]
    given = sglang_figures(found, H100, Deployment(), SglangOptions(mem_fraction_static=fraction))
    assert own.kv_cache.bytes == given.kv_cache.bytes
    assert given.kv_cache.low_bytes - own.kv_cache.low_bytes == mib * MIB


def test_a_refused_plan_has_no_cache_below_nothing() -> None:
    """70 B of parameters in 16 bits are more than one H100 has."""
    found = parse(load_model_config("llama-3.1-70b"))
    for options in (SglangOptions(), SglangOptions(mem_fraction_static=0.9)):
        cache = sglang_figures(found, H100, Deployment(), options).kv_cache
        assert (cache.low_bytes, cache.bytes) == (0, 0)
