"""Argument checks shared by every kernel: one clear error before launch.

A wrong shape, value or device raises ValueError; a wrong dtype raises TypeError. No check reads a
tensor's contents, so none waits for the GPU.
"""

import os
from collections.abc import Sequence
from functools import cache

import torch

FLOATS = (torch.float16, torch.bfloat16, torch.float32)
FP8 = (torch.float8_e4m3fn,)
LOG2_E = 1.4426950408889634
HEAD_DIMS = (64, 80, 96, 128, 192, 256)


def interpreted() -> bool:
    """Whether Triton kernels run in its interpreter (the variable is read at import of triton)."""
    return os.environ.get("TRITON_INTERPRET", "0") not in ("", "0")


def capability(device: torch.device) -> int:
    """Compute capability as one number, 90 for an H200. The interpreter counts as 80."""
    return _cuda_capability(device) if device.type == "cuda" else 80


@cache
def _cuda_capability(device: torch.device) -> int:
    major, minor = torch.cuda.get_device_capability(device)
    return major * 10 + minor


def check_device(**tensors: torch.Tensor | None) -> None:
    """All on one device, and on one that the kernels can run on."""
    given = {name: t for name, t in tensors.items() if t is not None}
    first, *rest = given
    device = given[first].device
    for name in rest:
        if given[name].device != device:
            raise ValueError(
                f"{name} is on {given[name].device} but {first} is on {device}; "
                "move every tensor to one device"
            )
    if device.type != "cuda" and not (device.type == "cpu" and interpreted()):
        raise ValueError(
            f"{first} is on {device}; the kernels need a CUDA device, "
            "or TRITON_INTERPRET=1 set before triton is imported"
        )


def check_shape(name: str, tensor: torch.Tensor, **dims: int | None) -> None:
    """`tensor` has one dimension per keyword, in order; None accepts any size."""
    shape = tensor.shape
    fits = len(shape) == len(dims)
    for size, actual in zip(dims.values(), shape, strict=False):
        fits = fits and (size is None or size == actual)
    if not fits:
        wanted = ", ".join(key if size is None else f"{key}={size}" for key, size in dims.items())
        raise ValueError(f"{name} must be [{wanted}], but its shape is {list(shape)}")


def check_dtype(name: str, tensor: torch.Tensor, allowed: Sequence[torch.dtype]) -> None:
    if tensor.dtype not in allowed:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in allowed)
        given = str(tensor.dtype).removeprefix("torch.")
        raise TypeError(f"{name} is {given}; supported here: {names}")


def check_rows_contiguous(**tensors: torch.Tensor) -> None:
    """The last dimension must have stride 1 (the others may have any stride)."""
    for name, tensor in tensors.items():
        if tensor.stride(-1) != 1 and tensor.shape[-1] > 1 and tensor.numel():
            raise ValueError(
                f"the last dimension of {name} has stride {tensor.stride(-1)}; "
                "it must be contiguous, call .contiguous() first"
            )


def check_heads(heads: int, kv_heads: int) -> None:
    if kv_heads < 1 or heads < 1 or heads % kv_heads:
        raise ValueError(f"{heads} query heads cannot be shared among {kv_heads} KV heads evenly")


def check_head_dim(name: str, head_dim: int) -> None:
    if head_dim not in HEAD_DIMS:
        supported = ", ".join(map(str, HEAD_DIMS))
        raise ValueError(f"head_dim of {name} is {head_dim}; supported: {supported}")


def check_window(window_size: tuple[int, int]) -> tuple[int, int]:
    """(left, right), each -1 for unlimited or a count of keys; returned as plain ints."""
    if len(window_size) != 2 or any(int(side) < -1 for side in window_size):
        raise ValueError(
            f"window_size must be (left, right), each -1 or a count of keys, not {window_size}"
        )
    return int(window_size[0]), int(window_size[1])


def check_fp8_device(name: str, tensor: torch.Tensor) -> None:
    """fp8 e4m3 arithmetic needs compute capability 8.9 (the interpreter emulates it)."""
    if tensor.dtype in FP8 and tensor.is_cuda and capability(tensor.device) < 89:
        raise ValueError(
            f"{name} is fp8 e4m3, which this GPU (compute capability "
            f"{capability(tensor.device) / 10}) cannot multiply; use bf16 or fp16"
        )


def check_scale(name: str, scale: float | torch.Tensor | None, device: torch.device) -> None:
    """A dequantisation factor: a number, or a float32 tensor of one element on `device`."""
    if not isinstance(scale, torch.Tensor):
        return
    if scale.numel() != 1:
        raise ValueError(f"{name} must be one number per tensor, but it has {scale.numel()}")
    if scale.dtype != torch.float32:
        raise TypeError(f"{name} is {str(scale.dtype).removeprefix('torch.')}; use float32")
    if scale.device != device:
        raise ValueError(f"{name} is on {scale.device} but the inputs are on {device}")


def tma_aligned(tensor: torch.Tensor) -> bool:
    """Whether TMA can address it: base and all strides but the last in multiples of 16 bytes."""
    size = tensor.element_size()
    steps = [s for n, s in zip(tensor.shape[:-1], tensor.stride()[:-1], strict=True) if n > 1]
    return tensor.data_ptr() % 16 == 0 and all(s > 0 and s * size % 16 == 0 for s in steps)


def fold_factors(
    scale: float, factors: tuple[float | torch.Tensor | None, ...]
) -> tuple[float, float, tuple[torch.Tensor | None, ...]]:
    """Numbers go into the kernel's two scales, tensors stay on the GPU and are read there.

    Returns the scale of the scores (in units of log2), that of the values, and three pointers.
    """
    q_scale, k_scale, v_scale = (
        1.0 if s is None or isinstance(s, torch.Tensor) else float(s) for s in factors
    )
    pointers = tuple(s if isinstance(s, torch.Tensor) else None for s in factors)
    return scale * q_scale * k_scale * LOG2_E, v_scale, pointers
