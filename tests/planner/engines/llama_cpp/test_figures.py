"""llama.cpp: buffers of its start-up logs, layers on devices, what it refuses."""

from typing import Any

import pytest

from planner.deployment import Deployment
from planner.engines.llama_cpp.buffers import cells, compute_bytes, devices
from planner.engines.llama_cpp.figures import Placement, llama_cpp_figures
from planner.engines.llama_cpp.options import LlamaCppOptions
from planner.errors import PlanRefused
from planner.formats.quantization import assign
from planner.hf_config import parse
from planner.units import MIB
from planner.workload import Workload
from presets.gpus import load_gpu
from presets.models import load_model_config
from tests.planner.models import DEEPSEEK_V3, GEMMA_3_27B, JAMBA, LLAMA_8B, model

H100 = load_gpu("h100-sxm5-80gb")
RTX_4090 = load_gpu("rtx-4090")
ONE = {"parallel": 1}


def placed(config: dict[str, Any], weights: str = "bf16", **flags: Any) -> Placement:
    found = parse(config)
    return Placement(found, assign(found, weights), Deployment(), LlamaCppOptions(**flags))


def llama(layers: int, hidden: int, heads: int, kv_heads: int, **more: Any) -> dict[str, Any]:
    return {
        **LLAMA_8B, "num_hidden_layers": layers, "hidden_size": hidden,
        "num_attention_heads": heads, "num_key_value_heads": kv_heads, **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("config", "context", "cache_type", "size_mib"),
    [
        (load_model_config("mistral-7b-v0.1"), 8192, "f16", 1024.0),  # OpenHermes-2.5-Mistral-7B
        (llama(94, 4096, 64, 4, head_dim=128), 4096, "f16", 752.0),  # Qwen3-235B
        (llama(26, 3200, 32, 32), 2048, "f16", 650.0),  # OpenLLaMA-3B
        (llama(36, 2048, 16, 2), 4096, "f16", 144.0),  # Qwen2.5-3B
        (llama(60, 6656, 52, 52), 512, "f32", 1560.0),  # LLaMA-30B
        (llama(60, 8192, 128, 8), 2048, "f32", 480.0),  # Falcon-40B
        (DEEPSEEK_V3, 32768, "q8_0", 1166.62),  # DeepSeek-R1, latent only
    ],
)
def test_caches_of_logs(
    config: dict[str, Any], context: int, cache_type: str, size_mib: float
) -> None:
    found = placed(config, cache_type_k=cache_type, cache_type_v=cache_type, **ONE)
    assert found.cache(0, context) / MIB == pytest.approx(size_mib, abs=0.006)


def test_old_files_expand_latents() -> None:
    """DeepSeek-V2-Lite: 276,480 B a token in files that predate MLA in llama.cpp."""
    config = load_model_config("deepseek-v2-lite")
    expanded = placed(config, mla_cache="expanded", **ONE)
    assert expanded.cache(0, 4096) == 276480 * 4096
    latent = placed(config, **ONE)
    assert latent.cache(0, 4096) == 27 * 576 * 2 * 4096
    both = placed(config, mla_cache="latent+values", **ONE)
    assert both.cache(0, 4096) == 27 * (576 + 512) * 2 * 4096


def test_compute_buffers_of_logs() -> None:
    """Qwen2.5-3B 300.75 MiB with flash attention; Mistral-7B at 256 tokens without it 280 MiB."""
    qwen = parse(llama(36, 2048, 16, 2, vocab_size=151936, intermediate_size=11008))
    size = compute_bytes(qwen, 4096, LlamaCppOptions(), with_output=True)
    assert round(size / MIB, 2) == 300.75
    mistral = parse(llama(32, 4096, 32, 8, vocab_size=32002))
    options = LlamaCppOptions(flash_attn=False, ubatch_size=256)
    size = compute_bytes(mistral, 8192, options, with_output=True)
    assert size / MIB == pytest.approx(280, rel=0.03)


def test_blocks_are_dealt_from_the_end() -> None:
    """The output counts as a layer and goes first: N + 1 put all N blocks on the GPU."""
    assert devices(4, None, 1) == [0] * 5
    assert devices(4, 4, 1) == [-1, 0, 0, 0, 0]
    assert devices(4, 1, 1) == [-1, -1, -1, -1, 0]
    assert devices(4, 0, 1) == [-1] * 5
    assert devices(5, 99, 2) == [0, 0, 0, 1, 1, 1]
    assert devices(7, 5, 2) == [-1, -1, -1, 0, 0, 0, 1, 1]


def test_weights_on_cpu_and_gpu_are_the_whole_file() -> None:
    """A tied table is loaded for input and output."""
    for config, flags in (
        (LLAMA_8B, {"n_gpu_layers": 10}),
        (DEEPSEEK_V3, {"n_cpu_moe": 20}),
        (DEEPSEEK_V3, {"cpu_moe": True, "n_gpu_layers": 30}),
        (GEMMA_3_27B, {}),
    ):
        found = placed(config, "q4_k_m", **flags)
        stored = sum(assign(parse(config), "q4_k_m").bytes_by_format().values())
        again = found.front if config.get("tie_word_embeddings") else 0
        assert found.weights(-1) + found.weights(0) == stored + again


def test_experts_stay_with_the_cpu() -> None:
    """DeepSeek-V3 has experts from block 3 on: 256 x 3 x 7168 x 2048 each, at 2 bytes."""
    whole, kept = placed(DEEPSEEK_V3), placed(DEEPSEEK_V3, n_cpu_moe=5)
    experts = 256 * 3 * 7168 * 2048 * 2
    assert whole.weights(0) - kept.weights(0) == 2 * experts
    assert kept.weights(-1) - whole.weights(-1) == 2 * experts
    assert kept.cache(0, 4096) == whole.cache(0, 4096)


def test_windows_keep_their_tokens_and_one_micro_batch() -> None:
    one = LlamaCppOptions(parallel=1)
    assert cells(32768, 1024, one) == 1536
    assert cells(1024, 1024, one) == 1024
    shared = LlamaCppOptions()
    assert cells(32768, 1024, shared) == 4 * 1024 + 512
    apart = LlamaCppOptions(parallel=4)
    assert cells(32768, 1024, apart) == 4 * 1536
    assert cells(32768, 1024, LlamaCppOptions(swa_full=True)) == 32768
    gemma = placed(GEMMA_3_27B, **ONE)
    assert gemma.cache(0, 32768) == 8192 * (10 * 32768 + 52 * 1536)


@pytest.mark.parametrize(
    ("name", "context", "full", "windows"),
    [
        ("phi-3-mini-4k-instruct", 4096, 32 * 2 * 32 * 96 * 2 * 4096, 0),
        ("starcoder2-15b", 16384, 40 * 2 * 4 * 128 * 2 * 16384, 0),
        ("gpt-oss-20b", 131072, 3072 * MIB, 18 * MIB),  # as logged: 131,072 and 768 cells
        ("gemma-2-9b", 8192, 21 * 2 * 8 * 256 * 2 * 8192, 21 * 2 * 8 * 256 * 2 * 4608),
        (
            "llama-4-scout-17b-16e-instruct", 32768,
            12 * 2 * 8 * 128 * 2 * 32768, 36 * 2 * 8 * 128 * 2 * 8704,
        ),
    ],
)  # fmt: skip
def test_windows_are_those_of_llama_cpps_architectures(
    name: str, context: int, full: int, windows: int
) -> None:
    """phi3.cpp and starcoder2.cpp of 2026 keep every token; the others a window and 512 more."""
    assert placed(load_model_config(name), **ONE).cache(0, context) == full + windows


def test_exaone4_has_windows_at_64_layers_alone() -> None:
    """exaone4.cpp of 2026: swa_type is set `if n_layer == 64`; 2 x 8 x 128 x 2 B a layer."""
    config = {
        "model_type": "exaone4", "hidden_size": 5120, "num_attention_heads": 40,
        "num_key_value_heads": 8, "intermediate_size": 27392, "vocab_size": 102400,
        "head_dim": 128, "sliding_window": 4096, "sliding_window_pattern": "LLLG",
        "max_position_embeddings": 131072, "tie_word_embeddings": False,
    }  # fmt: skip
    whole = placed({**config, "num_hidden_layers": 64}, **ONE).cache(0, 32768)
    assert whole == 4096 * (16 * 32768 + 48 * 4608)
    assert placed({**config, "num_hidden_layers": 32}, **ONE).cache(0, 32768) == 4096 * 32 * 32768


def test_a_window_is_the_one_that_the_file_names() -> None:
    """conversion/mimo.py writes MiMo-V2's sliding_window of 128, of which transformers' class makes
    129 (sliding_window_size + 1): 4 slots of 128 and a micro-batch of 512 are 1,024 cells for 39
    layers of 8 heads of 192 + 128; 9 layers of 4 keep everything."""
    config = load_model_config("mimo-v2-flash")
    found = model(config)
    one = Placement(
        found, assign(found, "bf16"), Deployment(weights_dtype="bf16"), LlamaCppOptions(), config
    )
    each = 2 * (192 + 128)
    assert one.cache(0, 32768) == each * (9 * 4 * 32768 + 39 * 8 * 1024)


def test_windows_that_are_not_used_are_said_and_unknown_ones_refused() -> None:
    phi = model(load_model_config("phi-3-mini-4k-instruct"))
    found = llama_cpp_figures(phi, H100, Deployment(), LlamaCppOptions())
    assert any("uses no windows" in note for note in found.notes)
    with pytest.raises(PlanRefused, match="windows of cwm"):
        placed({**LLAMA_8B, "model_type": "cwm"})


def test_states_are_fp32_for_every_slot() -> None:
    found = placed(JAMBA, parallel=3)
    mamba = 28 * 4 * (8192 * 3 + 8192 * 16)
    assert found.cache(0, 768) == 4 * 4096 * 768 + 3 * mamba


def test_context_is_fitted_to_the_card() -> None:
    """Llama-3.1-8B in Q8_0 on 24 GB does not hold 131,072 tokens of f16 beside its weights."""
    found = llama_cpp_figures(
        model(LLAMA_8B), RTX_4090, Deployment(weights_dtype="q8_0"), LlamaCppOptions()
    )
    assert found.refused is None
    spent = sum(part.bytes for part in found.components.values()) + found.kv_cache.bytes
    assert 0 <= RTX_4090.memory_bytes - 2**30 - spent < 131072 * 256
    assert found.kv_cache_tokens < 131072
    assert any("--fit shortens" in note for note in found.notes)
    short = llama_cpp_figures(
        model(LLAMA_8B), H100, Deployment(weights_dtype="q4_k_m"), LlamaCppOptions()
    )
    assert short.kv_cache_tokens == 131072


def test_a_context_that_was_asked_for_is_refused_where_it_does_not_fit() -> None:
    """With -ngl nothing may be moved to the CPU."""
    options = LlamaCppOptions(ctx_size=131072, parallel=2, n_gpu_layers=99)
    found = llama_cpp_figures(
        model(LLAMA_8B), RTX_4090, Deployment(weights_dtype="q8_0"), options, Workload(context=8192)
    )
    assert found.refused is not None
    assert found.refused.startswith("cudaMalloc failed: out of memory")
    assert found.kv_cache_tokens == 0
    smaller = llama_cpp_figures(
        model(LLAMA_8B), RTX_4090, Deployment(weights_dtype="q8_0"),
        LlamaCppOptions(ctx_size=32768, parallel=2), Workload(context=8192),
    )  # fmt: skip
    assert (smaller.requests, smaller.settings["max_model_len"]) == (2, 16384)


def test_gpus_share_the_blocks() -> None:
    """33 layers with the output: 17 blocks on the first, 15 and the output on the second."""
    two = llama_cpp_figures(
        model(LLAMA_8B), RTX_4090, Deployment(weights_dtype="q8_0", pipeline_parallel_size=2),
        LlamaCppOptions(ctx_size=8192, parallel=1),
    )  # fmt: skip
    assert two.binding_stage == 1
    assert two.kv_cache.bytes == 15 * 8192 * 4096
    assert "CUDA0 KV buffer size =   544.00 MiB" in two.log_lines


@pytest.mark.parametrize(
    ("gpu", "line"),
    [
        ("mi300x", "ROCm0 KV buffer size =  1024.00 MiB"),
        ("arc-pro-b60", "SYCL0 KV buffer size =  1024.00 MiB"),
        ("apple-m2-ultra", "Metal KV buffer size =  1024.00 MiB"),
    ],
)
def test_buffers_are_called_as_on_the_card(gpu: str, line: str) -> None:
    found = llama_cpp_figures(
        model(LLAMA_8B), load_gpu(gpu), Deployment(weights_dtype="q8_0"),
        LlamaCppOptions(ctx_size=8192, parallel=1),
    )  # fmt: skip
    assert line in found.log_lines
    assert not any("CUDA" in other for other in found.log_lines)


@pytest.mark.parametrize(
    ("deployment", "options", "message"),
    [
        (Deployment(weights_dtype="fp8"), LlamaCppOptions(), "no GGUF file holds it"),
        (Deployment(kv_cache_dtype="fp8"), LlamaCppOptions(), "no cache type fp8"),
        (
            Deployment(),
            LlamaCppOptions(cache_type_v="q4_0", flash_attn=False),
            "needs flash attention",
        ),
    ],
)
def test_what_no_file_or_build_has(
    deployment: Deployment, options: LlamaCppOptions, message: str
) -> None:
    with pytest.raises(PlanRefused, match=message):
        llama_cpp_figures(model(LLAMA_8B), H100, deployment, options)


def test_command() -> None:
    options = LlamaCppOptions(
        n_gpu_layers=20, ctx_size=16384, parallel=2, cache_type_k="q8_0", n_cpu_moe=4
    )
    found = llama_cpp_figures(
        model(DEEPSEEK_V3), H100, Deployment(weights_dtype="q4_k_m"), options, name="r1.gguf"
    )
    assert found.command == (
        "llama-server -m r1.gguf -ngl 20 --n-cpu-moe 4 -c 16384 -np 2 -ctk q8_0"
    )


@pytest.mark.parametrize(
    ("name", "cpu_mib", "gpu_mib"),
    [("gpt-oss-20b", 586.82, 10949.38), ("gpt-oss-120b", 586.82, 59851.66)],
)
def test_mxfp4_files_keep_the_rest_in_8_bits(name: str, cpu_mib: float, gpu_mib: float) -> None:
    """Logs of ggml-org's gpt-oss-20b-mxfp4.gguf on one GPU, of the 120b on six (their sum).

    Embedding and head are 201,088 x 2,880 in Q8_0: 34 bytes of 32, 586.82 MiB each.
    """
    found = parse(load_model_config(name))
    for asked in ("auto", "mxfp4"):
        figures = llama_cpp_figures(
            found, load_gpu("mi300x"), Deployment(weights_dtype=asked),
            LlamaCppOptions(ctx_size=4096, parallel=1),
        )  # fmt: skip
        assert f"CPU_Mapped model buffer size = {cpu_mib:8.2f} MiB" in figures.log_lines
        line = next(line for line in figures.log_lines if "ROCm0 model" in line)
        assert float(line.split()[-2]) == pytest.approx(gpu_mib, abs=0.05)
        assert figures.command.split()[2].endswith("-MXFP4_MOE.gguf")
