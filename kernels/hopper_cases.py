"""Hopper's decode kernels, as cases for ahead-of-time compilation."""

from collections.abc import Iterator
from dataclasses import replace

import torch

from kernels.aot import Case
from kernels.case_of import TYPES, case_of
from kernels.decode_tiles import DecodeTile
from kernels.hopper import mla as hopper_mla
from kernels.hopper import mla_pieces
from kernels.hopper import paged as hopper_paged
from kernels.packed_bytes import as_words

BF16, FP16, FP8, INT8 = torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.int8


def hopper_decode_cases() -> Iterator[Case]:
    """Those of MLA and of paged decode, with the kernel that joins its pieces."""
    for q in (BF16, FP16):
        yield _hopper_paged(q, q, 8, 128, 4, 1)
        yield _hopper_mla(q, q, 128, 16)
        yield _hopper_mla(q, q, 128, 64)
        for cache in (FP8, INT8):
            for heads in (16, 32, 128):
                if hopper_mla.tile(heads, q, cache) is not None:
                    yield _hopper_mla(q, cache, heads, 16)
                    yield _hopper_mla(q, cache, heads, 64)
    yield _hopper_paged(BF16, BF16, 8, 64, 7, 2)
    yield _hopper_paged(BF16, BF16, 1, 128, 8, 1)
    yield _hopper_paged(BF16, FP8, 8, 128, 4, 1)
    yield _hopper_paged(BF16, FP8, 1, 64, 8, 1)
    yield _hopper_paged(FP16, INT8, 4, 64, 3, 4)
    yield from map(_hopper_join, (20, 1000))
    yield _hopper_mla_join(2, 16)
    yield _hopper_mla_join(64, 128)


def _hopper_mla(q: torch.dtype, cache: torch.dtype, heads: int, block_size: int) -> Case:
    from kernels.hopper.mla_byte_kernel import hopper_mla_byte_kernel
    from kernels.hopper.mla_kernel import hopper_mla_kernel

    constants = hopper_mla.constexprs(q, cache, 256, 1, heads, block_size, True)
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
    pointers = {"q_nope": q, "q_rope": q, "out": q}
    pointers |= dict.fromkeys(("lse", "piece_out", "piece_lse"), torch.float32)
    tile = hopper_mla.tile(heads, q, cache)
    assert tile is not None
    case = case_of(
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
            "ends": "*i32",
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
    case = case_of(
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
        hopper_paged.constexprs(rows, 1, 8, 4, 128, 16, BF16, BF16), 8, rows, 132
    )
    return case_of(
        f"hopper_paged_join {rows} rows",
        hopper_paged_join,
        _joined(BF16),
        constants | {"left": None},
        DecodeTile(16, 16, hopper_paged.JOIN_WARPS, 2, 1),
        integers={"cache_seqlens": "*i32"},
    )


def _hopper_mla_join(batch: int, heads: int) -> Case:
    from kernels.hopper.mla_join import hopper_mla_join

    return case_of(
        f"hopper_mla_join {batch} sequences, {heads} rows",
        hopper_mla_join,
        _joined(BF16),
        mla_pieces.constexprs(batch, heads, hopper_mla.RANK, 132),
        DecodeTile(16, 16, mla_pieces.WARPS, 2, 1),
        integers={"ends": "*i32"},
    )


def _joined(out: torch.dtype) -> dict[str, torch.dtype]:
    return {"out": out, **dict.fromkeys(("lse", "piece_out", "piece_lse"), torch.float32)}
