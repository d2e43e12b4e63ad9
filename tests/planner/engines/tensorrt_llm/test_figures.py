"""TensorRT-LLM: a fraction of what is free, in blocks of 32 tokens."""

import pytest

from planner.deployment import Deployment
from planner.engines.remedies import with_remedies
from planner.engines.tensorrt_llm.figures import tensorrt_llm_figures
from planner.engines.tensorrt_llm.options import TensorrtLlmOptions
from planner.hardware import gpu_with_memory
from planner.units import GIB
from planner.workload import Workload
from presets.gpus import load_gpu
from tests.planner.models import DEEPSEEK_V3, GEMMA_3_27B, JAMBA, LLAMA_8B, model

H100 = load_gpu("h100-sxm5-80gb")
TINY_LLAMA = {
    **LLAMA_8B,
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 22,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "vocab_size": 32000,
    "max_position_embeddings": 2048,
}


def test_pool_of_a_log() -> None:
    """116,617 blocks of 32: 3,731,744 tokens in 78.30 GiB, 65 blocks for 2,051 tokens (Triton
    tutorials issue 150; TinyLlama's 22,528 B a token)."""
    options = TensorrtLlmOptions(max_tokens=116617 * 32 + 31, max_seq_len=2051)
    found = tensorrt_llm_figures(
        model(TINY_LLAMA), load_gpu("h200-sxm-141gb"), Deployment(), options
    )
    assert found.num_blocks == 116617
    assert found.kv_cache_tokens == 3731744
    assert found.blocks_per_request == 65
    assert found.log_lines == (
        "Max KV cache blocks per sequence: 65 [window size=2051], tokens per block=32, "
        "primary blocks=116617, secondary blocks=0",
        "[MemUsageChange] Allocated 78.30 GiB for max tokens in paged KV cache (3731744).",
    )


def test_fraction_is_of_what_is_left() -> None:
    small = tensorrt_llm_figures(model(LLAMA_8B), H100, Deployment(), TensorrtLlmOptions())
    spent = sum(part.bytes for part in small.components.values())
    assert small.kv_cache.bytes == int((H100.memory_bytes - spent) * 0.9)
    assert small.num_blocks == small.kv_cache.bytes // 131072 // 32
    more = gpu_with_memory(H100, H100.memory_bytes + 10 * GIB)
    larger = tensorrt_llm_figures(model(LLAMA_8B), more, Deployment(), TensorrtLlmOptions())
    assert larger.kv_cache.bytes - small.kv_cache.bytes == pytest.approx(9 * GIB, abs=2)


def test_heads_are_priced_below_one_a_rank() -> None:
    """8 KV heads on 16 ranks: priced at half a head, allocated as one."""
    deployment = Deployment(tensor_parallel_size=16)
    options = TensorrtLlmOptions(free_gpu_memory_fraction=0.45)
    found = tensorrt_llm_figures(model(LLAMA_8B), H100, deployment, options)
    assert found.refused is None
    assert found.num_blocks == found.kv_cache.bytes // (32 * 2 * 128 * 2 // 2) // 32
    assert any("2.0 times" in note for note in found.notes)


def test_a_pool_beyond_its_price_and_the_memory_is_refused() -> None:
    """0.9 of what is free, priced at half of what it takes, is 1.8 times what is free."""
    deployment = Deployment(tensor_parallel_size=16)
    found = with_remedies(
        "tensorrt-llm",
        TensorrtLlmOptions(),
        lambda options: tensorrt_llm_figures(model(LLAMA_8B), H100, deployment, options),
    )
    free = H100.memory_bytes - sum(part.bytes for part in found.components.values())
    assert found.num_blocks == found.requests == 0
    assert f"{1.8 * free / GIB:.1f}" in (found.refused or "")
    assert f" GiB of {free / GIB:.2f} free; lower" in (found.refused or "")
    assert found.remedies == ("--kv_cache_free_gpu_memory_fraction 0.5",)


def test_latents_are_not_divided() -> None:
    deployment = Deployment(tensor_parallel_size=16, kv_cache_dtype="fp8")
    found = tensorrt_llm_figures(
        model(DEEPSEEK_V3), load_gpu("h200-sxm-141gb"), deployment, TensorrtLlmOptions()
    )
    assert found.num_blocks == found.kv_cache.bytes // (61 * 576) // 32
    assert found.config_file == "kv_cache_config:\n  dtype: fp8\n"
    assert found.start == (
        f"cat > config.yaml <<'EOF'\nkv_cache_config:\n  dtype: fp8\nEOF\n{found.command}"
    )


def test_windows_are_cached_in_full() -> None:
    found = tensorrt_llm_figures(
        model(GEMMA_3_27B), H100, Deployment(weights_dtype="fp8"), TensorrtLlmOptions()
    )
    assert found.num_blocks == found.kv_cache.bytes // (62 * 8192) // 32
    assert any("Windows" in note for note in found.notes)


def test_states_of_a_full_batch_are_set_aside() -> None:
    jamba = model(JAMBA, max_position_embeddings=262144)
    deployment = Deployment(tensor_parallel_size=8)
    gpu = load_gpu("h100-sxm5-80gb")
    few = tensorrt_llm_figures(jamba, gpu, deployment, TensorrtLlmOptions(max_batch_size=1))
    many = tensorrt_llm_figures(jamba, gpu, deployment, TensorrtLlmOptions(max_batch_size=65))
    # 28 Mamba layers: conv (8192, 3) in bf16 and state (8192, 16) in fp32, an eighth each.
    state = 28 * (8192 * 3 * 2 + 8192 * 16 * 4) // 8
    assert few.kv_cache.bytes - many.kv_cache.bytes == 64 * state


def test_a_model_too_large_is_refused() -> None:
    found = tensorrt_llm_figures(model(DEEPSEEK_V3), H100, Deployment(), TensorrtLlmOptions())
    assert found.refused is not None
    assert found.refused.startswith("Out of memory")
    assert (found.num_blocks, found.requests, found.log_lines) == (0, 0, ())


def test_requests_reuse_blocks_of_a_prefix() -> None:
    work = Workload(context=8192, shared_prefix_tokens=4096)
    found = tensorrt_llm_figures(model(LLAMA_8B), H100, Deployment(), TensorrtLlmOptions(), work)
    assert found.requests == (found.num_blocks - 128) // 128
    alone = tensorrt_llm_figures(
        model(LLAMA_8B), H100, Deployment(), TensorrtLlmOptions(enable_block_reuse=False), work
    )
    assert alone.requests == alone.num_blocks // 256


def test_command() -> None:
    found = tensorrt_llm_figures(
        model(LLAMA_8B), H100, Deployment(tensor_parallel_size=2),
        TensorrtLlmOptions(max_seq_len=16384), name="meta-llama/Llama-3.1-8B",
    )  # fmt: skip
    assert found.command == (
        "trtllm-serve meta-llama/Llama-3.1-8B --tp_size 2 --max_batch_size 2048 "
        "--max_num_tokens 8192 --max_seq_len 16384 --kv_cache_free_gpu_memory_fraction 0.9"
    )
