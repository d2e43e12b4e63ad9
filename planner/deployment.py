"""How a model is spread over GPUs, in which number formats, and how work is batched."""

from typing import Any, Self

from pydantic import Field, model_validator

from planner.errors import PlanRefused
from planner.frozen import Frozen

COUNT = Field(default=1, ge=1, le=65536)


class Deployment(Frozen):
    """Names and meanings are vLLM's; context_parallel_size is the ring's size in prefill.

    GPUs used = tensor x pipeline x data x context parallel. decode_context_parallel_size reuses
    tensor-parallel ranks, so it takes no GPUs of its own.
    """

    tensor_parallel_size: int = COUNT
    pipeline_parallel_size: int = COUNT
    data_parallel_size: int = COUNT
    decode_context_parallel_size: int = COUNT
    context_parallel_size: int = COUNT
    enable_expert_parallel: bool = False
    weights_dtype: str = "auto"
    kv_cache_dtype: str = "auto"
    block_size: int = Field(default=16, ge=1, le=65536)
    max_num_batched_tokens: int = Field(default=8192, ge=1, le=2**24)
    enforce_eager: bool = False

    @model_validator(mode="after")
    def ranks_divide(self) -> Self:
        if self.tensor_parallel_size % self.decode_context_parallel_size:
            raise PlanRefused(
                f"decode_context_parallel_size {self.decode_context_parallel_size} must divide "
                f"tensor_parallel_size {self.tensor_parallel_size}, whose GPUs it reuses"
            )
        return self

    @property
    def gpus(self) -> int:
        return (
            self.tensor_parallel_size
            * self.pipeline_parallel_size
            * self.data_parallel_size
            * self.context_parallel_size
        )

    def replace(self, **changes: Any) -> "Deployment":
        """This deployment with some fields changed, validated again."""
        return Deployment(**{**self.model_dump(), **changes})
