"""Which attention kernel a card and model call for, and what it saves."""

from dataclasses import replace

from planner.attention import (
    SOFTMAX,
    Softmax,
    flash_traffic_bytes,
    flops,
    heads_of,
    naive_traffic_bytes,
    score_matrix_bytes,
)
from planner.hardware import Gpu
from planner.kinds.attention import LatentAttention
from planner.kinds.compressed import CompressedAttention
from planner.model import Model
from planner.timing.speed import Speed
from planner.units import format_bytes

KERNELS = (
    (10.0, 11.0, "FlashAttention-4"),
    (9.0, 10.0, "FlashAttention-3"),
    (8.0, 9.0, "FlashAttention-2"),
)
"""CUDA compute capabilities from, below, and the kernel written for them."""
WIDEST_HEAD = 256


def attention_choice(model: Model, gpu: Gpu, speed: Speed, prompt: int) -> tuple[str, str, float]:
    """(kernel, why, how many times longer a layer takes with stored scores)."""
    layers = [m for g in model.groups for m in g.mixers if isinstance(m, SOFTMAX)]
    if not layers:
        return "none", "no layer of this model has softmax attention", 1.0
    mixer = max(layers, key=lambda m: (m.window is None, m.num_attention_heads * m.head_dim))
    heads, name = heads_of(mixer), _name(mixer, gpu)
    if not isinstance(mixer, CompressedAttention) and mixer.indexer is not None:
        heads = replace(heads, window=mixer.indexer.reach(heads.window))
    arithmetic = flops(heads, prompt, prompt) / speed.roofs.flops_per_s("bf16")
    traffic = naive_traffic_bytes(heads, prompt, prompt)
    naive = max(arithmetic, traffic / speed.roofs.copy_bytes_per_s)
    tiled = flash_traffic_bytes(heads, prompt, prompt)
    stored = format_bytes(score_matrix_bytes(heads, prompt, prompt))
    return (
        name,
        f"stored scores of one layer would take {stored} and move {format_bytes(traffic)} instead "
        f"of {format_bytes(tiled)} at most: {1e3 * naive:.2f} ms against the "
        f"{1e3 * arithmetic:.2f} ms of its arithmetic, for {prompt:,} tokens",
        naive / arithmetic,
    )


def _name(mixer: Softmax, gpu: Gpu) -> str:
    if isinstance(mixer, CompressedAttention):
        mla = _latent_kernel(gpu)
        return f"sparse kernels{mla}: a query sees its window, and entries for what is past"
    if mixer.indexer is not None:
        return f"sparse kernels: a query sees the {mixer.indexer.topk:,} keys an indexer chooses"
    name = kernel_for(gpu, mixer.head_dim)
    if isinstance(mixer, LatentAttention):
        name = f"{name} for prompts, latent decode{_latent_kernel(gpu)} for answers"
    return name


def _latent_kernel(gpu: Gpu) -> str:
    """FlashMLA has kernels for compute capability 9.0 and 10.0 (its README)."""
    written_for = 9.0 <= (gpu.cuda_capability or 0) < 11.0
    return " (FlashMLA)" if written_for else ""


def kernel_for(gpu: Gpu, head_dim: int) -> str:
    """The flash kernel written for this card, or the portable one."""
    capability = gpu.cuda_capability
    if capability is None:
        return "a portable flash kernel (Triton or the vendor's)"
    if head_dim > WIDEST_HEAD:
        return f"a portable flash kernel: heads of {head_dim} are too wide for the tuned ones"
    for since, until, name in KERNELS:
        if since <= capability < until:
            return name
    return "PyTorch's scaled_dot_product_attention"
