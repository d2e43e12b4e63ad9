"""Decode attention side by side on one GPU: TB/s of cache read, medians, L2 flushed.

    python -m benchmarks.attention_decode [--only paged mla] [--json FILE]

Ours reads pages of 16 tokens, or of 64 where a case says so (vLLM's for FlashMLA), in random order,
a page's values behind its keys as in `kernels.kv_cache`; torch SDPA and FlashAttention-3
(`fa3-fwd`, optional) read a contiguous cache and are timed before and after ours, so that the
spread of one kernel within the run can be read off the table. Ceilings are measured first. Bytes
are those of the cache, once; "of read" is against reading 4 GiB, "of the same read" against only
reading as many bytes as the case: a short read takes its start and the flush's written lines with
it. "of its pages" is against only reading the case's own pages in their order, which costs more
than one run of bytes does.
"""

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import triton

from benchmarks.reading import Run, ceilings, milliseconds, reading, reading_pages
from kernels.decode_tiles import DecodeTile
from kernels.mla_decode import mla_decode_attention
from kernels.paged_decode import paged_decode_attention

RANK, ROPE = 512, 64
BF16, FP8, INT8 = torch.bfloat16, torch.float8_e4m3fn, torch.int8
Row = dict[str, float | str]


@dataclass(frozen=True)
class Case:
    """One decode step; kv_heads 0 means MLA. Uneven: lengths from 1 to seqlen, as drawn once."""

    heads: int
    kv_heads: int
    head_dim: int
    batch: int
    seqlen: int
    dtype: torch.dtype = BF16
    q_tokens: int = 1
    block_size: int = 16
    uneven: bool = False

    @property
    def lengths(self) -> torch.Tensor:
        if not self.uneven:
            return torch.full((self.batch,), self.seqlen, dtype=torch.int32)
        drawn = torch.Generator().manual_seed(self.batch)
        return torch.randint(1, self.seqlen + 1, (self.batch,), generator=drawn, dtype=torch.int32)

    @property
    def tokens(self) -> int:
        return int(self.lengths.sum())

    @property
    def name(self) -> str:
        shape = f"MLA {self.heads}"
        if self.kv_heads:
            shape = f"{self.heads}/{self.kv_heads}/{self.head_dim}"
        tokens = f" q{self.q_tokens}" if self.q_tokens > 1 else ""
        pages = f" pages of {self.block_size}" if self.block_size != 16 else ""
        longest = f"1..{self.seqlen}" if self.uneven else f"{self.seqlen}"
        return f"{shape} {self.batch}x{longest}{tokens} {str(self.dtype)[6:]}{pages}"

    @property
    def bytes(self) -> int:
        width = 2 * self.kv_heads * self.head_dim or RANK + ROPE
        return self.tokens * width * self.dtype.itemsize

    @property
    def flops(self) -> int:
        width = 2 * self.head_dim if self.kv_heads else RANK + ROPE + RANK
        return 2 * self.tokens * self.q_tokens * self.heads * width


PAGED = (
    Case(32, 8, 128, 1, 8_192),
    Case(32, 8, 128, 1, 131_072),
    Case(32, 8, 128, 8, 32_768),
    Case(32, 8, 128, 64, 8_192),
    Case(32, 8, 128, 256, 4_096),
    Case(32, 8, 128, 17, 8_192),  # these three leave a round of programs nearly empty
    Case(32, 8, 128, 140, 4_096),
    Case(32, 8, 128, 300, 4_096),
    Case(32, 8, 128, 33, 4_096),  # SDPA's programs fill rounds of the card, of 132 multiprocessors
    Case(32, 8, 128, 100, 4_096),
    Case(32, 8, 128, 600, 1_024),
    Case(32, 32, 128, 8, 32_768),
    Case(16, 1, 256, 1, 131_072),
    Case(16, 1, 256, 64, 8_192),
    Case(16, 1, 256, 256, 4_096),
    Case(64, 8, 64, 64, 8_192),
    Case(32, 4, 128, 64, 8_192),
    Case(8, 1, 128, 256, 8_192),
    Case(32, 8, 128, 17, 8_192, uneven=True),
    Case(32, 8, 128, 64, 8_192, uneven=True),
    Case(32, 8, 128, 300, 4_096, uneven=True),
    Case(32, 4, 128, 64, 8_192, uneven=True),
    Case(8, 1, 128, 256, 8_192, uneven=True),
    Case(32, 8, 128, 64, 8_192, q_tokens=4),
    Case(32, 8, 128, 64, 8_192, FP8),
    Case(32, 8, 128, 256, 4_096, FP8),
    Case(32, 32, 128, 8, 32_768, FP8),
    Case(32, 8, 128, 64, 8_192, INT8),
    Case(16, 1, 256, 256, 4_096, FP8),
    Case(32, 8, 128, 64, 8_192, FP8, uneven=True),
    Case(8, 1, 128, 256, 8_192, FP8, uneven=True),
)
MLA = (
    Case(128, 0, 0, 1, 131_072),
    Case(128, 0, 0, 66, 8_192),
    Case(128, 0, 0, 128, 4_096),
    Case(64, 0, 0, 128, 8_192),
    Case(32, 0, 0, 64, 16_384),
    Case(16, 0, 0, 1, 131_072),
    Case(16, 0, 0, 32, 32_768),
    Case(16, 0, 0, 128, 8_192),
    Case(16, 0, 0, 128, 8_192, FP8),
    Case(16, 0, 0, 32, 32_768, FP8),
    Case(16, 0, 0, 1, 131_072, FP8),
    Case(32, 0, 0, 64, 16_384, FP8),
    Case(64, 0, 0, 128, 8_192, FP8),
    Case(128, 0, 0, 66, 8_192, FP8),
    Case(16, 0, 0, 32, 32_768, FP8, block_size=64),
    Case(32, 0, 0, 64, 16_384, FP8, block_size=64),
    Case(16, 0, 0, 128, 8_192, INT8),
    Case(32, 0, 0, 64, 16_384, INT8),
    Case(128, 0, 0, 66, 8_192, INT8),
    Case(16, 0, 0, 128, 8_192, uneven=True),
    Case(64, 0, 0, 128, 8_192, uneven=True),
    Case(16, 0, 0, 128, 8_192, FP8, uneven=True),
    Case(32, 0, 0, 64, 16_384, FP8, uneven=True),
    Case(128, 0, 0, 66, 8_192, FP8, uneven=True),
)


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

    def ours(self, tile: DecodeTile | None = None, num_splits: int | None = None) -> torch.Tensor:
        rest = (*self.caches, self.table, self.lengths)
        if len(self.caches) == 1:
            out = mla_decode_attention(
                self.q[..., :RANK], self.q[..., RANK:], *rest,
                softmax_scale=192**-0.5, tile=tile, num_splits=num_splits,
            )  # fmt: skip
        else:
            scale = 1 / 127 if self.caches[0].dtype == INT8 else None
            out = paged_decode_attention(
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


def measure(case: Case) -> Row:
    given = Inputs.of(case)
    row: Row = {"case": case.name, "gb": case.bytes / 1e9}

    def time(name: str, run: Run) -> None:
        try:
            row[name] = milliseconds(run) * 1e3
        except Exception as problem:  # a peer that cannot run here must not end the table
            row[f"{name}_problem"] = str(problem).splitlines()[0][:120]

    time("read", reading(case.bytes))
    time("pages", reading_pages(given.pages, given.read))
    others = peers(case, given)
    for name, run in others.items():
        time(f"{name}_before", run)
    time("ours", given.ours)
    time("graph", graph_of(given.ours))
    for name, run in others.items():
        time(f"{name}_after", run)
    return row


def table(rows: list[Row], cases: list[Case], limits: dict[str, float]) -> str:
    names = ["sdpa", "fa3", "fa3_paged"]
    head = ["case", "GB", *names, "ours us", "ours", "graph", "of read", "of the same read"]
    head += ["of its pages", "TFLOP/s", "vs sdpa"]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for row, case in zip(rows, cases, strict=True):

        def rate(name: str, row: Row = row, case: Case = case) -> float:
            return case.bytes / 1e6 / float(row.get(name, math.nan))

        cells = [case.name, f"{case.bytes / 1e9:.2f}"]
        cells += [f"{rate(n + '_before'):.2f}/{rate(n + '_after'):.2f}" for n in names]
        sdpa = max(rate("sdpa_before"), rate("sdpa_after"))
        cells += [f"{float(row.get('ours', math.nan)):.1f}", f"{rate('ours'):.2f}"]
        cells += [f"{rate('graph'):.2f}", f"{rate('ours') / limits['read_tb_per_s']:.3f}"]
        cells += [f"{rate('ours') / rate(name):.3f}" for name in ("read", "pages")]
        cells += [f"{rate('ours') * case.flops / case.bytes:.0f}", f"{rate('ours') / sdpa:.3f}"]
        lines.append("| " + " | ".join(cells).replace("nan/nan", "-").replace("nan", "-") + " |")
    return "\n".join(lines)


def speedups(rows: list[Row], cases: list[Case]) -> Iterator[str]:
    """Tokens per second over an 8-bit cache against the same step over bf16."""
    micros = {case: float(row.get("ours", math.nan)) for row, case in zip(rows, cases, strict=True)}
    for case in cases:
        twin = Case(**{**case.__dict__, "dtype": BF16})
        if case.dtype != BF16 and twin in micros:
            yield f"{case.name}: {micros[twin] / micros[case]:.2f}x the tokens/s of bf16"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=["paged", "mla"], default=["paged", "mla"])
    parser.add_argument("--json", type=Path, help="write every number here too")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device here; this benchmark measures one")
    torch.manual_seed(0)
    limits = ceilings()
    print(torch.cuda.get_device_name(), torch.__version__, f"triton {triton.__version__}")
    print("ceilings:", ", ".join(f"{name} {value:.4g}" for name, value in limits.items()))
    cases = [*(PAGED if "paged" in options.only else ()), *(MLA if "mla" in options.only else ())]
    rows = [measure(case) for case in cases]
    print(table(rows, cases, limits))
    print("TB/s of cache read, L2 flushed; peers before/after ours; graph: CUDA-graph replay")
    print("\n".join(speedups(rows, cases)))
    problems = {
        f"{name.removesuffix('_problem')}: {value}"
        for row in rows
        for name, value in row.items()
        if name.endswith("_problem")
    }
    print("\n".join(sorted(problems)))
    if options.json:
        options.json.write_text(json.dumps({"ceilings": limits, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
