"""Arguments of transformers as inputs."""

from typing import Any, Literal

from pydantic import Field

from planner.frozen import Frozen

VERSION = "5.23.0"
SHOWN_COUNT: Any = Field(default=None, ge=1, le=2**40)


class TransformersOptions(Frozen):
    """Arguments of from_pretrained and generate; None leaves the default.

    nbits: of a quantised cache (quanto 2 and 4; HQQ 1, 2, 3, 4 and 8).
    """

    version: str = VERSION
    cache_implementation: Literal["dynamic", "static", "offloaded", "quantized"] = "dynamic"
    max_cache_len: int | None = SHOWN_COUNT
    prefill_chunk_size: int | None = SHOWN_COUNT
    attn_implementation: Literal["sdpa", "flash_attention_2", "eager"] = "sdpa"
    nbits: Literal[1, 2, 3, 4, 8] = 4
