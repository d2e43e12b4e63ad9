"""The lines that engines print about memory, as patterns, by what they say.

Each pattern has one group per figure. Versions changed the words: the first that matches a line
counts. Written from public start-up logs of vLLM 0.3 to 0.33, SGLang 0.3 to 0.5, TensorRT-LLM
0.5 to 1.2 and llama.cpp of 2023 to 2026.
"""

import re

SIZE = r"\s*(-?\d[\d.,]*)\s*(GiB|MiB|GB|MB)"
Patterns = dict[str, tuple[re.Pattern[str], ...]]


def _patterns(**found: tuple[str, ...]) -> Patterns:
    return {name: tuple(re.compile(text) for text in texts) for name, texts in found.items()}


VLLM_SIZES = _patterns(
    total=(
        rf"total_gpu_memory \({SIZE}\)",
        rf"total_gpu_memory={SIZE}",
        r"Free memory on device (?:\S+ )?\([\d.]+/([\d.]+) (GiB)\)",
        rf"total_memory={SIZE}",
    ),
    free=(
        r"Free memory on device (?:\S+ )?\(([\d.]+)/[\d.]+ (GiB)\)",
        rf"free_memory={SIZE}",
        rf"Initial free memory:{SIZE}",
    ),
    requested=(
        rf"[Dd]esired GPU memory utilization (?:is )?\([\d.]+,{SIZE}\)",
        rf"worker requested memory:{SIZE}",
        rf"Requested memory: [\d.]+ \(util\),{SIZE}",
        rf"gpu_memory_utilization \([\d.]+\) ={SIZE}",
        rf"^Budget{SIZE}",
    ),
    weights=(
        rf"Model loading took{SIZE}",
        rf"Loading model weights took{SIZE}",
        rf"model weights take{SIZE}",
        r"([\d.]+) (GiB) for weights?\b",
        rf"weights memory:{SIZE}",
    ),
    consumed=(
        r"([\d.]+) (GiB) for consumed memory",
        rf"total consumed \(from mem_get_info\):{SIZE}",
        rf"Weights and non-torch{SIZE}",
    ),
    activation=(
        rf"PyTorch activation peak memory (?:takes)?{SIZE}",
        r"([\d.]+) (GiB) for peak activation",
        rf"torch peak memory increase:{SIZE}",
        rf"Peak activation{SIZE}",
    ),
    non_torch=(
        rf"non_torch_memory takes{SIZE}",
        rf"non_torch_memory{SIZE}",
        r"([\d.]+) (GiB) for non-torch memory",
        rf"non-torch forward increase memory:{SIZE}",
    ),
    cuda_graphs=(
        r"(-?[\d.]+) (GiB) for (?:CUDAGraph|NPU graph) memory",
        rf"Graph capturing finished in \d+ secs?, took{SIZE}",
        rf"CUDA graphs{SIZE}",
    ),
    cuda_graphs_estimate=(rf"Estimated CUDA graph memory:{SIZE}",),
    kv_cache=(
        rf"Available KV cache memory:{SIZE}",
        rf"memory reserved for KV Cache is{SIZE}",
        rf"reserved for KV Cache is only{SIZE}",
        rf"kv_cache_size={SIZE}",
        rf"^KV cache{SIZE}",
        rf"Current kv cache memory in use is{SIZE}",
        rf"reserved{SIZE} memory for KV Cache",
        rf"available KV cache memory \({SIZE}\)",
    ),
    needed=(rf"{SIZE} KV cache is needed",),
)
VLLM_COUNTS = _patterns(
    tokens=(r"GPU KV cache size: ([\d,]+) tokens", r"^([\d,]+) tokens$"),
    blocks=(
        r"\b(?:GPU|cuda) blocks: ([\d,]+)",
        r"num_gpu_blocks is: ([\d,]+)",
    ),
    concurrency=(r"Maximum concurrency for [\d,]+ tokens per request: ([\d.]+)x",),
    max_model_len=(r"Maximum concurrency for ([\d,]+) tokens per request",),
    block_size=(r"Setting attention block size to ([\d,]+) tokens",),
    kv_cache_exact=(r"Current kv cache memory in use is (\d+) bytes",),
)
VLLM_MARKS = ("vllm", "GPU KV cache size", "KV cache memory", "Model loading took", "KV Cache is ",
              "# GPU blocks", "activation peak", "Loading model weights took",
              "GPU memory utilization", "kv cache memory in use", "LLM engine (v", "EngineCore",
              "VllmWorker", "multiproc_executor.py")  # fmt: skip

SGLANG_COUNTS = _patterns(
    tokens=(r"max_total_num_tokens=(\d+)",),
    max_model_len=(r"context_len=(\d+)",),
    max_num_seqs=(r"max_running_requests=(\d+)",),
    max_num_batched_tokens=(r"chunked_prefill_size=(\d+)",),
    fraction=(r"mem[-_]fraction[-_]static[= ]([\d.]+)",),
)
SGLANG_MARKS = ("Load weight ", "max_total_num_tokens", "sglang", "Memory pool end",
                "KV Cache is allocated", "--mem-fraction-static")  # fmt: skip

LLAMA_CACHES = tuple(
    re.compile(text)
    for text in (
        rf"llama_kv_cache\w*: size ={SIZE}",
        rf"KV self size  ={SIZE}",
        rf"kv self size  ={SIZE}",
        rf"memory_size ={SIZE}",
    )
)
LLAMA_COUNTS = _patterns(
    tokens=(r"\(\s*(\d+) cells", r"n_ctx\s*= (\d+)", r"n_ctx_slot=(\d+)"),
    layers=(r"cells,\s+(\d+) layers", r"n_layer\s*= (\d+)"),
)
LLAMA_MARKS = ("llama_", "ggml", "KV self size", "kv self size", "model buffer size",
               "compute buffer size", "n_embd")  # fmt: skip

TENSORRT_SIZES = _patterns(
    total=(
        rf"device total memory{SIZE}",
        rf"calculating max tokens in paged kv cache: total:{SIZE}",
    ),
    weights=(rf"loading (?:model )?weights \(inside torch\) in memory usage profiling:{SIZE}",),
    activation=(rf"during inference \(inside torch\) in memory usage profiling:{SIZE}",),
    kv_cache=(rf"Allocated{SIZE} for max tokens(?: in paged KV cache)? \(",
              r"Allocate (\d+) (bytes) for k/v cache"),
)  # fmt: skip
TENSORRT_COUNTS = _patterns(
    tokens=(r"for max tokens(?: in paged KV cache)? \((\d+)\)", r"Using (\d+) tokens in paged"),
    blocks=(r"primary blocks=(\d+)", r"blocks in KV cache primary pool: (\d+)"),
    block_size=(r"tokens per block[=:] ?(\d+)",),
    max_model_len=(r"\bmax_seq_len=(\d+)",),
    fraction=(r"fraction is set ([\d.]+)",),
)
TENSORRT_MARKS = ("TensorRT-LLM", "TRT-LLM", "TensorRT LLM", "[MemUsageChange]",
                  "in memory usage profiling")  # fmt: skip

VERSION = {
    "vllm": re.compile(
        r"(?:vLLM API server version|LLM engine \(v|vLLM version|vLLM Version\s*:|"
        r"[█▀▄] +version) ?v?(\d+\.\d+\S*?)[),\s]"
    ),
    "tensorrt-llm": re.compile(r"TensorRT[- ]LLM version: (\d+\.\d+\S*)"),
    "sglang": re.compile(r"sglang[= v]+(\d+\.\d+[\w.]*)"),
    "llama.cpp": re.compile(r"build: (\d+)"),
}
UTILISATION = re.compile(
    r"(?:[Dd]esired GPU memory utilization (?:is )?\(|gpu_memory_utilization[= ]\(?|"
    r"Requested memory: )([01]?\.\d+|1)\b"
)
REFUSED = re.compile(
    r"(ValueError: .*|torch\.OutOfMemoryError: .*|(?:CUDA|HIP) out of memory.*|"
    r"cudaMalloc failed.*|ggml_\w*alloc\w*: failed to allocate.*|"
    r"To serve at least one request.*|RuntimeError: Not enough memory.*)"
)
