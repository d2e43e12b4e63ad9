"""The lines that engines print about memory, as patterns, by what they say.

Each pattern has one group per figure. Versions changed the words: the first that matches a line
counts. Written from public start-up logs of vLLM 0.3 to 0.29, SGLang 0.3 to 0.5 and llama.cpp of
2023 to 2026.
"""

import re

SIZE = r"\s*(-?[\d.,]+)\s*(GiB|MiB|GB|MB)"
Patterns = dict[str, tuple[re.Pattern[str], ...]]


def _patterns(**found: tuple[str, ...]) -> Patterns:
    return {name: tuple(re.compile(text) for text in texts) for name, texts in found.items()}


VLLM_SIZES = _patterns(
    total=(
        rf"total_gpu_memory \({SIZE}\)",
        rf"total_gpu_memory={SIZE}",
        r"Free memory on device \([\d.]+/([\d.]+) (GiB)\)",
        rf"total_memory={SIZE}",
    ),
    free=(
        r"Free memory on device \(([\d.]+)/[\d.]+ (GiB)\)",
        rf"free_memory={SIZE}",
        rf"Initial free memory:{SIZE}",
    ),
    requested=(
        rf"Desired GPU memory utilization is \([\d.]+,{SIZE}\)",
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
        rf"the rest of the memory reserved for KV Cache is{SIZE}",
        rf"kv_cache_size={SIZE}",
        rf"^KV cache{SIZE}",
        rf"Current kv cache memory in use is{SIZE}",
    ),
    needed=(rf"\({SIZE} KV cache is needed",),
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
              "# GPU blocks", "activation peak", "Loading model weights took")  # fmt: skip

SGLANG_SIZES = _patterns(
    free=(rf"Load weight begin\. avail mem={SIZE}",),
    after_load=(rf"Load weight end\..*avail mem={SIZE}",),
    weights=(rf"Load weight end\..*mem usage={SIZE}",),
    after_pool=(rf"Memory pool end\. avail mem={SIZE}",),
    cuda_graphs=(rf"Capture cuda graph end\..*mem usage={SIZE}",),
)
SGLANG_POOL = re.compile(rf"#tokens: \d+, .*?\bK(?:V)? size:{SIZE}(?:, V size:{SIZE})?")
"""Of every pool: full and sliding layers have one each; ranks repeat them alike."""
SGLANG_COUNTS = _patterns(
    tokens=(r"max_total_num_tokens=(\d+)", r"#tokens: (\d+)"),
    max_model_len=(r"context_len=(\d+)",),
    max_num_seqs=(r"max_running_requests=(\d+)",),
    max_num_batched_tokens=(r"chunked_prefill_size=(\d+)",),
    fraction=(r"mem[-_]fraction[-_]static[= ]([\d.]+)",),
)
SGLANG_MARKS = ("Load weight ", "max_total_num_tokens", "sglang", "Memory pool end",
                "KV Cache is allocated", "--mem-fraction-static")  # fmt: skip

LLAMA_SIZES = _patterns(
    weights=(rf"(?:CUDA\d+|Metal|ROCm\d+|SYCL\d+|Vulkan\d+)\w* model buffer size ={SIZE}",),
    weights_host=(rf"CPU\w* model buffer size ={SIZE}",),
    kv_cache=(rf"(?:CUDA\d+|Metal|ROCm\d+|SYCL\d+|Vulkan\d+)\w* KV buffer size ={SIZE}",),
    kv_cache_total=(
        rf"llama_kv_cache\w*: size ={SIZE}",
        rf"KV self size  ={SIZE}",
        rf"kv self size  ={SIZE}",
        rf"memory_size ={SIZE}",
    ),
    activation=(rf"(?:CUDA\d+|Metal|ROCm\d+|SYCL\d+|Vulkan\d+)\w* compute buffer size ={SIZE}",),
    activation_host=(rf"(?:CPU|CUDA_Host)\w* compute buffer size ={SIZE}",),
)
LLAMA_COUNTS = _patterns(
    tokens=(r"\(\s*(\d+) cells", r"n_ctx\s*= (\d+)", r"n_ctx_slot=(\d+)"),
    layers=(r"cells,\s+(\d+) layers", r"n_layer\s*= (\d+)"),
)
LLAMA_MARKS = ("llama_", "ggml", "KV self size", "kv self size", "model buffer size",
               "compute buffer size", "n_embd")  # fmt: skip

VERSION = {
    "vllm": re.compile(
        r"(?:vLLM API server version|LLM engine \(v|vLLM version) ?v?(\d+\.\d+\S*?)[),\s]"
    ),
    "sglang": re.compile(r"sglang[= v]+(\d+\.\d+[\w.]*)"),
    "llama.cpp": re.compile(r"build: (\d+)"),
}
UTILISATION = re.compile(
    r"(?:Desired GPU memory utilization is \(|gpu_memory_utilization[= ]\(?|Requested memory: )"
    r"([01]?\.\d+|1)\b"
)
REFUSED = re.compile(
    r"(ValueError: .*|torch\.OutOfMemoryError: .*|CUDA out of memory.*|cudaMalloc failed.*|"
    r"To serve at least one request.*|RuntimeError: Not enough memory.*)"
)
