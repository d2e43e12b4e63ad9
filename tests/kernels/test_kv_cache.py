"""The paged cache: block accounting by hand-counted figures, stores against plain PyTorch."""

import pytest
import torch

from kernels.block_allocator import BlockAllocator, OutOfBlocksError
from kernels.kv_cache import PagedKVCache
from kernels.kv_store import store_kv, store_kv_reference
from kernels.paged_decode import paged_decode_attention
from kernels.paged_reference import paged_decode_reference


def small(device="cpu", **options):
    defaults = {"num_blocks": 8, "block_size": 16, "kv_heads": 2, "head_dim": 64}
    return PagedKVCache(**(defaults | {"dtype": torch.float32, "device": device} | options))


def counts(cache):
    usage = cache.usage()
    assert usage.used + usage.free == usage.total
    return usage.used, usage.free, usage.shared, usage.kept, usage.references


def test_append_takes_a_block_only_when_the_last_is_full():
    cache = small()
    assert cache.add("a") == 0
    assert counts(cache) == (0, 8, 0, 0, 0)
    assert cache.append("a", 16).tolist() == list(range(16))
    assert counts(cache) == (1, 7, 0, 0, 1)
    assert cache.append("a", 1).tolist() == [16]
    assert counts(cache) == (2, 6, 0, 0, 2)
    cache.add("b")
    assert cache.append("b", 3).tolist() == [32, 33, 34]
    assert cache.append("a", 16).tolist() == [*range(17, 32), 48]
    assert cache.append("a", 0).tolist() == []
    table, lengths = cache.batch(["b", "a"], max_blocks=4)
    assert table.tolist() == [[2, -1, -1, -1], [0, 1, 3, -1]]
    assert lengths.tolist() == [3, 33]
    cache.free("a")
    assert counts(cache) == (1, 7, 0, 0, 1)


def test_block_bytes():
    assert small(num_layers=3).block_bytes == 3 * 16 * 2 * (64 + 64) * 4
    fp8 = small(dtype=torch.float8_e4m3fn, head_dim_v=80, scales_per_token_head=True)
    assert fp8.block_bytes == 16 * 2 * (64 + 80 + 2 * 4)
    latent = small(kv_heads=1, head_dim=576, head_dim_v=0, dtype=torch.bfloat16)
    assert latent.block_bytes == 16 * 576 * 2
    assert latent.layer(0)[1] is None


@pytest.mark.parametrize("head_dim_v", [64, 48])
def test_values_of_a_block_lie_behind_its_keys(head_dim_v):
    cache = small(num_layers=2, head_dim_v=head_dim_v)
    keys, values = cache.layer(1)
    whole = 16 * 2 * (64 + head_dim_v) * 4
    assert values[3].data_ptr() - keys[3].data_ptr() == 16 * 2 * 64 * 4
    assert keys[4].data_ptr() - keys[3].data_ptr() == whole == cache.block_bytes // 2


def test_running_out_changes_nothing():
    cache = small()
    cache.add("a")
    cache.append("a", 100)
    with pytest.raises(OutOfBlocksError, match="2 more blocks are needed but 1 of 8 are free"):
        cache.append("a", 30)
    assert cache.length("a") == 100
    assert counts(cache) == (7, 1, 0, 0, 7)
    assert len(cache.append("a", 28)) == 28


def test_fork_copies_on_write(device):
    cache = small(device, num_layers=2)
    cache.add("a")
    slots = cache.append("a", 20)
    for layer in range(2):
        key, value = torch.randn(2, 20, 2, 64, device=device)
        cache.store(layer, key, value, slots)
    before = cache.k_cache[:, :2].clone()
    cache.fork("a", "b")
    cache.fork("a", "c")
    assert counts(cache) == (2, 6, 2, 0, 6)
    slots = cache.append("b", 1)  # the half-filled block is copied for b, the full one stays shared
    assert counts(cache) == (3, 5, 2, 0, 6)
    assert slots.tolist() == [2 * 16 + 4]
    new = torch.ones(1, 2, 64, device=device)
    cache.store(1, new, new, slots)
    assert torch.equal(cache.k_cache[:, :2], before)
    assert torch.equal(cache.k_cache[:, 2, :4], before[:, 1, :4])
    assert (cache.k_cache[1, 2, 4] == 1).all()
    cache.free("c")
    assert counts(cache) == (3, 5, 1, 0, 4)
    assert cache.append("a", 1).tolist() == [16 + 4]  # alone in its last block again: no copy
    cache.free("a")
    cache.free("b")
    assert counts(cache) == (0, 8, 0, 0, 0)


def test_a_copy_needs_a_block():
    cache = small(num_blocks=1)
    cache.add("a")
    cache.append("a", 5)
    cache.fork("a", "b")
    with pytest.raises(OutOfBlocksError):
        cache.append("b", 1)
    cache.free("a")
    assert cache.append("b", 1).tolist() == [5]


def test_prefixes_are_shared_by_whole_blocks():
    cache = small()
    prompt = list(range(50))
    assert cache.add("a", prompt) == 0
    cache.append("a", prompt)  # 3 full blocks and 2 tokens
    assert cache.add("b", [*prompt[:40], 7, 7, 7, 7, 7, 7, 7, 7, 7]) == 32
    assert counts(cache) == (4, 4, 2, 0, 6)
    assert cache.append("b", [7] * 9).tolist()[0] == 4 * 16
    assert cache.add("c", prompt[:32]) == 16  # one token must be left to compute
    assert cache.add("d", [1, *prompt]) == 0  # same tokens, another place
    assert cache.add("e", prompt) == 48
    assert cache.usage().shared == 3


def test_prefix_grown_token_by_token_is_found():
    cache = small()
    cache.add("a")
    for token in range(33):
        cache.append("a", [token])
    assert cache.add("b", list(range(40))) == 32


def test_sequences_of_unknown_content_are_never_shared():
    cache = small()
    cache.add("a")
    cache.append("a", 16)
    cache.append("a", list(range(16)))
    assert cache.add("b", [*range(16), 1]) == 0


def test_freed_prefix_is_kept_until_its_space_is_needed():
    cache = small(num_blocks=4)
    prompt = list(range(33))
    cache.add("a", prompt)
    cache.append("a", prompt)
    cache.free("a")
    assert counts(cache) == (0, 4, 0, 2, 0)
    assert cache.add("b", prompt) == 32
    assert counts(cache) == (2, 2, 0, 0, 2)
    cache.free("b")
    cache.add("c")
    cache.append("c", 48)  # 2 empty blocks, then the end of the kept prefix
    assert counts(cache) == (3, 1, 0, 1, 3)
    assert cache.add("d", prompt) == 16
    cache.free("d")
    cache.append("c", 1)
    assert cache.add("e", prompt) == 0


def test_misuse_is_named():
    cache = small()
    cache.add("a")
    with pytest.raises(ValueError, match="'a' is already in the cache"):
        cache.add("a")
    with pytest.raises(ValueError, match="already"):
        cache.fork("a", "a")
    with pytest.raises(KeyError, match="no sequence 'b'"):
        cache.free("b")
    with pytest.raises(ValueError, match="block_size is 20"):
        small(block_size=20)
    with pytest.raises(ValueError, match="at least one block"):
        small(num_blocks=0)
    with pytest.raises(ValueError, match="for fp8 and int8"):
        small(scales_per_token_head=True)
    cache.append("a", 40)
    with pytest.raises(ValueError, match="3 blocks; max_blocks is 2"):
        cache.batch(["a"], max_blocks=2)
    with pytest.raises(ValueError, match="value must be given"):
        cache.store(0, torch.ones(1, 2, 64), None, torch.tensor([0]))
    allocator = BlockAllocator(2)
    with pytest.raises(ValueError, match="block 0 is not in use"):
        allocator.release([0])


STORES = [(torch.float32, "none"), (torch.float16, "none")] + [
    (dtype, scaling)
    for dtype in (torch.float8_e4m3fn, torch.int8)
    for scaling in ("none", "number", "element", "token_head")
]


@pytest.mark.parametrize(("dtype", "scaling"), STORES)
@pytest.mark.parametrize("head_dim", [64, 80])
def test_store_matches_plain_pytorch(dtype, scaling, head_dim, device):
    source_dtype = torch.float16 if dtype == torch.float16 else torch.float32
    source = (torch.randn(9, 3, 2 * head_dim, device=device) * 30).to(source_dtype)[..., :head_dim]
    source[0, 0] = 0
    source[1, 0, 0] = 1e4  # beyond the range of both dtypes when divided by 5
    slots = torch.tensor([3, 47, -1, 16, 15, 0, 4800, 31, 32], device=device)
    wanted = torch.zeros(3, 16, 3, head_dim, device=device).to(dtype)
    actual = wanted.clone()
    scales = {
        "none": (None, None),
        "number": (5.0, 5.0),
        "element": (torch.tensor(5.0, device=device),) * 2,
        "token_head": tuple(torch.ones(3, 16, 3, device=device) for _ in range(2)),
    }[scaling]
    store_kv_reference(source, wanted, slots, scale=scales[0])
    store_kv(source, actual, slots, scale=scales[1])
    assert torch.equal(actual.float(), wanted.float())
    if scaling == "token_head":
        assert torch.equal(scales[0], scales[1])


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"source": torch.ones(2, 64)}, ValueError, "source must be"),
        ({"source": torch.ones(2, 2, 64, dtype=torch.int32)}, TypeError, "source is int32"),
        ({"source": torch.ones(2, 2, 64).half()}, TypeError, "cache is float32"),
        ({"slot_mapping": torch.zeros(3, dtype=torch.int64)}, ValueError, "slot_mapping must be"),
        ({"slot_mapping": torch.zeros(2, dtype=torch.int32)}, TypeError, "slot_mapping is int32"),
        ({"scale": 2.0}, ValueError, "scale is for 8-bit caches"),
    ],
)
def test_bad_store_gives_one_clear_error(change, error, words, device):
    arguments = {
        "source": torch.ones(2, 2, 64),
        "cache": torch.zeros(3, 16, 2, 64),
        "slot_mapping": torch.zeros(2, dtype=torch.int64),
    }
    arguments |= change
    scale = arguments.pop("scale", None)
    arguments = {name: tensor.to(device) for name, tensor in arguments.items()}
    with pytest.raises(error, match=words):
        store_kv(**arguments, scale=scale)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float8_e4m3fn, torch.int8])
def test_stored_then_attended(dtype, device):
    """Two sequences with a common prefix, quantised per token and head on the way in."""
    cache = small(device, dtype=dtype, scales_per_token_head=dtype.itemsize == 1)
    cache.k_cache.fill_(0)
    keys, values = torch.randn(2, 40, 2, 64, device=device).half()
    for name, extra in (("a", 1), ("b", 2)):
        tokens = [*range(36), *[extra] * 4]
        found = cache.add(name, tokens)
        slots = cache.append(name, tokens[found:])
        cache.store(0, keys[found:], values[found:], slots)
    assert found == 32
    assert cache.usage().shared == 2
    q = torch.randn(2, 4, 64, device=device).half()
    k_cache, v_cache = cache.layer(0)
    scales = cache.layer_scales(0)
    out = paged_decode_attention(q, k_cache, v_cache, *cache.batch(["a", "b"]), **scales)
    table = torch.arange(3, device=device).repeat(2, 1).int()
    exact = torch.zeros(2, 3, 16, 2, 64, device=device).half()
    exact[0].view(48, 2, 64)[:40], exact[1].view(48, 2, 64)[:40] = keys, values
    lengths = torch.tensor([40, 40], dtype=torch.int32, device=device)
    wanted, _ = paged_decode_reference(q, exact[0], exact[1], table, lengths)
    bound = {torch.float16: 1e-3, torch.float8_e4m3fn: 0.06, torch.int8: 0.02}[dtype]
    assert float((out - wanted).norm() / wanted.norm()) < bound
