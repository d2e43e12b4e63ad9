"""Lines of public start-up logs, each with where it stands, and what they must be read as."""

import pytest

from planner.deployment import Deployment
from planner.engines.logs import compare, read_log
from planner.engines.tensorrt_llm.figures import tensorrt_llm_figures
from planner.engines.tensorrt_llm.options import TensorrtLlmOptions
from planner.units import GIB, MIB
from presets.gpus import load_gpu
from tests.planner.models import LLAMA_8B, model

LINES = {
    "noonghunna/club-3090#295": (
        "(EngineCore pid=120) INFO 06-01 09:22:30 [kv_cache_utils.py:1733] GPU KV cache size: "
        "620,944 tokens\n(EngineCore pid=120) INFO 06-01 09:22:30 [kv_cache_utils.py:1734] Maximum "
        "concurrency for 262,144 tokens per request: 2.37x",
        "vllm", {}, {"tokens": 620944, "max_model_len": 262144, "concurrency": 2.37},
    ),
    "vllm-project/vllm#21348": (
        "KV Cache is allocated. #tokens: 367404, K size: 8.23 GB, V size: 8.23 GB",
        "sglang", {"kv_cache": 16.46 * GIB}, {"tokens": 367404},
    ),
    "sgl-project/sglang#18039": (
        "[2026-01-31 13:50:39 TP1] KV Cache is allocated. #tokens: 300288, K size: 8.38 GB, V "
        "size: 5.59 GB\n[2026-01-31 13:50:39 TP2] KV Cache is allocated. #tokens: 300288, K size: "
        "8.38 GB, V size: 5.59 GB",
        "sglang", {"kv_cache": 13.97 * GIB}, {"tokens": 300288},
    ),
    "NVIDIA/TensorRT-LLM#1400": (
        "[TensorRT-LLM][INFO] Allocate 69524783104 bytes for k/v cache. \n[TensorRT-LLM][INFO] "
        "Using 132608 tokens in paged KV cache.",
        "tensorrt-llm", {"kv_cache": 132608 * 2 * 32 * 4096 * 2}, {"tokens": 132608},
    ),
    "triton-inference-server/tutorials#150": (
        "[TensorRT-LLM][INFO] Max KV cache blocks per sequence: 65 [window size=2051], tokens per "
        "block=32, primary blocks=116617, secondary blocks=0\n[TensorRT-LLM][INFO] "
        "[MemUsageChange] Allocated 78.30 GiB for max tokens in paged KV cache (3731744).",
        "tensorrt-llm", {"kv_cache": 78.30 * GIB},
        {"tokens": 116617 * 32, "blocks": 116617, "block_size": 32},
    ),
    "ggml-org/llama.cpp#6122": (
        "llm_load_tensors:        CPU buffer size =  1640.62 MiB\n"
        "llm_load_tensors:      CUDA0 buffer size =  5434.38 MiB\n"
        "llm_load_tensors:      CUDA1 buffer size = 13989.53 MiB\n"
        "llama_new_context_with_model: n_ctx      = 4096\n"
        "llama_kv_cache_init:      CUDA0 KV buffer size =  1536.00 MiB\n"
        "llama_kv_cache_init:      CUDA1 KV buffer size =  3584.00 MiB\n"
        "llama_new_context_with_model:  CUDA_Host  output buffer size =     1.95 MiB\n"
        "llama_new_context_with_model:      CUDA0 compute buffer size =   672.01 MiB",
        "llama.cpp",
        {"weights": 13989.53 * MIB, "kv_cache": 3584 * MIB, "weights_host": 1640.62 * MIB},
        {"tokens": 4096},
    ),
}  # fmt: skip


@pytest.mark.parametrize("source", LINES)
def test_lines_are_read(source: str) -> None:
    text, engine, sizes, counts = LINES[source]
    found = read_log(text)
    assert found.engine == engine
    for name, size in sizes.items():
        assert found.sizes[name].value == pytest.approx(size, rel=1e-4), name
    for name, count in counts.items():
        assert found.counts[name].value == pytest.approx(count), name


@pytest.mark.parametrize(
    "text",
    [
        # eugr/spark-vllm-docker#396
        "Available KV cache memory: 22.5 GiB\nValueError: To serve at least one request with the "
        "model's max seq len (196608), 23.25 GiB KV cache is needed, which is larger than the "
        "available KV cache memory (22.5 GiB).",
        # gpustack/gpustack#1800
        'File "/site-packages/vllm/worker/worker.py", line 545, in raise_if_cache_size_invalid\n'
        "ERROR 04-17 15:10:09 [engine.py:448] ValueError: The model's max seq len (8192) is larger "
        "than the maximum number of tokens that can be stored in KV cache (2400).",
    ],
)
def test_refusals_are_kept(text: str) -> None:
    found = read_log(text)
    assert found.engine == "vllm"
    assert found.refused is not None
    assert found.refused.startswith("ValueError: T")


def test_the_worker_with_the_smallest_cache_is_read_whole() -> None:
    """Workers that differ, in a terminal's colours: not the largest weights of any of them."""
    found = read_log(
        "\x1b[1;36m(Worker_TP0 pid=100)\x1b[0;0m INFO Model loading took 33.88 GiB and 20.1 s\n"
        "\x1b[1;36m(Worker_TP1 pid=101)\x1b[0;0m INFO Model loading took 34.12 GiB and 20.3 s\n"
        "\x1b[1;36m(Worker_TP0 pid=100)\x1b[0;0m INFO Available KV cache memory: 30.10 GiB\n"
        "\x1b[1;36m(Worker_TP1 pid=101)\x1b[0;0m INFO Available KV cache memory: 35.20 GiB\n"
    )
    assert found.bytes_of("kv_cache") == round(30.10 * GIB)
    assert found.bytes_of("weights") == round(33.88 * GIB)


def test_a_card_that_is_taken_is_read_with_its_utilisation() -> None:
    found = read_log(
        "ValueError: Free memory on device cuda:0 (70.11/79.18 GiB) on startup is less than "
        "desired GPU memory utilization (0.92, 72.84 GiB)."
    )
    assert found.utilisation == 0.92
    assert found.bytes_of("total") == round(79.18 * GIB)
    assert found.refused is not None


def test_a_rank_of_sglang_adds_its_draft_and_its_states() -> None:
    found = read_log(
        "[2026-09-11 23:34:13 TP0 EP0] Load weight begin. avail mem=111.47 GB\n"
        "[2026-09-11 23:43:15 TP0 EP0] Load weight end. avail mem=17.47 GB, mem usage=94.00 GB.\n"
        "[2026-09-11 23:44:38 TP0 EP0] Load weight begin. avail mem=17.54 GB\n"
        "[2026-09-11 23:45:53 TP0 EP0] Load weight end. avail mem=14.74 GB, mem usage=2.80 GB.\n"
        "[2026-09-11 23:45:54 TP0 EP0] Mamba Cache is allocated. max_mamba_cache_size: 38, "
        "conv_state size: 0.03GB, ssm_state size: 2.74GB \n"
        "[2026-09-11 23:46:13 TP0 EP0] Memory pool end. avail mem=9.90 GB\n"
        "[2026-09-11 23:46:44 TP0 EP0] Capture target verify CUDA graph end. elapsed=13.48 s, mem "
        "usage=0.58 GB, avail mem=7.62 GB.\n"
    )
    sizes = {name: round(one.value / GIB, 2) for name, one in found.sizes.items()}
    assert sizes == {
        "free": 111.47, "weights": 96.8, "states": 2.77, "kv_cache": 2.07, "cuda_graphs": 0.58,
    }  # fmt: skip


def test_a_second_start_of_sglang_replaces_the_first() -> None:
    load = (
        "Load weight begin. avail mem=78.46 GB\n"
        "Load weight end. avail mem=63.43 GB, mem usage=15.03 GB.\n"
        "KV Cache is allocated. #tokens: 413572, K size: 25.24 GB, V size: 25.24 GB\n"
    )
    assert read_log(load * 2).bytes_of("weights") == read_log(load).bytes_of("weights")
    assert read_log(load * 2).bytes_of("kv_cache") == read_log(load).bytes_of("kv_cache")


def test_caches_of_one_device_are_added_and_repeats_are_not() -> None:
    """llama.cpp with windows or states has two caches; fitting prints buffers of no size first."""
    found = read_log(
        "load_tensors: CUDA0 model buffer size = 0.00 MiB\n"
        "load_tensors: CUDA0 model buffer size = 15339.44 MiB\n"
        "llama_kv_cache: CUDA0 KV buffer size = 2048.00 MiB\n"
        "llama_memory_recurrent: CUDA0 RS buffer size = 598.50 MiB\n"
        "sched_reserve: CUDA0 compute buffer size = 154.02 MiB\n"
        "sched_reserve: CUDA_Host compute buffer size = 52.02 MiB\n"
        "sched_reserve: CUDA0 compute buffer size = 154.02 MiB\n"
    )
    assert found.bytes_of("weights") == round(15339.44 * MIB)
    assert found.bytes_of("kv_cache") == round(2646.5 * MIB)
    assert found.bytes_of("activation") == round(154.02 * MIB)
    assert found.bytes_of("activation_host") == round(52.02 * MIB)


def test_a_log_of_tensorrt_llm_is_laid_beside_its_plan() -> None:
    """The pool of the profile comes first and does not count."""
    gpu = load_gpu("h100-sxm5-80gb")
    figures = tensorrt_llm_figures(model(LLAMA_8B), gpu, Deployment(), TensorrtLlmOptions())
    tokens = figures.kv_cache_tokens
    found = read_log(
        "[TRT-LLM] [I] Memory used after loading model weights (inside torch) in memory usage "
        "profiling: 14.98 GiB\n"
        "[MemUsageChange] Allocated 1.00 GiB for max tokens in paged KV cache (8192).\n"
        f"[MemUsageChange] Allocated {tokens * 131072 / GIB:.2f} GiB for max tokens in paged KV "
        f"cache ({tokens})."
    )
    rows = {row.name: row for row in compare(found, figures)}
    assert rows["tokens"].difference == 0
    assert abs(rows["kv_cache"].share) < 0.001
    assert abs(rows["weights"].share) < 0.01


@pytest.mark.parametrize(
    ("text", "gib"),
    [
        ("ValueError: To serve at least one request with the models's max seq len (131072), (16.00 "
         "GiB KV cache is needed, which is larger than the available KV cache memory (0.71 GiB).",
         0.71),
        ("Initial free memory 43.82 GiB, reserved 0.73 GiB memory for KV Cache as specified by "
         "kv_cache_memory_bytes config and skipped memory profiling.", 0.73),
    ],
)  # fmt: skip
def test_a_cache_is_read_from_a_refusal_and_from_a_fixed_size(text: str, gib: float) -> None:
    assert read_log("vllm " + text).bytes_of("kv_cache") == round(gib * GIB)
