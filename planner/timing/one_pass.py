"""One forward pass on one GPU: its sequences, its number formats, and its plain launches."""

from collections.abc import Mapping
from typing import Any, Literal

from planner.attention import Heads, flops
from planner.deployment import Deployment
from planner.formats.dtypes import DTYPE_BYTES, NAME_OF_DTYPE, KvFormat, kv_format
from planner.model import Model
from planner.run_dtype import plain_dtype
from planner.timing.matrices import Matrices, spread
from planner.timing.roofline import Work

Phase = Literal["prefill", "decode"]


class OnePass:
    """`tokens` new tokens of each sequence; contexts: how many sequences there are of each length.

    span: the layers that this GPU has. rows: new tokens of all sequences.
    """

    def __init__(
        self, model: Model, deployment: Deployment, phase: Phase, tokens: int,
        contexts: Mapping[int, Any], span: range,
    ) -> None:  # fmt: skip
        self.model = model
        self.deployment = deployment
        self.decode = phase == "decode"
        self.tokens = tokens
        self.contexts = contexts
        self.span = span
        self.ranks = spread(
            deployment.tensor_parallel_size,
            deployment.data_parallel_size,
            deployment.enable_expert_parallel,
        )
        self.sequences: Any = sum(contexts.values())
        self.rows = tokens * self.sequences
        dtype = plain_dtype(deployment.weights_dtype) or model.dtype
        self.size = DTYPE_BYTES[dtype]
        self.numbers = NAME_OF_DTYPE[dtype]
        self.cache: KvFormat = kv_format(deployment.kv_cache_dtype, model.own_cache)

    @property
    def tp(self) -> int:
        return self.deployment.tensor_parallel_size

    @property
    def queries_of(self) -> int:
        """Ranks whose queries this one attends with: its keys are a part of all."""
        return self.deployment.decode_context_parallel_size if self.decode else 1

    def elementwise(self, name: str, launches: int, elements: Any) -> Work:
        """A kernel that moves `elements` of the model's dtype and does little arithmetic."""
        return Work(
            "elementwise", name, name, launches, self.numbers,
            activation_bytes=elements * self.size,
        )  # fmt: skip

    def matmul(self, name: str, launches: int, held: Matrices, rows: Any) -> Work:
        """Projections of the same input as one launch."""
        numbers = held.numbers or self.numbers
        return Work(
            "matmul", numbers, name, launches, numbers, held.row_flops * rows, held.stored_bytes,
            activation_bytes=held.row_elements * rows * self.size,
        )  # fmt: skip

    def pair_flops(self, heads: Heads) -> Any:
        """Arithmetic of all pairs of a query and a key that it sees."""
        return sum(times * flops(heads, self.tokens, n) for n, times in self.contexts.items())

    def reach(self, window: int | None, more: int = 0) -> Any:
        """Keys that all sequences together attend to; `more` when several queries share them."""
        found = self.contexts.items()
        if window is None:
            return sum(n * times for n, times in found)
        return sum(min(n, window + more) * times for n, times in found)

    def store(self, width: int, count: int) -> Work:
        """New tokens written into the cache, in the cache's format."""
        return self.elementwise("store cache", count, 2 * self.rows * width)
