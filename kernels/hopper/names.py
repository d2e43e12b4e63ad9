"""Hopper's instructions as Gluon calls them, from Triton 3.6 to 3.9."""

from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia import hopper
from triton.experimental.gluon.language.nvidia.hopper import tma

barrier = getattr(gl, "barrier", None) or gl.thread_barrier  # 3.7 renamed it
load_tile = getattr(tma, "async_load", None) or tma.async_copy_global_to_shared  # 3.9
store_tile = getattr(tma, "async_store", None) or tma.async_copy_shared_to_global  # 3.9
fence = hopper.fence_async_shared
mma = hopper.warpgroup_mma
mma_wait = hopper.warpgroup_mma_wait
_memory = gl.shared_memory_descriptor
view = getattr(_memory, "reinterpret", None) or _memory._reinterpret  # 3.9 renamed it
