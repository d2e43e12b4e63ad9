"""Prefill attention side by side on one GPU: TFLOP/s, medians, L2 flushed between samples.

    python -m benchmarks.attention_prefill [--dims 64 128] [--lengths 2048 16384] [--json FILE]

FlashAttention-3 (`fa3-fwd`, optional) is timed before and after everything else in each round, so
the spread of one kernel within the run can be read off the table. Ceilings are measured first.
The card is power-limited: timed one kernel after the other, whoever follows a slow one finds a
cooler card. So a round is one call of each in shuffled order, after a matmul, and a row the medians
of as many rounds as fit into its time.
"""

import argparse
import json
import statistics
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
import triton.testing
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.rounds import in_rounds, matmul
from kernels.flash import flash_attention
from kernels.flash_kernel import launch as portable_launch
from kernels.hopper import flash as hopper_flash
from kernels.reference import attention_reference

TOKENS = 16384
FP8 = torch.float8_e4m3fn
Row = dict[str, float | int | str | bool]


def milliseconds(run: Callable[[], object]) -> float:
    """Median GPU time of one call, after 60 ms of matmul; L2 is overwritten before each sample."""
    for _ in range(40):
        matmul()
    return float(triton.testing.do_bench(run, warmup=20, rep=80, return_mode="median"))


def flops(batch: int, heads: int, seqlen: int, head_dim: int, causal: bool) -> float:
    """Multiply-adds of both products, twice; half of the square under a causal mask."""
    return 4.0 * batch * heads * seqlen * seqlen * head_dim * (0.5 if causal else 1.0)


def ceilings() -> dict[str, float]:
    """What this card does today: bf16 and fp8 matmul in TFLOP/s, copy in TB/s."""
    n = 8192
    a, b = (torch.randn(n, n, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    one = torch.ones((), device="cuda")
    a8, b8 = a.to(FP8), b.to(FP8).t()
    big = torch.empty(2**31, device="cuda", dtype=torch.uint8).random_()
    target = torch.empty_like(big)
    return {
        "bf16_tflops": 2 * n**3 / milliseconds(lambda: a @ b) / 1e9,
        "fp8_tflops": 2
        * n**3
        / milliseconds(
            lambda: torch._scaled_mm(a8, b8, scale_a=one, scale_b=one, out_dtype=torch.bfloat16)
        )
        / 1e9,
        "copy_tb_per_s": 2 * big.numel() / milliseconds(lambda: target.copy_(big)) / 1e9,
    }


def flash_attention_3() -> Callable[..., object] | None:
    try:
        from fa3_fwd_interface import (  # type: ignore[import-not-found,unused-ignore]
            flash_attn_func,
        )
    except ImportError:
        return None
    return flash_attn_func  # type: ignore[no-any-return]


def sdpa(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, backend: SDPBackend):  # type: ignore[no-untyped-def]
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    with sdpa_kernel(backend), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nn.functional.scaled_dot_product_attention(
            q, k, v, is_causal=causal, enable_gqa=True
        ).transpose(1, 2)


def error(
    out: torch.Tensor, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool
) -> float:
    """Relative error against float64 of the last 256 rows of one head."""
    group = q.shape[2] // k.shape[2]
    head = q.shape[2] - 1
    expected, _ = attention_reference(
        q[-1:, -256:, head:], k[-1:, :, head // group :], v[-1:, :, head // group :], causal=causal
    )
    difference = out[-1:, -256:, head:].double() - expected
    return float(difference.norm() / expected.norm())


def portable(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool) -> torch.Tensor:
    dtype = torch.bfloat16 if q.dtype == FP8 else q.dtype
    out = torch.empty(*q.shape[:3], v.shape[3], dtype=dtype, device=q.device)
    window = (-1, 0 if causal else -1)
    portable_launch(q, k, v, out, None, q.shape[3] ** -0.5, window, (None,) * 3)
    return out


def numbers(seqlen: int, head_dim: int) -> tuple[int, int, int]:
    """Query heads, KV heads and batch of a row: 16,384 tokens, half of that at head_dim 256."""
    if head_dim == 256:
        return 16, 8, max(1, TOKENS // 2 // seqlen)
    return 32, 8, max(1, TOKENS // seqlen)


def measure(
    seqlen: int, head_dim: int, causal: bool, dtype: torch.dtype, seconds: float = 1.0
) -> Row:
    """One row: every implementation on the same inputs."""
    heads, kv_heads, batch = numbers(seqlen, head_dim)
    q, k, v = (
        torch.randn(batch, seqlen, h, head_dim, device="cuda", dtype=torch.bfloat16).to(dtype)
        for h in (heads, kv_heads, kv_heads)
    )
    row: Row = {"head_dim": head_dim, "seqlen": seqlen, "causal": causal, "dtype": str(dtype)[6:]}
    work = flops(batch, heads, seqlen, head_dim, causal)
    fa3 = flash_attention_3()
    candidates: dict[str, Callable[[], object]] = {}
    if fa3:
        candidates["fa3_before"] = lambda: fa3(q, k, v, causal=causal)
    candidates["ours"] = lambda: flash_attention(q, k, v, causal=causal)
    candidates["portable"] = lambda: portable(q, k, v, causal)
    if dtype != FP8:
        candidates["cudnn"] = lambda: sdpa(q, k, v, causal, SDPBackend.CUDNN_ATTENTION)
        candidates["fa2"] = lambda: sdpa(q, k, v, causal, SDPBackend.FLASH_ATTENTION)
    if fa3:
        candidates["fa3_after"] = lambda: fa3(q, k, v, causal=causal)
    for name, run in candidates.items():
        try:
            out = run()
            out = out[0] if isinstance(out, tuple) else out
            assert isinstance(out, torch.Tensor)
            row[f"{name}_error"] = error(out, q, k, v, causal)
        except Exception as problem:  # a peer that cannot run here must not end the table
            row[f"{name}_problem"] = str(problem).splitlines()[0][:120]
    runs = {name: run for name, run in candidates.items() if f"{name}_error" in row}
    row |= {name: work / millis / 1e9 for name, millis in in_rounds(runs, seconds).items()}
    row["hopper_path"] = hopper_flash.supports(q, k, v, torch.bfloat16)
    return row


def table(rows: Iterable[Row]) -> str:
    names = ["fa3_before", "fa3_after", "ours", "portable", "cudnn", "fa2"]
    lines = ["| D | S | mask | dtype | " + " | ".join(names) + " | ours/FA3 | ours/cuDNN | error |"]
    lines.append("|" + " --- |" * (len(names) + 7))
    for row in rows:

        def number(name: str, row: Row = row) -> float:
            return float(row.get(name, float("nan")))

        fa3 = statistics.fmean([number("fa3_before"), number("fa3_after")])
        cells = [str(row["head_dim"]), str(row["seqlen"]), "causal" if row["causal"] else "none"]
        cells += [str(row["dtype"])] + [f"{number(name):.0f}" for name in names]
        cells += [f"{number('ours') / fa3:.3f}", f"{number('ours') / number('cudnn'):.2f}"]
        cells += [f"{number('ours_error'):.1e}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--dims", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--lengths", type=int, nargs="+", default=[2048, 8192, 16384])
    parser.add_argument("--json", type=Path, help="write every number here too")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device here; this benchmark measures one")
    torch.manual_seed(0)
    limits = ceilings()
    print(torch.cuda.get_device_name(), torch.__version__, f"triton {triton.__version__}")
    print("ceilings:", ", ".join(f"{name} {value:.4g}" for name, value in limits.items()))
    cases = [(head_dim, torch.bfloat16) for head_dim in options.dims] + [(128, FP8)]
    rows = [
        measure(seqlen, head_dim, causal, dtype)
        for head_dim, dtype in cases
        for seqlen in options.lengths
        for causal in (True, False)
    ]
    print(table(rows))
    for row in rows:
        for name, value in row.items():
            if name.endswith("_problem"):
                print(f"D={row['head_dim']} S={row['seqlen']} {row['dtype']} {name}: {value}")
    if options.json:
        options.json.write_text(json.dumps({"ceilings": limits, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
