"""Attention kernels in Triton, each with a PyTorch reference beside it.

Names load on first use, so `import kernels` costs nothing and needs no GPU.
"""

import importlib
from typing import Any

_HOME = {
    "flash_attention": "kernels.flash_attention",
    "flash_attention_varlen": "kernels.flash_attention",
    "naive_attention": "kernels.naive",
    "attention_reference": "kernels.reference",
    "varlen_attention_reference": "kernels.reference",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'kernels' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
