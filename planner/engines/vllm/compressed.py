"""DeepSeek-V4's caches as vLLM's layers register them: a window, compressed entries, open states.

Every layer keeps a window of packed entries (584 B: 448 fp8, 64 rotary 16-bit, 8 of scales). A
compressing layer keeps an entry for every 4 or 128 tokens in the same format, the indexer's keys
of such entries (128 fp8 and an fp32 scale), and in fp32 the keys and scores of what it has not
closed yet, as a window of its own. Pages are whole multiples of 576 B. Source: vLLM 0.33.0,
models/deepseek_v4 (attention, compressor, FlashMLA backend) and v1/attention/backends/mla
/sparse_swa.
"""

from planner.deployment import Deployment
from planner.engines.vllm.kv_pages import LayerSpec
from planner.engines.vllm.versions import Rules
from planner.errors import PlanRefused
from planner.hardware import Gpu
from planner.kinds.compressed import CompressedAttention
from planner.model import Model
from planner.units import round_up

ENTRY_BYTES = 584
ALIGNMENT = 576
BLOCK, WINDOW_BLOCK = 256, 64
STATE_BLOCKS = {4: 4, 128: 8}
"""Tokens per compressed entry -> tokens of a block of the states beside it."""
INDEX_SCALE_PER = 128
HOPPER = 9.0
"""The least compute capability of FlashMLA's sparse kernels (v1/attention/backends/mla
/flashmla_sparse, supports_compute_capability)."""
SINCE = 33
FORMATS = ("fp8", "fp8_ds_mla")


def is_compressed(model: Model) -> bool:
    """Whether the model's caches are of this kind."""
    return any(isinstance(m, CompressedAttention) for g in model.groups for m in g.mixers)


def check_compressed(
    model: Model, gpu: Gpu, deployment: Deployment, rules: Rules, block_size: int | None
) -> None:
    """Raises PlanRefused for what is not described, or what vLLM does not run."""
    if not is_compressed(model):
        return
    if not rules.since(SINCE):
        raise PlanRefused(
            f"how vLLM {rules.name} lays out the compressed caches of {model.model_type} is not "
            f"described; choose version 0.{SINCE}.0 or newer"
        )
    if gpu.vendor == "NVIDIA" and (gpu.cuda_capability or HOPPER) < HOPPER:
        raise PlanRefused(
            f"{gpu.name}: the sparse FlashMLA kernels that vLLM runs {model.model_type} with are "
            "for Hopper and B200 cards: choose one of those"
        )
    if (gpu.compute_capability or "9.0").startswith("12."):
        raise PlanRefused(
            f"{gpu.name} runs {model.model_type} in vLLM with FlashInfer's caches, whose layout is "
            "not described: choose a Hopper or B200 card"
        )
    if deployment.kv_cache_dtype not in ("auto", *FORMATS):
        raise PlanRefused(
            f"kv_cache_dtype {deployment.kv_cache_dtype}: vLLM keeps the caches of "
            f"{model.model_type} in fp8_ds_mla; choose auto or fp8"
        )
    if block_size not in (None, BLOCK):
        raise PlanRefused(f"block_size {block_size}: {model.model_type} takes {BLOCK} tokens")
    if deployment.decode_context_parallel_size > 1:
        raise PlanRefused(
            "decode_context_parallel_size: vLLM does not split sliding windows; use 1"
        )


def compressed_specs(mixer: CompressedAttention) -> list[LayerSpec]:
    """The caches of one layer; tensor parallelism divides none of them."""
    window = _page(WINDOW_BLOCK * ENTRY_BYTES)
    found = [_spec("sliding", WINDOW_BLOCK, window, mixer.window)]
    compressor = mixer.compressor
    if compressor is None:
        return found
    rate = compressor.compress_rate
    if rate not in STATE_BLOCKS or compressor.overlap != (rate == 4):
        raise PlanRefused(f"compress_rates: vLLM compresses 4 or 128 tokens, not {rate}")
    entries, past = BLOCK // rate, rate * (2 if compressor.overlap else 1)
    found.append(_spec("mla", BLOCK, _page(entries * ENTRY_BYTES)))
    found.append(_state(rate, past, mixer.head_dim))
    if compressor.index_n_heads:
        width = compressor.index_head_dim
        key = width + width // INDEX_SCALE_PER * 4
        found.append(_spec("mla", BLOCK, _page(entries * key)))
        found.append(_state(rate, past, width))
    return found


def _state(rate: int, past: int, width: int) -> LayerSpec:
    """Keys and scores in fp32 of the tokens of the open entries; twice where entries overlap."""
    tokens = STATE_BLOCKS[rate]
    return _spec("sliding", tokens, _page(tokens * 2 * (past // rate) * width * 4), past)


def _spec(kind: str, block: int, page: int, window: int | None = None) -> LayerSpec:
    return LayerSpec(
        "mla" if kind == "mla" else "sliding", block, page // block, (page,), window,
        page_padded=page,
    )  # fmt: skip


def _page(size: int) -> int:
    return round_up(size, ALIGNMENT)
