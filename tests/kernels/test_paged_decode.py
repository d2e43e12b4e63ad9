"""Paged decode against float64, in the interpreter without a GPU and compiled with one."""

import pytest
import torch
from paging import paged, relative_error

from kernels.combine import combine_reference, combine_splits
from kernels.decode_tiles import (
    DecodeTile,
    sm_count,
    split_count,
    tiles_by_load,
    whole_sequences,
)
from kernels.paged_decode import paged_decode_attention
from kernels.paged_reference import paged_decode_reference

FLOATS = [torch.float32, torch.float16]
if torch.cuda.is_available():
    FLOATS.append(torch.bfloat16)
QUANTISED = [torch.float8_e4m3fn, torch.int8]
BOUND = {torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 6e-3}


def assert_matches(q, cache, *, bound=None, **options):
    out, lse = paged_decode_attention(q, *cache.arguments(), return_lse=True, **options)
    for scheduling in ("num_splits", "tile"):
        options.pop(scheduling, None)
    wanted_out, wanted_lse = paged_decode_reference(q, *cache.arguments(), **options)
    assert out.dtype == q.dtype
    assert out.shape == wanted_out.shape
    assert relative_error(out, wanted_out) < (bound or BOUND[q.dtype])
    assert torch.equal(lse.isneginf(), wanted_lse.isneginf())
    finite = ~wanted_lse.isneginf()
    assert (lse[finite] - wanted_lse[finite]).abs().max() < 2e-3
    empty = wanted_lse.isneginf()  # [batch, heads] or [batch, heads, q_tokens]
    empty = empty if q.dim() == 3 else empty.transpose(1, 2)
    assert (out[empty] == 0).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("num_splits", [1, 3])
@pytest.mark.parametrize("window", [(-1, -1), (20, 0)])
@pytest.mark.parametrize("q_tokens", [None, 3])
def test_lengths_windows_and_splits(dtype, num_splits, window, q_tokens, device):
    cache = paged([1, 0, 77, 130, 2], dtype=dtype, device=device)
    shape = (5, 4, 64) if q_tokens is None else (5, q_tokens, 4, 64)
    q = torch.randn(shape, device=device).to(dtype)
    assert_matches(q, cache, num_splits=num_splits, window_size=window)


DIMS = [(80, 80), (96, 96), (128, 64), (192, 128), (256, 256)]


@pytest.mark.parametrize(
    ("dims", "heads"),
    [*((dims, (6, 2)) for dims in DIMS), ((80, 80), (4, 4)), ((128, 64), (5, 1))],
)
def test_head_dims_and_groups(dims, heads, device):
    query_heads, kv_heads = heads
    cache = paged(
        [63, 17], kv_heads=kv_heads, head_dim=dims[0], head_dim_v=dims[1], device=device,
        dtype=torch.float16,
    )  # fmt: skip
    q = torch.randn(2, query_heads, dims[0], device=device).half()
    assert_matches(q, cache)


@pytest.mark.parametrize("block_size", [32, 48, 80, 256])
def test_block_sizes(block_size, device):
    cache = paged([111, 300], block_size=block_size, device=device)
    assert_matches(torch.randn(2, 4, 64, device=device), cache, num_splits=2)


def test_more_query_rows_than_one_program_holds(device):
    cache = paged([100, 35], kv_heads=1, device=device)
    assert_matches(torch.randn(2, 71, 64, device=device), cache, num_splits=2)
    assert_matches(torch.randn(2, 5, 17, 64, device=device), cache, window_size=(9, 0))


@pytest.mark.parametrize("kv_heads", [2, 4])
@pytest.mark.parametrize("case", ["plain", "window", "tokens", "fp8", "int8"])
def test_several_kv_heads_a_program(kv_heads, case, device):
    tile = DecodeTile(16, 32, kv_heads, 3, 1, kv_heads)
    options = {"window_size": (20, 0)} if case == "window" else {}
    cache_dtype = torch.float16
    if case in ("fp8", "int8"):
        cache_dtype = torch.float8_e4m3fn if case == "fp8" else torch.int8
        options = {"k_scale": 0.01, "v_scale": 0.02}
    cache = paged([1, 0, 77, 130], kv_heads=4, head_dim=80, dtype=cache_dtype, device=device)
    shape = (4, 3, 8, 80) if case == "tokens" else (4, 8, 80)
    q = torch.randn(shape, device=device).half()
    for num_splits in (1, 3):
        assert_matches(q, cache, num_splits=num_splits, tile=tile, **options)


@pytest.mark.parametrize("dtype", QUANTISED)
def test_many_query_rows_over_an_8_bit_cache(dtype, device):
    cache = paged([40, 21], kv_heads=1, dtype=dtype, device=device)
    assert_matches(torch.randn(2, 71, 64, device=device).half(), cache, k_scale=0.01, v_scale=0.02)


def test_scores_far_apart_do_not_overflow(device):
    cache = paged([90], device=device)
    cache.k_cache[cache.block_table[0, 2]] *= 200
    assert_matches(torch.randn(1, 4, 64, device=device), cache, num_splits=3, bound=1e-5)


@pytest.mark.parametrize("dtype", QUANTISED)
@pytest.mark.parametrize("scales", ["number", "element", "token_head"])
def test_quantised_caches(dtype, scales, device):
    cache = paged([1, 0, 77], dtype=dtype, device=device, head_dim=80)
    q = torch.randn(3, 4, 80, device=device).half()
    size = 1.0 if dtype == torch.float8_e4m3fn else 1 / 127
    if scales == "number":
        k_scale, v_scale = 0.7 * size, 1.3 * size
    elif scales == "element":
        k_scale = torch.tensor([0.7 * size], device=device)
        v_scale = torch.tensor([1.3 * size], device=device)
    else:
        k_scale = torch.rand(cache.k_cache.shape[:-1], device=device) * size
        v_scale = torch.rand(cache.v_cache.shape[:-1], device=device) * size
        used = ~cache.k_cache.float().isnan().any(-1)
        if dtype == torch.float8_e4m3fn:
            k_scale[~used] = torch.nan
            v_scale[~used] = torch.nan
    for num_splits in (1, 2):
        assert_matches(q, cache, num_splits=num_splits, k_scale=k_scale, v_scale=v_scale)


def test_large_queries_over_an_8_bit_cache(device):
    """bf16 (here fp32) queries beyond fp16's range must not overflow on the way."""
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    cache = paged([50], dtype=torch.float8_e4m3fn, device=device)
    q = (torch.randn(1, 4, 64, device=device) * 3e5).to(dtype)
    assert_matches(q, cache, softmax_scale=1e-6, k_scale=0.5, v_scale=2.0)


def test_caches_of_any_stride(device):
    cache = paged([40, 9], device=device)
    both = torch.stack([cache.k_cache, cache.v_cache], dim=1).transpose(2, 3).contiguous()
    cache.k_cache, cache.v_cache = (both[:, side].transpose(1, 2) for side in (0, 1))
    assert not cache.k_cache.is_contiguous()
    q = torch.randn(2, 64, 4, device=device).transpose(1, 2).contiguous()
    assert_matches(q, cache, num_splits=2)


def test_no_sequences_and_no_blocks(device):
    cache = paged([0, 0], device=device, spare_blocks=0)
    out, lse = paged_decode_attention(
        torch.randn(2, 4, 64, device=device), *cache.arguments(), return_lse=True
    )
    assert (out == 0).all()
    assert lse.isneginf().all()
    nothing = paged_decode_attention(
        torch.randn(0, 4, 64, device=device),
        cache.k_cache,
        cache.v_cache,
        cache.block_table[:0],
        cache.cache_seqlens[:0],
    )
    assert nothing.shape == (0, 4, 64)


def test_combine_ignores_what_empty_splits_hold(device):
    partial_out = torch.randn(6, 150, 40, device=device)
    partial_lse = torch.randn(6, 150, device=device) * 5
    partial_lse[:, 100:] = -torch.inf
    partial_lse[2] = -torch.inf
    partial_out[partial_lse.isneginf()] = torch.nan
    out, lse = torch.empty(6, 40, device=device), torch.empty(6, device=device)
    combine_splits(partial_out, partial_lse, out, lse)
    wanted_out, wanted_lse = combine_reference(partial_out, partial_lse)
    assert relative_error(out, wanted_out) < 1e-6
    torch.testing.assert_close(lse.double(), wanted_lse, atol=1e-5, rtol=1e-5)
    assert (out[2] == 0).all()


@pytest.mark.parametrize("q_tokens", [1, 2])
def test_some_sequences_whole_and_some_split(q_tokens, device):
    tile = DecodeTile(16, 16, 4, 2, 1)
    places = sm_count(torch.device(device))
    lengths = [(37 * i) % 150 + 2 for i in range(places + 2)]  # two more than a round holds
    lengths[-1] = 200
    assert whole_sequences(len(lengths), 1, tile, sms=places) == places
    assert split_count(2, 208, tile, sms=places) > 1
    cache = paged(lengths, kv_heads=1, device=device)
    q = torch.randn(len(lengths), q_tokens, 4, 64, device=device)
    assert_matches(q, cache, tile=tile)


@pytest.mark.parametrize("num_splits", [None, 2])
def test_no_new_tokens_give_an_empty_result(num_splits, device):
    cache = paged([20, 3], kv_heads=1, device=device)
    q = torch.randn(2, 0, 4, 64, device=device)
    assert paged_decode_attention(q, *cache.arguments(), num_splits=num_splits).shape == q.shape


def good(device):
    cache = paged([20, 5], device=device)
    return {
        "q": torch.randn(2, 4, 64, device=device),
        "k_cache": cache.k_cache,
        "v_cache": cache.v_cache,
        "block_table": cache.block_table,
        "cache_seqlens": cache.cache_seqlens,
    }


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"q": lambda a: a["q"][0]}, ValueError, "q must be"),
        ({"q": lambda a: a["q"].double()}, TypeError, "q is float64"),
        ({"q": lambda a: a["q"].half()}, TypeError, "k_cache is float32"),
        ({"q": lambda a: a["q"][:, :3]}, ValueError, "3 query heads"),
        ({"q": lambda a: a["q"][..., :48]}, ValueError, "k_cache must be"),
        ({"v_cache": lambda a: a["v_cache"][:-1]}, ValueError, "v_cache must be"),
        ({"v_cache": lambda a: a["v_cache"].half()}, TypeError, "v_cache is float16"),
        ({"block_table": lambda a: a["block_table"].long()}, TypeError, "block_table is int64"),
        ({"block_table": lambda a: a["block_table"][:1]}, ValueError, "block_table must be"),
        ({"cache_seqlens": lambda a: a["cache_seqlens"][:1]}, ValueError, "cache_seqlens must"),
        ({"cache_seqlens": lambda a: a["cache_seqlens"].float()}, TypeError, "cache_seqlens is"),
        ({"cache_seqlens": lambda a: a["cache_seqlens"] * 50}, ValueError, "holds 0 to 64 tokens"),
        ({"cache_seqlens": lambda a: a["cache_seqlens"] - 6}, ValueError, "is -1, but"),
        ({"block_table": lambda a: a["block_table"] + 90}, ValueError, "is within cache_seqlens"),
        ({"cache_seqlens": lambda a: a["block_table"][:, 0]}, ValueError, "must be contiguous"),
        ({"num_splits": lambda a: 0}, ValueError, "num_splits is 0"),
        ({"window_size": lambda a: (-2, 0)}, ValueError, "window_size must be"),
        ({"k_scale": lambda a: torch.ones(3, device=a["q"].device)}, ValueError, "k_scale must"),
        ({"v_scale": lambda a: a["q"].half()[0, 0, :1]}, TypeError, "v_scale is float16"),
    ],
)
def test_bad_input_gives_one_clear_error(change, error, words, device):
    arguments = good(device)
    arguments |= {name: make(arguments) for name, make in change.items()}
    with pytest.raises(error, match=words):
        paged_decode_attention(**arguments, check=True)


@pytest.mark.parametrize("block_size", [8, 24, 512])
def test_bad_block_size(block_size, device):
    with pytest.raises(ValueError, match=f"block_size is {block_size}"):
        assert_matches(torch.randn(1, 2, 64), paged([9], block_size=block_size, device=device))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize(
    ("dtype", "cache_dtype"),
    [
        (torch.float16, None),
        (torch.bfloat16, None),
        (torch.bfloat16, torch.float8_e4m3fn),
        (torch.float16, torch.int8),
    ],
)
@pytest.mark.parametrize("shape", [(32, 8, 128), (16, 1, 256), (8, 8, 64), (12, 2, 96)])
def test_error_is_at_most_twice_that_of_torch(dtype, cache_dtype, shape):
    """8-bit caches are held against torch on the same values, dequantised to q's dtype."""
    heads, kv_heads, head_dim = shape
    length = 4_003
    cache = paged(
        [length] * 3,
        kv_heads=kv_heads,
        head_dim=head_dim,
        dtype=cache_dtype or dtype,
        device="cuda",
    )
    scale = 2.0**-6 if cache_dtype == torch.int8 else 1.0
    scales = {"k_scale": scale, "v_scale": scale}
    q = torch.randn(3, heads, head_dim, device="cuda").to(dtype)
    wanted, _ = paged_decode_reference(q, *cache.arguments(), **scales)
    table = cache.block_table[:, : -(-length // 16)].long()
    keys, values = (
        c[table].flatten(1, 2)[:, :length].transpose(1, 2).to(dtype) * scale
        for c in (cache.k_cache, cache.v_cache)
    )
    theirs = torch.nn.functional.scaled_dot_product_attention(
        q[:, :, None], keys, values, enable_gqa=True
    )[:, :, 0]
    size = (cache_dtype or dtype).itemsize
    by_load = tiles_by_load(90, heads // kv_heads, head_dim, size, kv_heads)
    for tile in {tile for _, tiles in by_load for tile in tiles}:
        for num_splits in (None, 1, 7):
            ours = paged_decode_attention(
                q, *cache.arguments(), num_splits=num_splits, tile=tile, **scales
            )
            assert relative_error(ours, wanted) <= 2 * relative_error(theirs, wanted)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_replays_from_a_cuda_graph_as_sequences_grow():
    cache = paged([700, 30], dtype=torch.bfloat16, device="cuda", kv_heads=2, head_dim=128)
    q = torch.randn(2, 8, 128, device="cuda").bfloat16()
    paged_decode_attention(q, *cache.arguments())
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = paged_decode_attention(q, *cache.arguments())
    for lengths in ([700, 30], [1, 0], [333, 17]):
        cache.cache_seqlens.copy_(torch.tensor(lengths))
        q.copy_(torch.randn(q.shape))
        graph.replay()
        wanted, _ = paged_decode_reference(q, *cache.arguments())
        assert relative_error(out, wanted) < 6e-3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_unchecked_bad_contents_stay_inside_the_cache():
    cache = paged([40, 30], dtype=torch.bfloat16, device="cuda", head_dim=128)
    cache.k_cache.nan_to_num_()
    cache.v_cache.nan_to_num_()
    cache.cache_seqlens += 10_000
    out = paged_decode_attention(
        torch.randn(2, 4, 128, device="cuda").bfloat16(), *cache.arguments()
    )
    torch.cuda.synchronize()
    assert out.isfinite().all()
