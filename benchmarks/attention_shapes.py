"""Prefill of other shapes on one GPU: windows, packed sequences, keys wider than values.

    python -m benchmarks.attention_shapes

TFLOP/s of the scores that a mask leaves, medians of rounds as in benchmarks/attention_prefill.py;
FlashAttention-3 (`fa3-fwd`, optional) is called first and last in each round.
"""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch

from benchmarks.attention_prefill import FP8
from benchmarks.rounds import in_rounds
from kernels import flash_kernel
from kernels.flash import flash_attention_varlen

BF16 = torch.bfloat16
MIXED = (8192, 300, 1500, 4000, 64, 128, 1000, 1200)


@dataclass(frozen=True)
class Case:
    """Causal attention of sequences packed end to end; `window` keys before each query, or all."""

    lengths: tuple[int, ...]
    heads: int = 32
    kv_heads: int = 8
    head_dim: int = 128
    head_dim_v: int = 128
    window: int = -1
    dtype: torch.dtype = BF16

    @property
    def name(self) -> str:
        longest = f"{len(self.lengths)} x {self.lengths[0]:,}"
        if len(set(self.lengths)) > 1:
            longest = f"{len(self.lengths)} mixed, {sum(self.lengths):,}"
        width = f"{self.head_dim}/{self.head_dim_v}" * (self.head_dim != self.head_dim_v)
        window = f"window {self.window:,}" * (self.window >= 0)
        shape = f"{self.heads}/{self.kv_heads} heads"
        parts = (f"D {width or self.head_dim}", shape, longest, window, str(self.dtype)[6:])
        return ", ".join(part for part in parts if part)

    @property
    def flops(self) -> float:
        """Multiply-adds of both products, twice."""
        span = self.window + 1 if self.window >= 0 else 2**30
        scores = 0
        for length in self.lengths:
            ramp = min(length, span)
            scores += ramp * (ramp + 1) // 2 + (length - ramp) * span
        return 2.0 * self.heads * scores * (self.head_dim + self.head_dim_v)


CASES = (
    Case((16384,), window=1024),
    Case((16384,), window=4096),
    Case((16384,), head_dim=64, head_dim_v=64, window=1024),
    Case((16384,), 64, 8, 64, 64, window=128),
    Case((8192,), 16, 8, 256, 256, window=1024),
    Case((16384,), window=1024, dtype=FP8),
    Case((16384,), window=4096, dtype=FP8),
    Case((2048,) * 8),
    Case(MIXED),
    Case((128,) * 128),
    Case((2048,) * 8, dtype=FP8),
    Case(MIXED, dtype=FP8),
    Case((16384,), 16, 16, 192, 128),
    Case((2048,) * 8, 16, 16, 192, 128),
)


def flash_attention_3() -> ModuleType | None:
    try:
        import fa3_fwd_interface  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None
    return fa3_fwd_interface  # type: ignore[no-any-return,unused-ignore]


def runs(case: Case) -> Iterator[tuple[str, Callable[[], object]]]:
    total, longest = sum(case.lengths), max(case.lengths)
    q, k, v = (
        torch.randn(total, heads, width, device="cuda", dtype=BF16).to(case.dtype)
        for heads, width in (
            (case.heads, case.head_dim),
            (case.kv_heads, case.head_dim),
            (case.kv_heads, case.head_dim_v),
        )
    )
    cu = torch.tensor((0, *case.lengths), device="cuda").cumsum(0).int()
    fa3 = flash_attention_3()

    def theirs() -> object:
        assert fa3
        return fa3.flash_attn_varlen_func(
            q, k, v, cu, cu, longest, longest, causal=True, window_size=(case.window, 0)
        )

    def ours() -> object:
        return flash_attention_varlen(
            q, k, v, cu, cu, longest, longest, causal=True, window_size=(case.window, 0)
        )

    def portable() -> object:
        out = torch.empty(1, total, case.heads, case.head_dim_v, device="cuda", dtype=BF16)
        flash_kernel.launch(
            q[None], k[None], v[None], out, None, case.head_dim**-0.5, (case.window, 0),
            (None,) * 3, cu_seqlens=(cu, cu), max_seqlens=(longest, longest),
        )  # fmt: skip
        return out[0]

    if fa3:
        yield "FA3", theirs
    yield "ours", ours
    yield "portable", portable
    if fa3:
        yield "FA3 again", theirs


def main() -> None:
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device here; this benchmark measures one")
    torch.manual_seed(0)
    print(torch.cuda.get_device_name(), torch.__version__)
    print("| case | FA3 | ours | to FA3 | portable | ours against portable |\n|" + " --- |" * 6)
    for case in CASES:
        given = dict(runs(case))
        outs: dict[str, torch.Tensor] = {}
        for name, run in list(given.items()):
            try:
                out: Any = run()
            except Exception as problem:  # a peer that cannot run here must not end the table
                print(f"{case.name}: {name}: {str(problem).splitlines()[0][:120]}")
                del given[name]
            else:
                outs[name] = out[0] if isinstance(out, tuple) else out
        rates = {n: case.flops / ms / 1e9 for n, ms in in_rounds(given, 0.6).items()}
        theirs = [rates[name] for name in ("FA3", "FA3 again") if name in rates]
        one, other = outs["ours"].double(), outs["portable"].double()
        cells = [case.name, ", ".join(f"{rate:.0f}" for rate in theirs) or "-"]
        cells += [f"{rates['ours']:.0f}"]
        cells += [f"{rates['ours'] / statistics.fmean(theirs):.2f}" if theirs else "-"]
        cells += [f"{rates['portable']:.0f}", f"{float((one - other).norm() / other.norm()):.1e}"]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
