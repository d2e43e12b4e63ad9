"""Engine flags that the page asks for, by engine: data, drawn by ui.engine_inputs.

Parallel sizes, number formats and CUDA graphs are chosen on the left and not asked again.
"""

from dataclasses import dataclass
from typing import Any

from planner.engines.llama_cpp.options import CACHE_TYPES


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag. values: the choices of a list, the first being the default; else a number from
    least to most, empty for the engine's own. tokens: it may be written as 32k."""

    field: str
    help: str
    least: float = 1
    most: float = 2**31
    values: tuple[Any, ...] = ()
    fraction: bool = False
    tokens: bool = False


LONGEST = "Tokens of the longest sequence; empty: the model's own."
AUTO = ("auto", "on", "off")
GGUF_CACHE = ("auto", *CACHE_TYPES.values())

FLAGS: dict[str, tuple[Flag, ...]] = {
    "vllm": (
        Flag("gpu_memory_utilization", "Share of the card to use.", 0.01, 1, fraction=True),
        Flag("max_model_len", LONGEST, tokens=True),
        Flag("max_num_seqs", "Sequences in a batch."),
        Flag("max_num_batched_tokens", "Tokens in one pass.", tokens=True),
        Flag("enable_prefix_caching", "Reuse of common prefixes.", values=AUTO),
        Flag("cpu_offload_gb", "GiB of weights in CPU memory, of each GPU.", most=4096),
        Flag("max_loras", "Adapters in a batch, reserved up front."),
    ),
    "sglang": (
        Flag("mem_fraction_static", "Share for weights and cache.", 0.01, 0.99, fraction=True),
        Flag("context_length", LONGEST, tokens=True),
        Flag("max_running_requests", "Requests that run at once."),
        Flag("chunked_prefill_size", "Tokens of a prefill chunk.", tokens=True),
        Flag("page_size", "Tokens of a page.", most=1024),
        Flag("disable_radix_cache", "No reuse of common prefixes.", values=("off", "on")),
    ),
    "tensorrt-llm": (
        Flag("free_gpu_memory_fraction", "Share of what is free.", 0.01, 0.99, fraction=True),
        Flag("max_seq_len", LONGEST, tokens=True),
        Flag("max_batch_size", "Sequences in a batch."),
        Flag("max_num_tokens", "Tokens in one pass.", tokens=True),
        Flag("enable_block_reuse", "Reuse of common prefixes.", values=("on", "off")),
    ),
    "llama.cpp": (
        Flag("n_gpu_layers", "Layers on the GPU, output included; empty: what fits.", 0, 65536),
        Flag("n_cpu_moe", "Blocks whose experts stay in CPU memory.", 0, 65536),
        Flag("ctx_size", "Tokens over all slots; empty: what fits.", tokens=True),
        Flag("parallel", "Slots.", most=1024),
        Flag("cache_type_k", "Format of keys.", values=GGUF_CACHE),
        Flag("cache_type_v", "Format of values.", values=GGUF_CACHE),
        Flag("flash_attn", "Flash attention.", values=("on", "off")),
    ),
    "transformers": (
        Flag(
            "cache_implementation", "Kind of cache.",
            values=("dynamic", "static", "offloaded", "quantized"),
        ),
        Flag(
            "attn_implementation", "Attention.", values=("sdpa", "flash_attention_2", "eager")
        ),
        Flag("nbits", "Bits of a quantised cache.", values=(4, 2, 8, 3, 1)),
        Flag(
            "prefill_chunk_size", "Tokens of a prefill chunk; empty: the whole prompt.",
            tokens=True,
        ),
    ),
}  # fmt: skip


def value_of(shown: Any) -> Any:
    """What the widget's value means to the options; None leaves the engine's default."""
    if shown is None or shown == "auto":
        return None
    if shown in ("on", "off"):
        return shown == "on"
    return shown
