"""What one layer asks of a paged cache: bytes of a page, and pages that one request can hold.

A page is one layer's share of one block. Sources: vLLM 0.11.0, 0.20.2 and 0.33.0
(v1/kv_cache_interface), whose spec classes the kinds here stand for.
"""

from dataclasses import dataclass, replace
from typing import Literal

from planner.units import ceil_div

SpecKind = Literal["full", "mla", "sliding", "chunked", "mamba"]


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """One cache tensor of one layer on one rank.

    token_bytes: bytes of one token, all heads of the rank. shape tells specs apart that store the
    same number of bytes (KV heads, head size). window: tokens that a sliding layer sees, or a
    chunked layer's chunk. state_bytes: a recurrent layer's state, stored once per block;
    state_blocks: how many of those a request holds. page_padded: the page's size where it was
    raised to that of other layers.
    """

    kind: SpecKind
    block_size: int
    token_bytes: int = 0
    shape: tuple[int, ...] = ()
    window: int | None = None
    state_bytes: int = 0
    state_blocks: int = 1
    page_padded: int | None = None

    @property
    def page_bytes(self) -> int:
        """Bytes of one block in this layer."""
        if self.page_padded is not None:
            return self.page_padded
        return self.state_bytes if self.kind == "mamba" else self.block_size * self.token_bytes

    def blocks(self, max_model_len: int, in_flight: int, context_split: int = 1) -> int:
        """Blocks that one request of max_model_len tokens can hold.

        in_flight: tokens that may be scheduled before old ones leave a window. A window that
        starts inside a block touches one block more. Only full attention is split over
        context-parallel ranks.
        """
        if self.kind == "mamba":
            return self.state_blocks
        if self.kind in ("full", "mla"):
            return ceil_div(ceil_div(max_model_len, context_split), self.block_size)
        assert self.window is not None
        if self.kind == "chunked":
            return ceil_div(min(self.window + in_flight, max_model_len), self.block_size)
        return ceil_div(min(self.window - 1 + in_flight, max_model_len), self.block_size) + 1

    def with_page(self, page_bytes: int, *, pad: bool) -> "LayerSpec | None":
        """The same layer with pages of `page_bytes`: more tokens a block if that divides, else
        padding where `pad` allows it, else None. A state does not scale, so its page is padded.
        """
        if self.page_bytes == page_bytes:
            return self
        if self.kind != "mamba" and page_bytes % self.page_bytes == 0:
            return replace(self, block_size=self.block_size * (page_bytes // self.page_bytes))
        return replace(self, page_padded=page_bytes) if pad else None

    @property
    def is_full(self) -> bool:
        """Held for the whole sequence; latent (MLA) caches are a kind of full attention."""
        return self.kind in ("full", "mla")
