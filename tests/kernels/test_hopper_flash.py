"""The Hopper path: what runs without a Hopper card, and on one windows and packed sequences.

Every pair of head_dim, dtype, mask and grouping is a compilation of seconds, so cases share them.
"""

import math

import pytest
import torch
from on_hopper import hopper_only

from kernels import checks
from kernels.flash import flash_attention, flash_attention_varlen
from kernels.hopper import flash as hopper_flash
from kernels.hopper.values import Transposer
from kernels.reference import attention_reference, varlen_attention_reference
from kernels.tiles import HopperTile, hopper_tile

FP8 = torch.float8_e4m3fn
TOLERANCE = {torch.float16: 1.5e-3, torch.bfloat16: 1e-2, FP8: 4e-2}
OTHER_HEADS = [
    (64, 64, torch.bfloat16), (80, 80, torch.float16), (192, 128, torch.bfloat16),
    (256, 256, torch.float16), (64, 64, FP8), (128, 128, FP8),
]  # fmt: skip
ORDER = [0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15]  # keys as a quad's lanes hold them


def randn(*shape, dtype=torch.bfloat16):
    return torch.randn(*shape, device="cuda").to(dtype)


def check(dtype, out, lse, expected, expected_lse):
    nothing = expected_lse == -math.inf
    assert torch.isfinite(out).all()
    assert ((out.double() - expected).norm() / expected.norm()).item() < TOLERANCE[dtype]
    assert (lse[nothing] == -math.inf).all()
    atol = 3e-2 if dtype == FP8 else 2e-3
    torch.testing.assert_close(lse[~nothing].double(), expected_lse[~nothing], atol=atol, rtol=1e-4)


def test_values_transposed_with_keys_renamed_and_padding_zero(device):
    v = torch.randn(2, 37, 3, 80, device=device).to(FP8)
    out = Transposer(v, None)(v, None).float()
    assert out.shape == (2, 3, 80, 48)
    padded = torch.zeros(2, 48, 3, 80, device=device)
    padded[:, :37] = v.float()
    keys = torch.tensor([16 * block + key for block in range(3) for key in ORDER], device=device)
    assert torch.equal(out, padded[:, keys].permute(0, 2, 3, 1))


def test_packed_values_transposed_each_from_a_multiple_of_128(device):
    lengths = [37, 0, 128, 5]
    v = torch.randn(1, sum(lengths) + 3, 2, 64, device=device).to(FP8)
    cu = torch.tensor([0, *lengths], device=device).cumsum(0, dtype=torch.int32)
    out = Transposer(v, len(lengths))(v, cu).float()
    order = torch.tensor([16 * block + key for block in range(8) for key in ORDER], device=device)
    for index, length in enumerate(lengths):
        begin = int(cu[index])
        start = (begin // 128 + index) * 128
        padded = torch.zeros(128, 2, 64, device=device)
        padded[:length] = v[0, begin : begin + length].float()
        if length:
            assert torch.equal(out[0, :, :, start : start + 128], padded[order].permute(1, 2, 0))


def test_only_a_hopper_card_is_supported():
    q = torch.zeros(1, 8, 2, 128, dtype=torch.bfloat16)
    assert not hopper_flash.supports(q, q, q, torch.bfloat16)


def test_tiles_cover_the_head_dims():
    for head_dim in (64, 80, 96, 128, 192, 256):
        for element_bytes in (1, 2):
            for causal in (True, False):
                tile = hopper_tile(head_dim, head_dim, element_bytes, causal)
                assert isinstance(tile, HopperTile)
    assert hopper_tile(192, 128, 2, True) is not None
    assert hopper_tile(64, 128, 2, True) is None


def check_dense(seqlen_q, seqlen_k, head_dim, head_dim_v=None, dtype=torch.bfloat16, **options):
    q = randn(1, seqlen_q, 8, head_dim, dtype=dtype)
    k = randn(1, seqlen_k, 2, head_dim, dtype=dtype)
    v = randn(1, seqlen_k, 2, head_dim_v or head_dim, dtype=dtype)
    assert hopper_flash.supports(q, k, v, torch.bfloat16)
    out, lse = flash_attention(q, k, v, return_lse=True, **options)
    check(dtype, out, lse, *attention_reference(q, k, v, **options))


@hopper_only
@pytest.mark.parametrize("window", [(100, 0), (20, 30), (-1, 3), (3, -1), (0, 0), (127, 128)])
@pytest.mark.parametrize(
    ("seqlen_q", "seqlen_k"), [(1000, 1000), (300, 700), (700, 300), (1, 500), (2100, 2100)]
)
def test_windows(device, seqlen_q, seqlen_k, window):
    check_dense(seqlen_q, seqlen_k, 128, causal=False, window_size=window)


@hopper_only
@pytest.mark.parametrize(("head_dim", "head_dim_v", "dtype"), OTHER_HEADS)
def test_windows_of_other_heads(device, head_dim, head_dim_v, dtype):
    for seqlen_q, seqlen_k in ((1000, 1000), (300, 700)):
        check_dense(seqlen_q, seqlen_k, head_dim, head_dim_v, dtype, window_size=(100, -1))


@hopper_only
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, FP8])
def test_keys_wider_than_values(device, dtype, causal):
    for seqlen_q, seqlen_k in ((1000, 1000), (300, 700), (70, 30)):
        check_dense(seqlen_q, seqlen_k, 192, 128, dtype, causal=causal)


@hopper_only
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(
    ("head_dim", "dtype"), [(d, torch.bfloat16) for d in (64, 128, 256)] + [(128, FP8)]
)
def test_rows_whose_maximum_grows_tile_by_tile(device, head_dim, dtype, causal):
    """Keys are read from the last: every third row's scores rise by 6 each 64 keys, and some jump.

    So the output is rescaled in some warps and not in others, and in some tiles and not in others.
    """
    q, k, v = randn(1, 1000, 8, head_dim), randn(1, 1000, 2, head_dim), randn(1, 1000, 2, head_dim)
    q[..., 0] = 0
    q[:, ::3, :, 0] = 1.5 * head_dim**0.5
    q[:, 128:256, :, 0] = 0
    k[..., 0] = 4 * (15 - torch.arange(1000, device=device) // 64)[None, :, None]
    k[:, 300:310, :, 0] += 30
    q, k, v = (t.to(dtype) for t in (q, k, v))
    out, lse = flash_attention(q, k, v, causal=causal, return_lse=True)
    # Hopper adds fp8 products with some 14 bits (arXiv 2412.19437, 3.3.2): large scores are off.
    expected, expected_lse = attention_reference(q, k, v, causal=causal)
    if dtype == FP8:
        assert ((out.double() - expected).norm() / expected.norm()).item() < 6e-2
        torch.testing.assert_close(lse.double(), expected_lse, atol=0.15, rtol=0)
    else:
        check(dtype, out, lse, expected, expected_lse)


LENGTHS = [
    ([300, 1, 0, 77, 512, 130], [300, 5, 10, 77, 600, 20]),
    ([64, 64, 128, 256], [64, 128, 128, 300]),
    ([1000, 0, 5], [0, 40, 900]),
    ([7 * i % 131 for i in range(60)], [11 * i % 203 for i in range(60)]),
]


def check_packed(lengths_q, lengths_k, head_dim, head_dim_v=None, dtype=torch.bfloat16, **options):
    """All of one sequence and what lies past the end is NaN, and must not leak."""
    cu_q, cu_k = (
        torch.tensor([0, *lengths], device="cuda").cumsum(0, dtype=torch.int32)
        for lengths in (lengths_q, lengths_k)
    )
    q = randn(sum(lengths_q) + 3, 8, head_dim)
    k = randn(sum(lengths_k) + 3, 2, head_dim)
    v = randn(sum(lengths_k) + 3, 2, head_dim_v or head_dim)
    bad = len(lengths_q) // 2
    sound = torch.ones(len(q), dtype=torch.bool, device="cuda")
    for tensor, cu in ((q, cu_q), (k, cu_k), (v, cu_k), (sound, cu_q)):
        tensor[cu[bad] : cu[bad + 1]] = math.nan if tensor is not sound else False
        tensor[cu[-1] :] = math.nan if tensor is not sound else False
    q, k, v = (t.to(dtype) for t in (q, k, v))
    assert hopper_flash.supports(q[None], k[None], v[None], torch.bfloat16)
    longest = max(lengths_q), max(lengths_k)
    out, lse = flash_attention_varlen(q, k, v, cu_q, cu_k, *longest, return_lse=True, **options)
    expected, expected_lse = varlen_attention_reference(q, k, v, cu_q, cu_k, **options)
    total = len(expected)
    out, lse, sound = out[:total], lse[:, :total], sound[:total]
    check(dtype, out[sound], lse[:, sound], expected[sound], expected_lse[:, sound])


@hopper_only
@pytest.mark.parametrize(
    "options",
    [{}, {"causal": False}, {"window_size": (50, -1)}, {"causal": False, "window_size": (50, 20)}],
)
@pytest.mark.parametrize(("lengths_q", "lengths_k"), LENGTHS)
def test_packed_sequences(device, lengths_q, lengths_k, options):
    check_packed(lengths_q, lengths_k, 128, **options)


@hopper_only
@pytest.mark.parametrize("options", [{}, {"causal": False, "window_size": (50, 20)}])
@pytest.mark.parametrize(("head_dim", "head_dim_v", "dtype"), OTHER_HEADS)
def test_packed_sequences_of_other_heads(device, head_dim, head_dim_v, dtype, options):
    for lengths in LENGTHS[:2]:
        check_packed(*lengths, head_dim, head_dim_v, dtype, **options)


@hopper_only
def test_memory_used_again_and_other_layouts(device):
    """Nothing remembered from one call is wrong for the next at the same address."""
    for seqlen in (512, 300, 512, 77, 300):
        check_dense(seqlen, seqlen, 128)
        check_packed([seqlen, 40], [seqlen, 60], 128)


@hopper_only
@pytest.mark.parametrize("dtype", [torch.bfloat16, FP8])
def test_packed_sequences_captured_in_a_cuda_graph(device, dtype):
    """Every replay counts from zero again, and short sequences leave slots that are nobody's."""
    lengths = [100, 200] + [64] * 40
    total = sum(lengths)
    q, k, v = (randn(total, heads, 128, dtype=dtype) for heads in (8, 2, 2))
    cu = torch.tensor([0, *lengths], device=device).cumsum(0, dtype=torch.int32)
    flash_attention_varlen(q, k, v, cu, cu, 200, 200)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = flash_attention_varlen(q, k, v, cu, cu, 200, 200)
    for middle in (170, 130):
        q.copy_(randn(*q.shape, dtype=dtype))
        cu[1] = middle
        out.fill_(math.nan)
        graph.replay()
        expected, _ = varlen_attention_reference(q, k, v, cu, cu)
        assert ((out.double() - expected).norm() / expected.norm()).item() < TOLERANCE[dtype]
    assert checks.capability(q.device) == 90
