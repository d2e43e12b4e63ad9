"""Attention kernels in Triton, each with a PyTorch reference beside it.

Names load on first use, so `import kernels` costs nothing and needs no GPU.
"""

import importlib
from typing import Any

_HOME = {
    "flash_attention": "kernels.flash",
    "flash_attention_varlen": "kernels.flash",
    "mla_decode_attention": "kernels.mla_decode",
    "mla_decode_reference": "kernels.paged_reference",
    "naive_attention": "kernels.naive",
    "attention_reference": "kernels.reference",
    "paged_decode_attention": "kernels.paged_decode",
    "paged_decode_reference": "kernels.paged_reference",
    "PagedKVCache": "kernels.kv_cache",
    "varlen_attention_reference": "kernels.reference",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'kernels' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
