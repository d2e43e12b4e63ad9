"""Flash attention against float64, in the interpreter (fp32, fp16) or on a GPU (all dtypes)."""

import math

import pytest
import torch

from kernels import checks, flash, flash_kernel
from kernels.flash import flash_attention, flash_attention_varlen
from kernels.reference import attention_reference, varlen_attention_reference
from kernels.tiles import Tile

on_gpu = torch.cuda.is_available()
gpu_only = pytest.mark.skipif(not on_gpu, reason="needs an NVIDIA GPU")
TOLERANCE = {torch.float32: 3e-6, torch.float16: 1.5e-3, torch.bfloat16: 1e-2}
DTYPES = [torch.float32, torch.float16] + [torch.bfloat16] * on_gpu


def qkv(device, seqlen_q, seqlen_k, heads, kv_heads, head_dim, head_dim_v=None, **kwargs):
    batch = kwargs.pop("batch", 1)
    shapes = [(seqlen_q, heads, head_dim), (seqlen_k, kv_heads, head_dim)]
    shapes.append((seqlen_k, kv_heads, head_dim_v or head_dim))
    return [torch.randn(batch, *shape, device=device).to(**kwargs) for shape in shapes]


def relative_error(actual, expected):
    assert torch.isfinite(actual).all()
    norm = expected.norm()
    return ((actual.double() - expected).norm() / norm).item() if norm else actual.norm().item()


def check(q, k, v, **kwargs):
    out, lse = flash_attention(q, k, v, return_lse=True, **kwargs)
    expected, expected_lse = attention_reference(q, k, v, **kwargs)
    assert out.dtype == q.dtype
    assert out.shape == expected.shape
    assert relative_error(out, expected) < TOLERANCE[q.dtype]
    nothing = expected_lse == -math.inf
    assert (lse[nothing] == -math.inf).all()
    assert (out.transpose(1, 2)[nothing] == 0).all()
    torch.testing.assert_close(lse[~nothing].double(), expected_lse[~nothing], atol=2e-3, rtol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(
    ("seqlen_q", "seqlen_k"), [(1, 1), (1, 111), (63, 63), (111, 111), (111, 300), (300, 40)]
)
def test_odd_lengths(device, seqlen_q, seqlen_k, causal, dtype):
    check(*qkv(device, seqlen_q, seqlen_k, 4, 2, 64, dtype=dtype), causal=causal)


@pytest.mark.parametrize("causal", [True, False])
def test_a_thousand_tokens(device, causal):
    check(*qkv(device, 1000, 1000, 1, 1, 64, dtype=torch.float16), causal=causal)


@pytest.mark.parametrize("dtype", DTYPES[1:])
@pytest.mark.parametrize(
    ("head_dim", "head_dim_v"),
    [(64, 64), (80, 80), (96, 96), (128, 128), (192, 192), (256, 256), (192, 128), (64, 128)],
)
def test_head_dims(device, head_dim, head_dim_v, dtype):
    check(*qkv(device, 70, 90, 2, 1, head_dim, head_dim_v, dtype=dtype))


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (8, 2), (6, 1), (3, 3)])
def test_head_sharing(device, heads, kv_heads):
    check(*qkv(device, 50, 50, heads, kv_heads, 64, batch=2, dtype=torch.float32))


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("window", [(0, 0), (20, 30), (-1, 3), (3, -1), (200, 0), (1000, 1000)])
@pytest.mark.parametrize(("seqlen_q", "seqlen_k"), [(130, 130), (60, 200), (200, 60)])
def test_windows(device, seqlen_q, seqlen_k, window, causal):
    q, k, v = qkv(device, seqlen_q, seqlen_k, 1, 1, 64, dtype=torch.float32)
    check(q, k, v, causal=causal, window_size=window)


def test_rows_with_nothing_to_attend_to(device):
    q, k, v = qkv(device, 90, 30, 2, 1, 64, dtype=torch.float32)
    out, lse = flash_attention(q, k, v, causal=True, return_lse=True)
    assert (out[:, :60] == 0).all()
    assert (lse[..., :60] == -math.inf).all()
    assert torch.isfinite(lse[..., 60:]).all()


def test_no_keys_and_no_queries(device):
    q, k, v = qkv(device, 5, 0, 2, 1, 64, dtype=torch.float32)
    out, lse = flash_attention(q, k, v, return_lse=True)
    assert (out == 0).all()
    assert (lse == -math.inf).all()
    empty = flash_attention(q[:, :0], k, v)
    assert empty.shape == (1, 0, 2, 64)


def test_strides(device):
    """Heads-first storage and a packed qkv tensor, both without copies."""
    packed = torch.randn(2, 70, 3, 2, 64, device=device)
    check(*packed.unbind(2))
    heads_first = [torch.randn(2, 2, 70, 64, device=device).transpose(1, 2) for _ in range(3)]
    check(*heads_first, causal=False)


def test_large_scores_do_not_overflow(device):
    q, k, v = qkv(device, 70, 70, 1, 1, 64, dtype=torch.float32)
    check(q * 100, k * 100, v)
    check(q, k, v, softmax_scale=3.0)


def test_a_neighbouring_batch_full_of_nan_does_not_leak(device):
    q, k, v = qkv(device, 70, 70, 2, 1, 64, batch=3, dtype=torch.float32)
    for tensor in (q, k, v):
        tensor[1] = math.nan
    out = flash_attention(q, k, v)
    expected, _ = attention_reference(q[::2], k[::2], v[::2])
    assert relative_error(out[::2], expected) < 3e-6


@pytest.mark.parametrize("descriptors", [True, False])
@pytest.mark.parametrize("block", [(16, 16), (64, 32), (32, 64)])
def test_any_tile_and_both_ways_of_loading(device, block, descriptors):
    q, k, v = qkv(device, 75, 130, 2, 1, 64, dtype=torch.float16)
    out = torch.empty_like(q)
    flash_kernel.launch(
        q, k, v, out, None, 0.125, (40, 5), (None,) * 3,
        tile=Tile(*block, num_warps=4, num_stages=2),
        descriptors=descriptors and (not on_gpu or checks.capability(q.device) >= 90),
    )  # fmt: skip
    expected, _ = attention_reference(q, k, v, causal=False, window_size=(40, 5))
    assert relative_error(out, expected) < 1.5e-3


@pytest.mark.parametrize("descriptors", [True, False])
@pytest.mark.parametrize("window", [(-1, 0), (-1, -1), (20, 0)])
def test_packed_neighbours_full_of_nan_do_not_leak(device, window, descriptors):
    cu = torch.tensor([0, 33, 108, 150], dtype=torch.int32, device=device)
    q, k, v = qkv(device, 150, 150, 4, 2, 64, dtype=torch.float16)
    for tensor in (q, k, v):
        tensor[:, :33] = tensor[:, 108:] = math.nan
    out = torch.full_like(q, math.nan)
    flash_kernel.launch(
        q, k, v, out, None, 0.125, window, (None,) * 3, cu_seqlens=(cu, cu), max_seqlens=(75, 75),
        descriptors=descriptors and (not on_gpu or checks.capability(q.device) >= 90),
    )  # fmt: skip
    q, k, v = (t[:, 33:108] for t in (q, k, v))
    expected, _ = attention_reference(q, k, v, causal=False, window_size=window)
    assert relative_error(out[:, 33:108], expected) < 1.5e-3


@pytest.mark.parametrize("tensor_scales", [True, False])
def test_fp8_with_scales(device, tensor_scales):
    if on_gpu and torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("fp8 needs compute capability 8.9")
    q, k, v = qkv(device, 70, 100, 2, 1, 64, dtype=torch.float8_e4m3fn)
    scales = {"q_scale": 0.5, "k_scale": 1.5, "v_scale": 0.25}
    if tensor_scales:
        scales = {name: torch.tensor(value, device=device) for name, value in scales.items()}
    out = flash_attention(q, k, v, out_dtype=torch.float32, **scales)
    expected, _ = attention_reference(q, k, v, **scales)
    # Weights become e4m3 (3 mantissa bits) for the second product; the interpreter truncates.
    assert relative_error(out, expected) < (0.04 if on_gpu else 0.08)
    if on_gpu:
        assert flash_attention(q, k, v, **scales).dtype == torch.bfloat16


LENGTHS = [([5, 0, 63, 1], [5, 10, 70, 40]), ([0, 0], [3, 0]), ([100], [0]), ([30, 64], [10, 200])]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("lengths_q", "lengths_k"), LENGTHS)
def test_varlen(device, lengths_q, lengths_k, causal):
    cu_q, cu_k = (
        torch.tensor([0, *lengths], dtype=torch.int32, device=device).cumsum(0, dtype=torch.int32)
        for lengths in (lengths_q, lengths_k)
    )
    q, k, v = (t[0] for t in qkv(device, sum(lengths_q), sum(lengths_k), 4, 2, 64))
    out, lse = flash_attention_varlen(
        q, k, v, cu_q, cu_k, max(lengths_q), max(lengths_k), causal=causal, return_lse=True
    )
    expected, expected_lse = varlen_attention_reference(q, k, v, cu_q, cu_k, causal=causal)
    assert relative_error(out, expected) < 3e-6
    torch.testing.assert_close(lse.double(), expected_lse, atol=1e-5, rtol=1e-5)


def test_varlen_window_and_strides(device):
    cu = torch.tensor([0, 40, 110], dtype=torch.int32, device=device)
    q, k, v = torch.randn(110, 3, 2, 64, device=device).unbind(1)
    out = flash_attention_varlen(q, k, v, cu, cu, 70, 70, causal=True, window_size=(9, 0))
    expected, _ = varlen_attention_reference(q, k, v, cu, cu, causal=True, window_size=(9, 0))
    assert relative_error(out, expected) < 3e-6


BAD = [
    (ValueError, "head_dim", lambda q, k, v: (q, k[..., :32], v)),
    (ValueError, "head_dim of q is 48", lambda q, k, v: (q[..., :48], k[..., :48], v)),
    (ValueError, "kv_heads", lambda q, k, v: (q, k, v[:, :, :1])),
    (ValueError, "3 query heads cannot be shared", lambda q, k, v: (q[:, :, :3], k, v)),
    (ValueError, "seqlen_k", lambda q, k, v: (q, k[:, :4], v)),
    (ValueError, "batch", lambda q, k, v: (q[:1], k, v)),
    (ValueError, "q must be", lambda q, k, v: (q[0], k, v)),
    (ValueError, "stride", lambda q, k, v: (q.mT.contiguous().mT, k, v)),
    (TypeError, "k is float16", lambda q, k, v: (q, k.half(), v)),
    (TypeError, "q is int32", lambda q, k, v: (q.int(), k, v)),
    (ValueError, "v is on meta", lambda q, k, v: (q, k, v.to("meta"))),
]


@pytest.mark.parametrize(("error", "words", "spoil"), BAD)
def test_bad_tensors_get_one_clear_error(device, error, words, spoil):
    inputs = qkv(device, 8, 8, 4, 2, 64, batch=2)
    with pytest.raises(error, match=words):
        flash_attention(*spoil(*inputs))


@pytest.mark.parametrize(
    ("error", "words", "options"),
    [
        (ValueError, "window_size", {"window_size": (-2, 0)}),
        (ValueError, "softmax_scale", {"softmax_scale": 0.0}),
        (ValueError, "softmax_scale", {"softmax_scale": math.nan}),
        (ValueError, "q_scale is for fp8", {"q_scale": 2.0}),
        (ValueError, "one number per tensor", {"q_scale": torch.ones(3)}),
        (TypeError, "out_dtype", {"out_dtype": torch.int8}),
    ],
)
def test_bad_options_get_one_clear_error(device, error, words, options):
    with pytest.raises(error, match=words):
        flash_attention(*qkv(device, 8, 8, 1, 1, 64), **options)


def test_bad_cu_seqlens_get_one_clear_error(device):
    q, k, v = (t[0] for t in qkv(device, 8, 8, 1, 1, 64))
    cu = torch.tensor([0, 8], dtype=torch.int32, device=device)
    with pytest.raises(TypeError, match="cu_seqlens_q is int64"):
        flash_attention_varlen(q, k, v, cu.long(), cu, 8, 8)
    with pytest.raises(ValueError, match="cu_seqlens_k must be"):
        flash_attention_varlen(q, k, v, cu, cu[:1], 8, 8)
    with pytest.raises(ValueError, match="negative"):
        flash_attention_varlen(q, k, v, cu, cu, -1, 8)


@gpu_only
@pytest.mark.gpu
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("head_dim", [64, 128, 256])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("seqlen", [1000, 2048, 4500])
def test_error_is_at_most_twice_pytorchs(device, seqlen, dtype, head_dim, causal):
    batch = 2 if seqlen <= 2048 else 1
    q, k, v = qkv(device, seqlen, seqlen, 16, 4, head_dim, batch=batch, dtype=dtype)
    expected, _ = attention_reference(q, k, v, causal=causal)
    theirs = torch.nn.functional.scaled_dot_product_attention(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=causal, enable_gqa=True
    ).transpose(1, 2)
    ours = flash_attention(q, k, v, causal=causal)
    assert isinstance(ours, torch.Tensor)
    assert relative_error(ours, expected) <= 2 * relative_error(theirs, expected)


@gpu_only
@pytest.mark.gpu
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("head_dim", [64, 128, 256])
@pytest.mark.parametrize("seqlen", [1000, 4500])
def test_fp8_error_is_at_most_twice_that_of_rounding_the_weights(device, seqlen, head_dim, causal):
    """Against PyTorch that rounds its softmax weights to e4m3, as any fp8 second product must."""
    if torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("fp8 needs compute capability 8.9")
    q, k, v = qkv(device, seqlen, seqlen, 8, 2, head_dim, dtype=torch.float8_e4m3fn)
    expected, lse = attention_reference(q, k, v, causal=causal)
    keys, values = (t.float().repeat_interleave(4, dim=2) for t in (k, v))
    scores = torch.einsum("bqhd,bkhd->bhqk", q.float(), keys) * head_dim**-0.5
    if causal:
        scores += torch.full_like(scores[0, 0], -math.inf).triu(1)
    peak = scores.amax(-1, keepdim=True)
    weights = (torch.exp(scores - peak) * 256).to(torch.float8_e4m3fn).float() / 256
    weights = weights * torch.exp(peak - lse.float()[..., None])
    theirs = torch.einsum("bhqk,bkhd->bqhd", weights, values)
    ours = flash_attention(q, k, v, causal=causal)
    assert relative_error(ours, expected) <= 2 * relative_error(theirs, expected)


@gpu_only
@pytest.mark.gpu
def test_captured_in_a_cuda_graph(device):
    q, k, v = qkv(device, 300, 300, 8, 2, 128, dtype=torch.bfloat16)
    flash_attention(q, k, v)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = flash_attention(q, k, v)
    q.normal_()
    graph.replay()
    expected, _ = attention_reference(q, k, v)
    assert relative_error(out, expected) < TOLERANCE[torch.bfloat16]


def test_a_layout_is_checked_once_and_bad_ones_every_time(device, monkeypatch):
    checked = []
    check_inputs = flash._check_inputs
    monkeypatch.setattr(flash, "_check_inputs", lambda *a: checked.append(a) or check_inputs(*a))
    monkeypatch.setattr(flash, "_calls", {})
    q, k, v = qkv(device, 20, 20, 2, 1, 64)
    for _ in range(3):
        flash_attention(q, k, v)
        flash_attention(q.clone(), k, v)
    assert len(checked) == 1
    flash_attention(q.transpose(1, 2).contiguous().transpose(1, 2), k, v)
    flash_attention(torch.zeros(q.numel() + 1, device=device)[1:].view_as(q), k, v)
    flash_attention(q, k, v, causal=False)
    flash_attention(q, k, v, window_size=(3, 0))
    assert len(checked) == 5
    for _ in range(2):
        with pytest.raises(TypeError, match="k is float16"):
            flash_attention(q, k.half(), v)
    assert len(checked) == 7
    assert len(flash._calls) == 5
    for seqlen in range(1, 520):
        flash._remember((seqlen,), flash._calls[next(reversed(flash._calls))])
    assert len(flash._calls) == 512


def test_the_package_gives_the_function_whatever_was_imported_before():
    import kernels
    import kernels.flash
    import kernels.paged_decode

    for name in kernels.__all__:
        assert callable(getattr(kernels, name)), name
