"""Offers and a target that the tests of the search share."""

from planner.offer import Offer
from planner.search.space import CACHES, WEIGHTS, Target
from planner.timing.latency import Request
from presets.gpus import load_gpu

IDS = ("h100-sxm5-80gb", "h200-sxm-141gb", "a100-pcie-80gb", "mi300x", "l4", "rtx-4090")
OFFERS = tuple(
    Offer(gpu=load_gpu(gpu_id), usd_per_gpu_hour=usd)
    for gpu_id, usd in zip(IDS, (2.5, 3.5, 1.4, 2.0, 0.5, 0.4), strict=True)
)
TARGET = Target(
    request=Request(prompt_tokens=6000, output_tokens=500), concurrency=24, ttft_p95_s=2.0,
    tpot_s=0.05,
)  # fmt: skip


ALL: dict[str, tuple[str, ...]] = {"weights_dtypes": WEIGHTS, "kv_cache_dtypes": CACHES}
