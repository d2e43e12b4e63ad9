"""The decode kernels with their default tiles, as cases for ahead-of-time compilation."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from kernels.aot import Case
from kernels.combine import combine_kernel, combine_options
from kernels.decode_tiles import DecodeTile, mla_tile, tiles_by_load
from kernels.hopper import mla as hopper_mla
from kernels.hopper import paged as hopper_paged
from kernels.kv_store import LARGEST, kv_store_kernel
from kernels.mla_decode import mla_constexprs
from kernels.mla_decode_kernel import mla_decode_kernel
from kernels.packed_bytes import as_words
from kernels.paged_decode_kernel import paged_decode_kernel
from kernels.paged_plan import paged_constexprs

HEAD_DIMS = ((64, 64), (96, 96), (128, 128), (192, 128), (256, 256))
TYPES = {
    torch.float32: "fp32",
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
    torch.float8_e4m3fn: "fp8e4nv",
    torch.int8: "i8",
    torch.int16: "i16",
}
PAIRS = (
    (torch.float32, torch.float32),
    (torch.bfloat16, torch.bfloat16),
    (torch.bfloat16, torch.float8_e4m3fn),
    (torch.float16, torch.int8),
)
# Pointers come aligned to 16 bytes; the strides of a cache are multiples of 16 entries.
UNALIGNED = frozenset(
    (
        "window_left",
        "whole",
        "num_splits",
        "max_blocks",
        "num_blocks",
        "kv_heads",
        "num_slots",
        "batch",
        "head_blocks",
        "programs",
    )
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
        if capability == 90 and q == cache != torch.float32:
            for block_size in (16, 64):
                yield _hopper_mla(q, cache, 128, block_size)
        yield _store(q, cache)
    for q in (torch.bfloat16, torch.float16) if capability == 90 else ():
        for cache in (torch.float8_e4m3fn, torch.int8):
            for heads in (16, 32, 128):
                if hopper_mla.tile(heads, q, cache) is not None:
                    yield _hopper_mla(q, cache, heads, 16)
                    yield _hopper_mla(q, cache, heads, 64)
    for dtype in (torch.bfloat16, torch.float16) if capability == 90 else ():
        yield _hopper_paged(dtype, dtype, 8, 128, 4, 1)
    if capability == 90:
        yield _hopper_paged(torch.bfloat16, torch.bfloat16, 8, 64, 7, 2)
        yield _hopper_paged(torch.bfloat16, torch.bfloat16, 1, 128, 8, 1)
        yield _hopper_paged(torch.bfloat16, torch.float8_e4m3fn, 8, 128, 4, 1)
        yield _hopper_paged(torch.bfloat16, torch.float8_e4m3fn, 1, 64, 8, 1)
        yield _hopper_paged(torch.float16, torch.int8, 4, 64, 3, 4)
        yield from map(_hopper_join, (20, 1000))
    for num_splits, head_dim in ((2, 512), (16, 128), (66, 128), (528, 128)):
        yield _combine(capability, num_splits, head_dim)


def _case(
    name: str,
    kernel: Any,
    pointers: Mapping[str, torch.dtype],
    constants: dict[str, Any],
    tile: DecodeTile,
    floats: tuple[str, ...] = (),
    integers: Mapping[str, str] | None = None,
) -> Case:
    """Arguments that are neither pointers, floats nor constants are 32-bit integers."""
    signature = {parameter.name: "i32" for parameter in kernel.params}
    signature |= {key: f"*{TYPES[dtype]}" for key, dtype in pointers.items()}
    signature |= dict.fromkeys(floats, "fp32") | dict(integers or {})
    signature = {key: kind for key, kind in signature.items() if key not in constants}
    return Case(name, kernel, signature, constants, tile.num_warps, tile.num_stages, UNALIGNED)


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
    return _case(
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
    return _case(
        f"mla_decode {TYPES[q]}/{TYPES[cache]} {tile.block_m}x{tile.block_n}",
        mla_decode_kernel,
        pointers,
        constants,
        tile,
        ("score_scale", "out_scale"),
        {"block_table": "*i32", "cache_seqlens": "*i32"},
    )


def _hopper_mla(q: torch.dtype, cache: torch.dtype, heads: int, block_size: int) -> Case:
    from kernels.hopper.mla_byte_kernel import hopper_mla_byte_kernel
    from kernels.hopper.mla_kernel import hopper_mla_kernel

    constants = hopper_mla.constexprs(q, cache, 1, heads, block_size, True)
    constants["latent_scale"] = None
    held = torch.int16 if cache.itemsize == 1 else cache
    width = (hopper_mla.RANK + hopper_mla.ROPE) * cache.itemsize // 2
    boxes = hopper_mla.boxes(
        torch.empty(2, block_size, width, dtype=held, device="meta"), constants
    )
    described = [
        f"tensordesc<{TYPES[held]}{block},{hopper_mla.layout(block[2])!r}>".replace(", ", ",")
        for _, _, block in boxes
    ]
    pointers = {"q_nope": q, "q_rope": q, "out": torch.float32, "lse": torch.float32}
    tile = hopper_mla.tile(heads, q, cache)
    assert tile is not None
    case = _case(
        f"hopper_mla {TYPES[q]}/{TYPES[cache]} {tile.block_m} rows page {block_size}",
        hopper_mla_byte_kernel if "ROWS" in constants else hopper_mla_kernel,
        pointers,
        constants,
        tile,
        ("score_scale", "out_scale"),
        {
            "nope_desc": described[0],
            "rope_desc": described[1],
            "block_table": "*i32",
            "cache_seqlens": "*i32",
        },
    )
    return replace(case, num_warps=4)  # those of the first partition


def _hopper_paged(
    dtype: torch.dtype, cache: torch.dtype, heads: int, head_dim: int, group: int, q_tokens: int
) -> Case:
    from kernels.hopper.paged_kernel import hopper_paged_kernel

    query = torch.empty(2, q_tokens, heads * group, head_dim, dtype=dtype, device="meta")
    pages = as_words("pages", torch.empty(2, 16, heads, head_dim, dtype=cache, device="meta"))
    held = TYPES[cache] if pages.dtype == cache else "i16"
    boxes = {
        "q_desc": (TYPES[dtype], hopper_paged.query_box(query, heads)[2]),
        "k_desc": (held, hopper_paged.cache_box(pages)[2]),
        "v_desc": (held, hopper_paged.cache_box(pages)[2]),
    }
    described = {
        name: f"tensordesc<{kind}{block},{hopper_paged.layout(len(block), block[-1])!r}>"
        for name, (kind, block) in boxes.items()
    }
    pointers = {"out": dtype, **dict.fromkeys(("lse", "piece_out", "piece_lse"), torch.float32)}
    constants = hopper_paged.constexprs(64, q_tokens, heads, group, head_dim, 16, dtype, cache)
    case = _case(
        f"hopper_paged {TYPES[dtype]}/{TYPES[cache]} {heads} of {head_dim} {group}x{q_tokens} rows",
        hopper_paged_kernel,
        pointers,
        constants | dict.fromkeys(("left", "k_scale", "v_scale")),
        DecodeTile(16, 16, hopper_paged.WARPS, 2, 1),
        ("score_scale", "out_scale"),
        {
            **{name: text.replace(", ", ",") for name, text in described.items()},
            "block_table": "*i32",
            "cache_seqlens": "*i32",
        },
    )
    return replace(case, max_registers=hopper_paged.registers(head_dim, cache))


def _hopper_join(rows: int) -> Case:
    from kernels.hopper.paged_join import hopper_paged_join

    constants = hopper_paged.join_constexprs(
        hopper_paged.constexprs(rows, 1, 8, 4, 128, 16, torch.bfloat16, torch.bfloat16),
        8,
        rows,
        132,
    )
    return _case(
        f"hopper_paged_join {rows} rows",
        hopper_paged_join,
        {
            "out": torch.bfloat16,
            **dict.fromkeys(("lse", "piece_out", "piece_lse"), torch.float32),
        },
        constants | {"left": None},
        DecodeTile(16, 16, hopper_paged.JOIN_WARPS, 2, 1),
        integers={"cache_seqlens": "*i32"},
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
    return _case(name, combine_kernel, pointers, constants, tile)


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
    return _case(
        f"kv_store {TYPES[source]}/{TYPES[cache]}",
        kv_store_kernel,
        {"source": source, "cache": cache, "scale": torch.float32},
        constants,
        DecodeTile(1, 1, 4, 2, 1),
        ("scale_number",),
        {"slot_mapping": "*i64"},
    )
