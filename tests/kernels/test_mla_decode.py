"""MLA decode against float64, and against the attention it abbreviates."""

import pytest
import torch
from paging import paged, relative_error

from kernels.decode_tiles import mla_tile
from kernels.hopper import mla as hopper_mla
from kernels.mla_decode import mla_decode_attention
from kernels.paged_reference import mla_decode_reference
from kernels.reference import attention_reference

FLOATS = [torch.float32, torch.float16]
if torch.cuda.is_available():
    FLOATS.append(torch.bfloat16)
BOUND = {torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 6e-3}
SCALE = 192**-0.5


def latents(lengths, *, rank=32, rope=16, block_size=16, dtype=torch.float32, device="cpu"):
    cache = paged(
        lengths,
        kv_heads=1,
        head_dim=rank + rope,
        head_dim_v=1,
        block_size=block_size,
        dtype=dtype,
        device=device,
    )
    return cache.k_cache[:, :, 0], cache.block_table, cache.cache_seqlens


def queries(*leading, rank=32, rope=16, dtype=torch.float32, device="cpu"):
    whole = torch.randn(*leading, rank + rope, device=device).to(dtype)
    return whole[..., :rank], whole[..., rank:]


def assert_matches(q_nope, q_rope, cache, *, num_splits=None, tile=None, **scale):
    out, lse = mla_decode_attention(
        q_nope, q_rope, *cache, softmax_scale=SCALE, num_splits=num_splits, tile=tile,
        return_lse=True, **scale,
    )  # fmt: skip
    wanted, wanted_lse = mla_decode_reference(q_nope, q_rope, *cache, softmax_scale=SCALE, **scale)
    assert out.shape == wanted.shape == q_nope.shape
    assert out.dtype == q_nope.dtype
    assert relative_error(out, wanted) < BOUND[q_nope.dtype]
    assert torch.equal(lse.isneginf(), wanted_lse.isneginf())
    finite = ~wanted_lse.isneginf()
    assert (lse[finite] - wanted_lse[finite]).abs().max() < 2e-3


def assert_within_twice_torch(q_nope, q_rope, cache, length, bound):
    """All sequences are `length` long; torch attends over the same latents in the query's dtype."""
    wanted, _ = mla_decode_reference(q_nope, q_rope, *cache, softmax_scale=SCALE)
    latent, table, _ = cache
    pages = latent.to(q_nope.dtype)[table[:, : -(-length // latent.shape[1])].long()]
    rows = pages.flatten(1, 2)[:, None, :length]
    heads = q_nope.shape[1]
    theirs = torch.nn.functional.scaled_dot_product_attention(
        torch.cat([q_nope, q_rope], dim=-1)[:, :, None],
        rows.expand(-1, heads, -1, -1),
        rows[..., : q_nope.shape[-1]].expand(-1, heads, -1, -1),
        scale=SCALE,
    )[:, :, 0]
    for num_splits in (None, 1, 7):
        ours = mla_decode_attention(
            q_nope, q_rope, *cache, softmax_scale=SCALE, num_splits=num_splits
        )
        error = relative_error(ours, wanted)
        assert error <= 2 * relative_error(theirs, wanted)
        assert error < bound


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("num_splits", [1, 3])
@pytest.mark.parametrize("q_tokens", [None, 2])
def test_lengths_and_splits(dtype, num_splits, q_tokens, device):
    cache = latents([1, 0, 77, 40], dtype=dtype, device=device)
    leading = (4, 5) if q_tokens is None else (4, q_tokens, 5)
    assert_matches(*queries(*leading, dtype=dtype, device=device), cache, num_splits=num_splits)


@pytest.mark.parametrize("heads", [16, 37])
def test_sizes_of_deepseek(heads, device):
    cache = latents([50], rank=512, rope=64, block_size=64, dtype=torch.float16, device=device)
    q = queries(1, heads, rank=512, rope=64, dtype=torch.float16, device=device)
    assert_matches(*q, cache)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.int8])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_8_bit_latents(dtype, as_tensor, device):
    cache = latents([33, 1, 0], rope=32, dtype=dtype, device=device)
    q = queries(3, 20, rope=32, dtype=torch.float16, device=device)
    scale = 0.9 if dtype == torch.float8_e4m3fn else 0.01
    scale = torch.tensor([scale], device=device) if as_tensor else scale
    for num_splits in (1, 2):
        assert_matches(*q, cache, num_splits=num_splits, latent_scale=scale)


def test_absorbed_form_equals_the_attention_it_abbreviates(device):
    """Keys and values projected up from the latents, head by head, then plain attention."""
    heads, rank, rope, nope, value, length = 3, 32, 16, 24, 20, 29
    cache, table, seqlens = latents([length])
    rows = cache[table[0, : -(-length // 16)].long()].flatten(0, 1)[:length].double()
    up_key = torch.randn(heads, nope, rank, dtype=torch.float64)
    up_value = torch.randn(heads, rank, value, dtype=torch.float64)
    q_nope = torch.randn(1, heads, nope, dtype=torch.float64)
    q_rope = torch.randn(1, heads, rope, dtype=torch.float64)
    keys = torch.cat(
        [
            torch.einsum("lr,hnr->lhn", rows[:, :rank], up_key),
            rows[:, None, rank:].expand(-1, heads, -1),
        ],
        dim=-1,
    )
    values = torch.einsum("lr,hrv->lhv", rows[:, :rank], up_value)
    wanted, _ = attention_reference(
        torch.cat([q_nope, q_rope], dim=-1)[:, None], keys[None], values[None], softmax_scale=SCALE
    )
    absorbed = torch.einsum("bhn,hnr->bhr", q_nope, up_key)
    out = mla_decode_attention(
        absorbed.float().to(device),
        q_rope.float().to(device),
        cache.to(device),
        table.to(device),
        seqlens.to(device),
        softmax_scale=SCALE,
    )
    out = torch.einsum("bhr,hrv->bhv", out.double().cpu(), up_value)
    assert relative_error(out, wanted[:, 0]) < 1e-6


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"q_nope_absorbed": lambda a: a["q_nope_absorbed"][0]}, ValueError, "q_nope_absorbed"),
        ({"q_nope_absorbed": lambda a: a["q_nope_absorbed"].half()}, TypeError, "q_rope is"),
        ({"q_nope_absorbed": lambda a: a["q_nope_absorbed"][..., :24]}, ValueError, "rank is 24"),
        ({"q_rope": lambda a: a["q_rope"][:, :1]}, ValueError, "q_rope must be"),
        ({"latent_cache": lambda a: a["latent_cache"][..., 1:]}, ValueError, "latent_cache must"),
        ({"latent_cache": lambda a: a["latent_cache"].half()}, TypeError, "latent_cache is"),
        ({"cache_seqlens": lambda a: a["cache_seqlens"] * 9}, ValueError, "holds 0 to 64 tokens"),
        ({"latent_scale": lambda a: torch.ones(2)}, ValueError, "latent_scale must be"),
        ({"latent_scale": lambda a: -0.5}, ValueError, "it must be positive"),
        ({"softmax_scale": lambda a: 0.0}, ValueError, "it must be positive"),
        ({"latent_cache": lambda a: a["latent_cache"].to(torch.int8)}, ValueError, "rope is 16"),
        ({"num_splits": lambda a: -1}, ValueError, "num_splits is -1"),
        ({"num_splits": lambda a: 65_536}, ValueError, "at most 65,535"),
    ],
)  # fmt: skip
def test_bad_input_gives_one_clear_error(change, error, words, device):
    cache, table, seqlens = latents([20, 5], device=device)
    q_nope, q_rope = queries(2, 4, device=device)
    arguments = {
        "q_nope_absorbed": q_nope,
        "q_rope": q_rope,
        "latent_cache": cache,
        "block_table": table,
        "cache_seqlens": seqlens,
        "softmax_scale": SCALE,
    }
    arguments |= {name: make(arguments) for name, make in change.items()}
    with pytest.raises(error, match=words):
        mla_decode_attention(**arguments, check=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("heads", [16, 64, 128])
def test_error_is_at_most_twice_that_of_torch(dtype, heads):
    length = 3_001
    cache = latents([length] * 2, rank=512, rope=64, block_size=64, dtype=dtype, device="cuda")
    q_nope, q_rope = queries(2, heads, rank=512, rope=64, dtype=dtype, device="cuda")
    assert_within_twice_torch(q_nope, q_rope, cache, length, BOUND[dtype])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("num_splits", [None, 1, 5])
@pytest.mark.parametrize(
    ("heads", "block_size", "q_tokens"),
    [(128, 16, None), (64, 64, None), (37, 48, 3), (16, 256, 2), (32, 32, None)],
)
def test_pages_rows_and_splits_of_deepseek(dtype, num_splits, heads, block_size, q_tokens):
    cache = latents(
        [3001, 77, 0, 1, 640], rank=512, rope=64, block_size=block_size, dtype=dtype, device="cuda"
    )
    leading = (5, heads) if q_tokens is None else (5, q_tokens, heads)
    q = queries(*leading, rank=512, rope=64, dtype=dtype, device="cuda")
    assert_matches(*q, cache, num_splits=num_splits)
    scale = torch.tensor([0.9], device="cuda")
    assert_matches(*q, cache, num_splits=num_splits, latent_scale=scale)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.int8])
@pytest.mark.parametrize("num_splits", [None, 1, 5])
@pytest.mark.parametrize(
    ("heads", "block_size", "q_tokens"),
    [(16, 16, None), (5, 128, None), (20, 32, None), (8, 64, 3), (37, 48, 3), (128, 256, None)],
)
def test_8_bit_latents_of_deepseek(dtype, num_splits, heads, block_size, q_tokens):
    cache = latents(
        [3001, 77, 0, 1, 64, 65, 640],
        rank=512,
        rope=64,
        block_size=block_size,
        dtype=dtype,
        device="cuda",
    )
    leading = (7, heads) if q_tokens is None else (7, q_tokens, heads)
    scale = 0.9 if dtype == torch.float8_e4m3fn else 0.01
    # Queries of one type after the other: nothing compiled for the first may serve the second.
    for q_dtype, given in (
        (torch.bfloat16, scale),
        (torch.float16, torch.tensor([scale], device="cuda")),
        (torch.bfloat16, torch.tensor([scale], device="cuda")),
    ):
        q = queries(*leading, rank=512, rope=64, dtype=q_dtype, device="cuda")
        assert_matches(*q, cache, num_splits=num_splits, latent_scale=given)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("cache_dtype", [torch.float8_e4m3fn, torch.int8])
@pytest.mark.parametrize("q_dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("heads", [16, 32, 64])
@pytest.mark.parametrize("sharpness", [1, 8, 30])
def test_error_over_8_bits_is_at_most_twice_that_of_torch_over_the_same_values(
    cache_dtype, q_dtype, heads, sharpness
):
    length = 3_001
    cache = latents(
        [length] * 2, rank=512, rope=64, block_size=64, dtype=cache_dtype, device="cuda"
    )
    q_nope, q_rope = queries(2, heads, rank=512, rope=64, dtype=q_dtype, device="cuda")
    if cache_dtype == torch.int8:
        sharpness /= cache[0].float().std().item()
    q_nope, q_rope = q_nope * sharpness, q_rope * sharpness
    bound = 2.5e-3 if q_dtype == torch.bfloat16 else BOUND[q_dtype]
    assert_within_twice_torch(q_nope, q_rope, cache, length, bound)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.int8])
@pytest.mark.parametrize("heads", [16, 64])
@pytest.mark.parametrize("portable", [False, True])
def test_subnormal_queries_weigh_every_key_alike(dtype, heads, portable):
    cache = latents([77], rank=512, rope=64, dtype=dtype, device="cuda")
    q = [
        torch.full((1, heads, width), 1e-39, device="cuda", dtype=torch.bfloat16)
        for width in (512, 64)
    ]
    assert_matches(*q, cache, tile=mla_tile(90, heads, 1) if portable else None)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("cache_dtype", [torch.bfloat16, torch.float8_e4m3fn])
@pytest.mark.parametrize("heads", [16, 64])
def test_queries_stored_head_by_head(cache_dtype, heads):
    cache = latents([77, 130], rank=512, rope=64, dtype=cache_dtype, device="cuda")
    q = queries(heads, 2, rank=512, rope=64, dtype=torch.bfloat16, device="cuda")
    assert_matches(*(part.transpose(0, 1) for part in q), cache)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_hopper_takes_latents_of_deepseek_and_leaves_the_rest():
    if torch.cuda.get_device_capability()[0] != 9:
        pytest.skip("needs a Hopper GPU")
    q = [
        part.unsqueeze(1)
        for part in queries(1, 20, rank=512, rope=64, dtype=torch.bfloat16, device="cuda")
    ]
    cache = latents([50], rank=512, rope=64, dtype=torch.bfloat16, device="cuda")[0]
    assert hopper_mla.supports(*q, cache)
    assert hopper_mla.supports(*q, cache.to(torch.float8_e4m3fn))
    assert hopper_mla.supports(*q, cache.to(torch.int8))
    halves = [part.half() for part in q]
    few = [part[:, :, :16] for part in halves]
    for dtype in (torch.float8_e4m3fn, torch.int8):
        assert hopper_mla.supports(*halves, cache.to(dtype))
        assert not hopper_mla.supports(*few, cache.to(dtype))
    assert not hopper_mla.supports(q[0].half(), q[1].half(), cache)
    assert not hopper_mla.supports(q[0][..., :256], q[1], cache)
    assert not hopper_mla.supports(*q, cache.flatten()[1:577].view(1, 1, 576))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("heads", [16, 128])
def test_replays_from_a_cuda_graph(heads):
    cache = latents([700, 30], rank=512, rope=64, dtype=torch.bfloat16, device="cuda")
    q_nope, q_rope = queries(2, heads, rank=512, rope=64, dtype=torch.bfloat16, device="cuda")
    mla_decode_attention(q_nope, q_rope, *cache, softmax_scale=SCALE)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = mla_decode_attention(q_nope, q_rope, *cache, softmax_scale=SCALE)
    cache[2].copy_(torch.tensor([333, 17]))
    graph.replay()
    wanted, _ = mla_decode_reference(q_nope, q_rope, *cache, softmax_scale=SCALE)
    assert relative_error(out, wanted) < 6e-3
