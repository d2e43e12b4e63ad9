"""TensorRT-LLM's flags as inputs."""

from typing import Any

from pydantic import Field

from planner.frozen import Frozen

VERSION = "1.2"
FRACTION, BLOCK_TOKENS = 0.9, 32
BATCHED_TOKENS, BATCH = 8192, 2048
COUNT: Any = Field(default=None, ge=1, le=2**40)


class TensorrtLlmOptions(Frozen):
    """Flags of `trtllm-serve`; None leaves its default. tokens_per_block and host_cache_size are
    fields of kv_cache_config."""

    version: str = VERSION
    free_gpu_memory_fraction: float = Field(default=FRACTION, gt=0, lt=1)
    max_batch_size: int = Field(default=BATCH, ge=1)
    max_num_tokens: int = Field(default=BATCHED_TOKENS, ge=1)
    max_seq_len: int | None = COUNT
    max_tokens: int | None = COUNT
    tokens_per_block: int = Field(default=BLOCK_TOKENS, ge=1, le=1024)
    enable_block_reuse: bool = True
    host_cache_size: int = Field(default=0, ge=0)
    disable_cuda_graph: bool = False
