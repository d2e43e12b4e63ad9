"""The Hopper path of paged decode: equal shares of uneven batches, against float64."""

import pytest
import torch
from on_hopper import ON_HOPPER, counted_runs, hopper_only
from paging import paged, relative_error

from kernels.hopper import paged as hopper_paged
from kernels.paged_decode import paged_decode_attention
from kernels.paged_reference import paged_decode_reference

WIDE = 1100  # table entries to spare: by its width a batch is worth an equal share for everybody
BOUND = {torch.float16: 1e-3, torch.bfloat16: 6e-3}
LENGTHS = {
    "any": [(37 * i) % 700 for i in range(40)],
    "none at first": [0] * 9 + [500, 1, 16, 17, 15] * 3,
    "none at last": [500, 1, 16, 17, 15] * 3 + [0] * 9,
    "one long": [3, 0, 5] * 6 + [20_000] + [0, 2, 9] * 6,
    "fewer tiles than programs": [1, 0, 16, 2] * 5,
    "more rows than programs": [(61 * i) % 300 for i in range(500)],
    "equal": [512] * 132,
}


@pytest.fixture
def hopper(monkeypatch):
    """Fails a test whose calls do not all come through here."""
    runs = counted_runs(monkeypatch, hopper_paged.Plan)
    yield runs
    assert runs


def assert_matches(q, cache, **options):
    out, lse = paged_decode_attention(q, *cache.arguments(), return_lse=True, **options)
    wanted_out, wanted_lse = paged_decode_reference(q, *cache.arguments(), **options)
    assert relative_error(out, wanted_out) < BOUND[q.dtype]
    assert torch.equal(lse.isneginf(), wanted_lse.isneginf())
    finite = ~wanted_lse.isneginf()
    assert (lse[finite] - wanted_lse[finite]).abs().max() < 2e-3
    empty = wanted_lse.isneginf() if q.dim() == 3 else wanted_lse.isneginf().transpose(1, 2)
    assert (out[empty] == 0).all()


def sequences(lengths, **options):
    options = {"dtype": torch.bfloat16, "kv_heads": 8, "head_dim": 128} | options
    return paged(lengths, device="cuda", spare_blocks=WIDE, **options)


@hopper_only
@pytest.mark.parametrize("kv_heads", [8, 2, 1])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_lengths_of_any_kind(lengths, kv_heads, hopper):
    cache = sequences(lengths, kv_heads=kv_heads)
    q = torch.randn(len(lengths), 4 * kv_heads, 128, device="cuda").bfloat16()
    assert_matches(q, cache)


@hopper_only
def test_no_sequence_holds_anything(hopper):
    cache = sequences([16] * 20)
    cache.cache_seqlens.zero_()
    q = torch.randn(20, 32, 128, device="cuda").bfloat16()
    out, lse = paged_decode_attention(q, *cache.arguments(), return_lse=True)
    assert (out == 0).all()
    assert lse.isneginf().all()


@hopper_only
@pytest.mark.parametrize(
    ("heads", "kv_heads", "head_dim", "q_tokens", "block_size", "dtype"),
    [
        (16, 16, 128, 1, 32, torch.float16),
        (32, 8, 128, 4, 64, torch.bfloat16),
        (56, 8, 64, 2, 256, torch.bfloat16),
        (96, 32, 128, 3, 16, torch.float16),
        (128, 8, 64, 1, 16, torch.bfloat16),
        (8, 1, 128, 1, 16, torch.bfloat16),
        (4, 1, 64, 4, 32, torch.float16),
        (6, 2, 64, 3, 16, torch.bfloat16),
        (32, 2, 128, 1, 64, torch.bfloat16),
        (28, 4, 128, 2, 16, torch.bfloat16),
        (64, 4, 128, 1, 16, torch.float16),
        (12, 12, 128, 1, 16, torch.bfloat16),
        (3, 3, 64, 1, 128, torch.bfloat16),
    ],
)
@pytest.mark.parametrize("window", [(-1, -1), (100, 0)])
def test_shapes_and_windows(heads, kv_heads, head_dim, q_tokens, block_size, dtype, window, hopper):
    lengths = [(53 * i) % 600 for i in range(33)]
    cache = sequences(
        lengths, kv_heads=kv_heads, head_dim=head_dim, block_size=block_size, dtype=dtype
    )
    q = torch.randn(33, q_tokens, heads, head_dim, device="cuda").to(dtype)
    assert_matches(q, cache, window_size=window)


@hopper_only
@pytest.mark.parametrize("cache_dtype", [torch.float8_e4m3fn, torch.int8])
@pytest.mark.parametrize(
    ("heads", "kv_heads", "head_dim", "q_tokens", "block_size", "dtype"),
    [
        (32, 8, 128, 1, 16, torch.bfloat16),
        (32, 8, 128, 4, 16, torch.float16),
        (64, 8, 64, 1, 32, torch.bfloat16),
        (24, 8, 64, 3, 16, torch.float16),
        (8, 1, 128, 1, 16, torch.bfloat16),
        (3, 3, 128, 1, 16, torch.bfloat16),
        (16, 2, 64, 2, 64, torch.bfloat16),
        (64, 4, 128, 1, 16, torch.float16),
        (14, 2, 128, 2, 256, torch.bfloat16),
    ],
)
@pytest.mark.parametrize("window", [(-1, -1), (100, 0)])
def test_bytes(heads, kv_heads, head_dim, q_tokens, block_size, dtype, cache_dtype, window, hopper):
    lengths = [(53 * i) % 600 for i in range(33)]
    cache = sequences(
        lengths, kv_heads=kv_heads, head_dim=head_dim, block_size=block_size, dtype=cache_dtype
    )
    q = torch.randn(33, q_tokens, heads, head_dim, device="cuda").to(dtype) * 20
    scale = 1 / 127 if cache_dtype == torch.int8 else 0.5
    assert_matches(q, cache, window_size=window, k_scale=scale, v_scale=2 * scale)


@hopper_only
def test_scales_and_strides(hopper):
    cache = sequences([300, 0, 77, 500] * 5)
    pages = torch.stack((cache.k_cache, cache.v_cache), 1)
    cache.k_cache, cache.v_cache = pages.unbind(1)
    fused = torch.randn(20, 48, 128, device="cuda").bfloat16()
    assert_matches(fused[:, :32], cache, k_scale=0.5, v_scale=3.0, softmax_scale=0.1)
    on_the_card = {"k_scale": torch.tensor([0.5], device="cuda"), "v_scale": 3.0}
    assert_matches(fused[:, :32], cache, **on_the_card, softmax_scale=0.1)


@hopper_only
def test_a_base_that_tma_cannot_address_is_not_sent_there_by_an_earlier_plan():
    cache = sequences([300, 0, 77, 500] * 5)
    memory = torch.randn(20 * 32 * 128 + 8, device="cuda").bfloat16()
    for shift in (8, 1):
        q = memory[shift:][: 20 * 32 * 128].view(20, 32, 128)
        assert_matches(q, cache)


@hopper_only
def test_replays_from_a_cuda_graph_as_sequences_grow(hopper):
    lengths = torch.tensor([700, 30, 0, 256] * 5)
    cache = sequences(lengths.tolist())
    q = torch.randn(20, 32, 128, device="cuda").bfloat16()
    graph = torch.cuda.CUDAGraph()
    paged_decode_attention(q, *cache.arguments())
    with torch.cuda.graph(graph):
        out = paged_decode_attention(q, *cache.arguments())
    for share in (1.0, 0.0, 0.5):
        cache.cache_seqlens.copy_((lengths * share).int())
        q.copy_(torch.randn(q.shape))
        graph.replay()
        wanted, _ = paged_decode_reference(q, *cache.arguments())
        assert (out.double() - wanted).norm() <= 6e-3 * wanted.norm()


@hopper_only
def test_a_page_may_be_there_twice(hopper):
    """Pages are read in the order of their numbers, so two may compare equal."""
    lengths = [(53 * i) % 900 for i in range(33)]
    cache = sequences(lengths)
    for row, length in enumerate(lengths):
        whole = length // 16
        cache.block_table[row, whole // 2 : whole] = cache.block_table[
            row, : whole - whole // 2
        ].clone()
    assert_matches(torch.randn(33, 32, 128, device="cuda").bfloat16(), cache)


@hopper_only
def test_unchecked_bad_contents_stay_inside_the_cache(hopper):
    cache = sequences([400, 300] * 10)
    cache.k_cache.nan_to_num_()
    cache.v_cache.nan_to_num_()
    cache.cache_seqlens += 10_000
    out = paged_decode_attention(
        torch.randn(20, 32, 128, device="cuda").bfloat16(), *cache.arguments()
    )
    torch.cuda.synchronize()
    assert out.isfinite().all()


@hopper_only
def test_error_is_at_most_twice_that_of_torch(hopper):
    lengths = [900] * 40
    cache = sequences(lengths)
    q = torch.randn(40, 32, 128, device="cuda").bfloat16()
    out = paged_decode_attention(q, *cache.arguments())
    wanted, _ = paged_decode_reference(q, *cache.arguments())
    pages = cache.block_table[:, : -(-900 // 16)].long()
    k, v = (c[pages].flatten(1, 2)[:, :900].transpose(1, 2) for c in (cache.k_cache, cache.v_cache))
    theirs = torch.nn.functional.scaled_dot_product_attention(q[:, :, None], k, v, enable_gqa=True)[
        :, :, 0
    ]
    assert relative_error(out, wanted) <= 2 * relative_error(theirs, wanted)


def test_other_cards_and_batches_outside_its_range_keep_their_kernel(device):
    """Decided before anything of Gluon is imported."""

    def supported(
        batch=64, heads=32, kv_heads=8, head_dim=128, dtype=torch.bfloat16, cache=None, blocks=64
    ):
        q = torch.zeros(batch, 1, heads, head_dim, dtype=dtype, device=device)
        cache = torch.zeros(2, 16, kv_heads, head_dim, dtype=cache or dtype, device=device)
        return hopper_paged.supports(q, cache, cache, blocks, 132)

    assert supported() == ON_HOPPER
    assert supported(heads=128) == ON_HOPPER
    assert supported(kv_heads=1, heads=8, blocks=512) == ON_HOPPER
    assert not supported(batch=15)
    assert not supported(batch=661)
    assert not supported(blocks=16)
    assert not supported(kv_heads=1, heads=8, blocks=256)
    assert not supported(kv_heads=1, heads=8, blocks=512, cache=torch.int8)
    assert supported(cache=torch.int8, blocks=128) == ON_HOPPER
    assert not supported(heads=136)  # 17 rows of queries for a KV head
    assert not supported(head_dim=256)
    assert not supported(dtype=torch.float32)
    assert not supported(blocks=2**28)  # more tiles than 32 bits count
