"""The small network of sparse attention that chooses which keys a query sees."""

from planner.frozen import Frozen
from planner.tensors import CacheTensor, Weight


class Indexer(Frozen):
    """Scores all keys and keeps topk of them (DeepSeek and MiniMax sparse attention).

    num_heads query heads of head_dim score one key per token, which is cached beside the layer's
    own; key_width: elements kept per token, where they are more than the key. `weights` are its
    tensors. shared: the layer reuses the choice of a layer before it, and has neither weights nor
    keys.
    """

    num_heads: int
    head_dim: int
    topk: int
    key_width: int | None = None
    weights: tuple[Weight, ...] = ()
    shared: bool = False

    def reach(self, window: int | None) -> int:
        """Keys that a query sees at most, in a layer with that window."""
        return self.topk if window is None else min(self.topk, window)

    def own_weights(self) -> tuple[Weight, ...]:
        return () if self.shared else self.weights

    def cache(self, window: int | None) -> tuple[CacheTensor, ...]:
        if self.shared:
            return ()
        width = self.head_dim if self.key_width is None else self.key_width
        return (CacheTensor("indexer_keys", 1, width, window),)
