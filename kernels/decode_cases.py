"""The decode kernels with their default tiles, as cases for ahead-of-time compilation."""

from collections.abc import Iterator

import torch

from kernels.aot import Case
from kernels.case_of import TYPES, case_of
from kernels.combine import combine_kernel, combine_options
from kernels.decode_tiles import DecodeTile, mla_tile, tiles_by_load
from kernels.hopper_cases import hopper_decode_cases
from kernels.kv_store import LARGEST, kv_store_kernel
from kernels.mla_decode import mla_constexprs
from kernels.mla_decode_kernel import mla_decode_kernel
from kernels.paged_decode_kernel import paged_decode_kernel
from kernels.paged_plan import paged_constexprs

HEAD_DIMS = ((64, 64), (96, 96), (128, 128), (192, 128), (256, 256))
PAIRS = (
    (torch.float32, torch.float32),
    (torch.bfloat16, torch.bfloat16),
    (torch.bfloat16, torch.float8_e4m3fn),
    (torch.float16, torch.int8),
)


def decode_cases(capability: int) -> Iterator[Case]:
    """Every kernel a card of this compute capability would run for decoding, each once."""
    yield from {case.name: case for case in _all_cases(capability)}.values()


def _all_cases(capability: int) -> Iterator[Case]:
    for q, cache in PAIRS:
        if cache == torch.float8_e4m3fn and capability < 89:
            continue
        for head_dim, head_dim_v in HEAD_DIMS:
            for group in (4, 64) if head_dim == 128 else (4,):
                widest = max(head_dim, head_dim_v)
                for _, tiles in tiles_by_load(capability, group, widest, cache.itemsize, 8):
                    for tile in tiles:
                        yield _paged(capability, q, cache, head_dim, head_dim_v, group, tile)
        for heads in (16, 32, 128):
            yield _mla(capability, q, cache, heads)
        yield _store(q, cache)
    if capability == 90:
        yield from hopper_decode_cases()
    for num_splits, head_dim in ((2, 512), (16, 128), (66, 128), (528, 128)):
        yield _combine(capability, num_splits, head_dim)


def _paged(
    capability: int,
    q: torch.dtype,
    cache: torch.dtype,
    head_dim: int,
    head_dim_v: int,
    group: int,
    tile: DecodeTile,
) -> Case:
    constants = paged_constexprs(
        q,
        cache,
        tile,
        q_tokens=1,
        group=group,
        head_dim=head_dim,
        head_dim_v=head_dim_v,
        block_size=16,
        overlap_launch=capability >= 90,
    )
    words = torch.int16 if cache.itemsize == 1 else cache
    pointers = {"q": q, "k_cache": words, "v_cache": words}
    partial = ("partial_out", "partial_lse", "lse")
    pointers |= {"out": q, **dict.fromkeys(("k_scale", "v_scale", *partial), torch.float32)}
    name = f"paged_decode {TYPES[q]}/{TYPES[cache]} {head_dim}/{head_dim_v}"
    return case_of(
        f"{name} {tile.kv_heads}x{tile.block_m}x{tile.block_n} {tile.num_stages} stages",
        paged_decode_kernel,
        pointers,
        constants,
        tile,
        ("score_scale", "out_scale"),
        {"block_table": "*i32", "cache_seqlens": "*i32"},
    )


def _mla(capability: int, q: torch.dtype, cache: torch.dtype, heads: int) -> Case:
    tile = mla_tile(capability, heads, cache.itemsize)
    constants = mla_constexprs(
        q,
        cache,
        tile,
        q_tokens=1,
        heads=heads,
        rank=512,
        rope=64,
        block_size=16,
        overlap_launch=capability >= 90,
    )
    words = torch.int16 if cache.itemsize == 1 else cache
    pointers = {"q_nope": q, "q_rope": q, "latent": words}
    pointers |= dict.fromkeys(("latent_scale", "out", "lse"), torch.float32)
    return case_of(
        f"mla_decode {TYPES[q]}/{TYPES[cache]} {tile.block_m}x{tile.block_n}",
        mla_decode_kernel,
        pointers,
        constants,
        tile,
        ("score_scale", "out_scale"),
        {"block_table": "*i32", "cache_seqlens": "*i32"},
    )


def _combine(capability: int, num_splits: int, head_dim: int) -> Case:
    options = dict(combine_options(num_splits, head_dim))
    tile = DecodeTile(1, 1, options.pop("num_warps"), 2, 1)
    constants = {
        "HEAD_DIM_V": head_dim,
        "OVERLAP_LAUNCH": capability >= 90,
        **options,
    }
    pointers = dict.fromkeys(("partial_out", "partial_lse", "lse"), torch.float32)
    pointers["out"] = torch.bfloat16
    name = f"combine {num_splits} splits of {head_dim}"
    return case_of(name, combine_kernel, pointers, constants, tile)


def _store(source: torch.dtype, cache: torch.dtype) -> Case:
    largest = LARGEST.get(cache, 0.0)
    constants = {
        "BLOCK_SIZE": 16,
        "HEAD_DIM": 128,
        "BLOCK_H": 8,
        "BLOCK_D": 128,
        "LARGEST_VALUE": largest,
        "FP8": cache == torch.float8_e4m3fn,
        "SCALE": "token_head" if largest else "number",
    }
    return case_of(
        f"kv_store {TYPES[source]}/{TYPES[cache]}",
        kv_store_kernel,
        {"source": source, "cache": cache, "scale": torch.float32},
        constants,
        DecodeTile(1, 1, 4, 2, 1),
        ("scale_number",),
        {"slot_mapping": "*i64"},
    )
