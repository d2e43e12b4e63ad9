"""Inputs of a decode step on the GPU, and what runs on them: our kernels and others'."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.decode_steps import BF16, INT8, RANK, ROPE, Case
from benchmarks.reading import Run
from kernels.decode_tiles import DecodeTile
from kernels.mla_decode import mla_decode_attention
from kernels.paged_decode import paged_decode_attention


def random_cache(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Random values, drawn a part at a time: randn in fp32 would need four times the space."""
    cache = torch.empty(shape, dtype=dtype, device="cuda")
    for part in cache.chunk(16):
        if dtype == INT8:
            part.random_(-127, 128)
        else:
            part.copy_(torch.randn(part.shape, device="cuda", dtype=BF16))
    return cache


@dataclass(frozen=True)
class Kernels:
    """Decode attention over pages of keys and values, and of latents."""

    paged: Callable[..., Any]
    mla: Callable[..., Any]


OURS = Kernels(paged_decode_attention, mla_decode_attention)


@dataclass(frozen=True)
class Inputs:
    q: torch.Tensor
    pages: torch.Tensor  # [blocks, ..], contiguous: keys, then values of a block; or its latents
    caches: tuple[torch.Tensor, ...]  # views of the pages: K and V, or the latents
    table: torch.Tensor
    lengths: torch.Tensor

    @staticmethod
    def of(case: Case) -> "Inputs":
        blocks = case.batch * case.seqlen // case.block_size
        table = torch.randperm(blocks, device="cuda").int().view(case.batch, -1)
        if case.kv_heads:
            shape: tuple[int, ...] = (2, case.block_size, case.kv_heads, case.head_dim)
        else:
            shape = (1, case.block_size, RANK + ROPE)
        pages = random_cache((blocks, *shape), case.dtype)
        width = case.head_dim or RANK + ROPE
        q = torch.randn(case.batch, case.q_tokens, case.heads, width, device="cuda", dtype=BF16)
        return Inputs(q, pages, pages.unbind(1), table, case.lengths.cuda())

    @property
    def read(self) -> torch.Tensor:
        """The pages that the lengths reach, in the table's order."""
        block_size = self.caches[0].shape[1]
        first = torch.arange(self.table.shape[1], device="cuda") * block_size
        return self.table[first[None] < self.lengths[:, None]]

    def ours(
        self,
        tile: DecodeTile | None = None,
        num_splits: int | None = None,
        kernels: Kernels = OURS,
    ) -> torch.Tensor:
        rest = (*self.caches, self.table, self.lengths)
        if len(self.caches) == 1:
            out = kernels.mla(
                self.q[..., :RANK], self.q[..., RANK:], *rest,
                softmax_scale=192**-0.5, tile=tile, num_splits=num_splits,
            )  # fmt: skip
        else:
            scale = 1 / 127 if self.caches[0].dtype == INT8 else None
            out = kernels.paged(
                self.q, *rest, tile=tile, num_splits=num_splits, k_scale=scale, v_scale=scale
            )
        assert isinstance(out, torch.Tensor)
        return out


def peers(case: Case, given: Inputs) -> dict[str, Run]:
    """The others on the same bytes, taken as a contiguous cache in page order."""
    if case.dtype != BF16 or case.uneven:
        return {}
    runs: dict[str, Run] = {}
    q = given.q
    try:
        from fa3_fwd_interface import (  # type: ignore[import-not-found,unused-ignore]
            flash_attn_with_kvcache as fa3,
        )
    except ImportError:
        fa3 = None
    if case.kv_heads:
        shape = (case.batch, case.seqlen, case.kv_heads, case.head_dim)
        k, v = (cache.reshape(shape).contiguous() for cache in given.caches)
        if fa3:
            runs["fa3"] = lambda: fa3(q, k, v, cache_seqlens=given.lengths, causal=True)
            runs["fa3_paged"] = lambda: fa3(
                q, *given.caches, cache_seqlens=given.lengths, page_table=given.table, causal=True
            )
        if case.q_tokens == 1:
            runs["sdpa"] = lambda: torch.nn.functional.scaled_dot_product_attention(
                q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), enable_gqa=True
            )
    elif fa3:
        latent = given.caches[0][:, :, None]
        runs["fa3_paged"] = lambda: fa3(
            q[..., RANK:], latent[..., RANK:], latent[..., :RANK], qv=q[..., :RANK],
            cache_seqlens=given.lengths, page_table=given.table, softmax_scale=192**-0.5,
            causal=True,
        )  # fmt: skip
    return runs


def graph_of(run: Run) -> Run:
    run()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay
