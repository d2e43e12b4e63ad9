"""The prefill kernels with their default tiles, as cases for ahead-of-time compilation."""

from collections.abc import Iterator
from typing import Any

from kernels.aot import Case
from kernels.hopper.flash import constants, out_width
from kernels.tiles import HopperTile, hopper_tile, padded_head_dim, prefill_tile

HEAD_DIMS = ((64, 64), (80, 80), (128, 128), (192, 128), (256, 256))
BITS = {"fp32": 32, "bf16": 16, "fp8e4nv": 8}


def prefill_cases(capability: int) -> Iterator[Case]:
    """Every kernel a card of this compute capability would run for prefill."""
    for dtype, bits in BITS.items():
        if bits == 8 and capability < 89:
            continue
        for head_dim, head_dim_v in HEAD_DIMS:
            yield _portable(capability, head_dim, head_dim_v, dtype)
            if capability == 90 and bits < 32 and head_dim != 80:  # 80 columns run as 128
                for causal in (True, False):
                    tile = hopper_tile(head_dim, head_dim_v, bits // 8, causal)
                    assert tile is not None
                    yield _hopper(head_dim, head_dim_v, dtype, causal, tile, False)
                    if causal:
                        near = hopper_tile(head_dim, head_dim_v, bits // 8, causal, 128)
                        for packed in (False, True):
                            yield _hopper(head_dim, head_dim_v, dtype, None, tile, packed)
                            if near and near != tile:
                                yield _hopper(head_dim, head_dim_v, dtype, None, near, packed)


def _portable(capability: int, head_dim: int, head_dim_v: int, dtype: str) -> Case:
    from kernels.flash_kernel import flash_kernel

    tile = prefill_tile(capability, max(head_dim, head_dim_v), BITS[dtype] // 8)
    out = "bf16" if BITS[dtype] == 8 else dtype
    described = capability >= 90 and dtype != "fp32"
    sources = {}
    for name, rows, width in (
        ("queries", tile.block_m, head_dim),
        ("keys", tile.block_n, head_dim),
        ("values", tile.block_n, head_dim_v),
    ):
        block = f"tensordesc<{dtype}[1,1,{rows},{padded_head_dim(width)}]>"
        sources[name] = block if described else f"*{dtype}"
    strides = [f"{t}_{d}" for t in ("q", "k", "v", "out") for d in ("batch", "row", "head")]
    lengths = ["lse_stride", "max_seqlen_q", "max_seqlen_k", "left", "right"]
    constants: dict[str, Any] = {
        "KV_HEADS": 8, "GROUP": 4, "LEFT": False, "RIGHT": True, "D": head_dim, "DV": head_dim_v,
        "BLOCK_D": padded_head_dim(head_dim), "BLOCK_DV": padded_head_dim(head_dim_v),
        "BLOCK_M": tile.block_m, "BLOCK_N": tile.block_n,
        "DESC": described,
        "PRECISION": "ieee" if dtype == "fp32" else "tf32",
        "SHIFT": 8.0 if BITS[dtype] == 8 else 0.0,
        "cu_q_ptr": None, "cu_k_ptr": None, "q_scale_ptr": None, "k_scale_ptr": None,
        "v_scale_ptr": None,
    }  # fmt: skip
    return Case(
        f"flash_kernel {dtype} {head_dim}/{head_dim_v} {tile.block_m}x{tile.block_n}",
        flash_kernel,
        sources
        | {"out_ptr": f"*{out}", "lse_ptr": "*fp32"}
        | dict.fromkeys(strides + lengths, "i32")
        | {"score_scale": "fp32", "value_scale": "fp32"},
        constants,
        tile.num_warps,
        tile.num_stages,
        frozenset(lengths),
    )


def _hopper(
    head_dim: int, head_dim_v: int, dtype: str, causal: bool | None, tile: HopperTile, packed: bool
) -> Case:
    """The Gluon kernel with a causal mask, with none, or (`causal` None) with a window."""
    from triton.experimental.gluon.language import NVMMASharedLayout

    from kernels.hopper.flash_kernel import hopper_flash_kernel

    bits = BITS[dtype]
    group = 4 if head_dim == head_dim_v else 1  # MLA multiplies its keys out for every head
    width = head_dim // tile.chunks if tile.chunks > 1 else padded_head_dim(head_dim)
    width_v = padded_head_dim(head_dim_v)

    def descriptor(kind: str, size: int, *block: int) -> str:
        layout = NVMMASharedLayout(min(128, block[-1] * size // 8), size, len(block))
        return f"tensordesc<{kind}[{','.join(map(str, block))}],{layout!r}>"

    one = (1, 1, 1) if packed else (1, 1)
    values = (1, 1, width_v, tile.block_n) if bits == 8 else (*one, tile.block_n, width_v)
    lengths = ["total", "tiles", "kv_heads", "section", "seqlen_q", "seqlen_k"]
    optional = {"left": "i32"} if causal is None else {}
    if packed:
        optional |= {"cu_q_ptr": "*i32", "cu_k_ptr": "*i32", "sequences": "i32"}
    absent = {"left", "right", "cu_q_ptr", "cu_k_ptr", "sequences"} - optional.keys()
    absent |= {"q_scale_ptr", "k_scale_ptr", "v_scale_ptr"}
    mask = {True: "causal", False: "no mask", None: "window"}[causal]
    return Case(
        f"hopper_flash_kernel {dtype} {head_dim}/{head_dim_v} {mask}{' packed' * packed} "
        f"{64 * tile.consumers}x{tile.block_n}",
        hopper_flash_kernel,
        {
            "q_desc": descriptor(dtype, bits, *one, 64, width),
            "k_desc": descriptor(dtype, bits, *one, tile.block_n, width),
            "v_desc": descriptor(dtype, bits, *values),
            "out_desc": descriptor("bf16", 16, *one, 64, out_width(tile, width_v)),
            "lse_ptr": "*fp32",
            "counter_ptr": "*i32",
            **dict.fromkeys(lengths, "i32"),
            "scale": "fp32",
            "value_scale": "fp32",
            **optional,
        },
        constants(tile, group, causal is not False, bits == 8) | dict.fromkeys(absent),
        unaligned=frozenset([*lengths, *optional]),
    )
