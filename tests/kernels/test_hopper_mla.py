"""The Hopper path of MLA decode: equal shares of uneven batches, against float64."""

import pytest
import torch
from on_hopper import counted_runs, hopper_only
from paging import paged, relative_error

from kernels.hopper import mla as hopper_mla
from kernels.mla_decode import mla_decode_attention
from kernels.paged_reference import mla_decode_reference

BF16, FP16, FP8, INT8 = torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.int8
BOUND = {FP16: 1e-3, BF16: 6e-3}
SCALE = 192**-0.5
LENGTHS = {
    "any": [(37 * i) % 700 for i in range(40)],
    "none at first": [0] * 9 + [500, 1, 64, 65, 63] * 3,
    "none at last": [500, 1, 64, 65, 63] * 3 + [0] * 9,
    "one long": [3, 0, 5] * 6 + [20_000] + [0, 2, 9] * 6,
    "fewer tiles than programs": [1, 0, 64, 2] * 5,
    "more sequences than programs": [(61 * i) % 300 for i in range(256)],
    "more than are shared out": [(61 * i) % 300 for i in range(257)],
    "equal": [512] * 132,
    "nearly equal": [500 + i % 30 for i in range(60)],
    "fewer tiles than parts": [64, 200, 0, 130] * 5,
    "two": [3001, 640],
}


@pytest.fixture
def hopper(monkeypatch):
    """Fails a test whose calls do not all come through here."""
    runs = counted_runs(monkeypatch, hopper_mla.Plan)
    yield runs
    assert runs


def latents(lengths, dtype, block_size=16):
    cache = paged(
        lengths, kv_heads=1, head_dim=576, head_dim_v=1, block_size=block_size, dtype=dtype,
        device="cuda",
    )  # fmt: skip
    return cache.k_cache[:, :, 0], cache.block_table, cache.cache_seqlens


def queries(*leading, dtype=BF16):
    whole = torch.randn(*leading, 576, device="cuda").to(dtype)
    return whole[..., :512], whole[..., 512:]


def assert_matches(q, cache, **options):
    options = {"softmax_scale": SCALE, **options}
    out, lse = mla_decode_attention(*q, *cache, return_lse=True, **options)
    wanted, wanted_lse = mla_decode_reference(*q, *cache, **options)
    assert relative_error(out, wanted) < BOUND[q[0].dtype]
    assert torch.equal(lse.isneginf(), wanted_lse.isneginf())
    finite = ~wanted_lse.isneginf()
    assert (lse[finite] - wanted_lse[finite]).abs().max() < 2e-3
    empty = wanted_lse.isneginf() if q[0].dim() == 3 else wanted_lse.isneginf().transpose(1, 2)
    assert (out[empty] == 0).all()


def test_who_shares_out_equally():
    """132 multiprocessors; two blocks of 64 query rows read a share side by side."""
    assert hopper_mla.shares(64, 1, 512, 16, 132) == 132
    assert hopper_mla.shares(64, 2, 512, 16, 132) == 66
    assert hopper_mla.shares(1, 1, 512, 16, 132) is None  # splits are as equal
    assert hopper_mla.shares(257, 1, 512, 16, 132) is None  # more lengths than a program holds
    assert hopper_mla.shares(64, 100, 512, 16, 132) is None
    assert hopper_mla.shares(256, 1, 2**20, 16, 132) is None  # tiles times shares pass 32 bits


@hopper_only
@pytest.mark.parametrize(
    ("heads", "dtype"),
    [(16, BF16), (128, BF16), (16, FP8), (32, FP8), (32, INT8), (128, FP8), (128, INT8)],
)
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_lengths_of_any_kind(lengths, heads, dtype, hopper):
    cache = latents(lengths, dtype)
    scale = {BF16: 1.0, FP8: 0.9, INT8: 0.01}[dtype]
    assert_matches(queries(len(lengths), heads), cache, latent_scale=scale)


@hopper_only
@pytest.mark.parametrize("heads", [16, 64])
@pytest.mark.parametrize("dtype", [BF16, FP8])
def test_no_sequence_holds_anything(heads, dtype, hopper):
    cache = latents([16] * 20, dtype)
    cache[2].zero_()
    out, lse = mla_decode_attention(
        *queries(20, heads), *cache, softmax_scale=SCALE, return_lse=True
    )
    assert (out == 0).all()
    assert lse.isneginf().all()


@hopper_only
@pytest.mark.parametrize(
    ("heads", "q_tokens", "block_size", "q_dtype", "dtype"),
    [
        (20, 1, 32, BF16, BF16),
        (37, 3, 48, FP16, FP16),
        (128, 2, 64, BF16, BF16),
        (5, 3, 128, BF16, FP8),
        (11, 2, 16, BF16, INT8),
        (128, 4, 64, BF16, FP8),
        (20, 2, 256, FP16, INT8),
        (48, 3, 16, FP16, FP8),
    ],
)
def test_rows_pages_and_types(heads, q_tokens, block_size, q_dtype, dtype, hopper):
    lengths = [(53 * i) % 600 for i in range(33)]
    cache = latents(lengths, dtype, block_size)
    scale = torch.tensor([0.01 if dtype == INT8 else 0.9], device="cuda")
    assert_matches(queries(33, q_tokens, heads, dtype=q_dtype), cache, latent_scale=scale)


@hopper_only
@pytest.mark.parametrize("dtype", [BF16, FP8])
def test_unaligned_queries_are_not_sent_there_by_an_earlier_plan(dtype):
    cache = latents([300, 0, 77, 500] * 5, dtype)
    memory = torch.randn(20 * 16 * 576 + 8, device="cuda").bfloat16()
    for shift in (8, 1):
        whole = memory[shift:][: 20 * 16 * 576].view(20, 16, 576)
        assert_matches((whole[..., :512], whole[..., 512:]), cache)
    odd = torch.randn(20, 16, 577, device="cuda").bfloat16()
    assert_matches((odd[..., :512], odd[..., 512:576]), cache)


@hopper_only
@pytest.mark.parametrize("heads", [16, 64])
@pytest.mark.parametrize("dtype", [BF16, FP8])
def test_replays_from_a_cuda_graph_as_sequences_grow(heads, dtype, hopper):
    lengths = torch.tensor([700, 30, 0, 256] * 5)
    cache = latents(lengths.tolist(), dtype)
    q = queries(20, heads)
    graph = torch.cuda.CUDAGraph()
    mla_decode_attention(*q, *cache, softmax_scale=SCALE)
    with torch.cuda.graph(graph):
        out = mla_decode_attention(*q, *cache, softmax_scale=SCALE)
    for share in (1.0, 0.0, 0.5):
        cache[2].copy_((lengths * share).int())
        q[0].copy_(torch.randn(q[0].shape))
        graph.replay()
        wanted, _ = mla_decode_reference(*q, *cache, softmax_scale=SCALE)
        assert (out.double() - wanted).norm() <= 6e-3 * wanted.norm()


@hopper_only
@pytest.mark.parametrize("dtype", [BF16, FP8])
def test_unchecked_bad_contents_stay_inside_the_cache(dtype, hopper):
    cache = latents([400, 300] * 10, dtype)
    cache = (torch.zeros_like(cache[0]), *cache[1:])
    cache[2].add_(10_000)
    out = mla_decode_attention(*queries(20, 16), *cache, softmax_scale=SCALE)
    torch.cuda.synchronize()
    assert out.isfinite().all()
