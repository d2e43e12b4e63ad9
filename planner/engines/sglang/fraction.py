"""How SGLang sizes its static share of a card where --mem-fraction-static is not given.

Sizes are in MiB of the card as the driver's tool reports it. Read from the published packages:
0.3.6, 0.4.0, 0.4.3, 0.4.5 to 0.4.8, 0.4.10, 0.5.2, 0.5.3, every second from 0.5.6 to 0.5.20, and
0.5.23. A rule that changed between two of them is dated to the later one.
"""

import re
from collections.abc import Mapping
from typing import Any

from planner.errors import PlanRefused

Version = tuple[int, int, int]
NEWEST: Version = (0, 5, 23)
OLDEST: Version = (0, 3, 0)

BY_CARD_SINCE: Version = (0, 4, 8)
"""The reserve depends on the card; before, the fraction on the number of GPUs."""
BY_BATCH_SINCE: Version = (0, 5, 3)
"""The reserve follows chunked_prefill_size and the largest decode graph."""
GRAPHS_SINCE: Version = (0, 5, 10)
"""Prefill graphs are on, and reserved for (0.5.8: off)."""
DRAFTS_IN_POOL_SINCE: Version = (0, 5, 14)
"""Drafts are sized with the pool (0.5.12: a flat reserve, and the pool is the target's alone)."""
SMALL_CARDS_SINCE: Version = (0, 5, 20)
"""Cards of 20 to 35 GiB take longer chunks and larger batches (0.5.18: 2048, and 24 or 80)."""

CARDS = (
    # below GiB, chunked_prefill_size, largest decode graph below tp 4, and from tp 4
    (20, 2048, 8, 8),
    (35, 4096, 48, 160),
    (60, 4096, 32, 160),
    (160, 8192, 256, 512),
)
SMALL_CARD = (2048, 24, 80)
LARGEST_CARD = (16384, 512, 512)
LARGE_CARD_MIB, LARGE_CARD_RESERVE_MIB = 60 * 1024, 10240
OLD_RESERVE_GIB = ((35, 2.8, 10), (90, 9.5, 2), (160, 12.0, 2))
"""0.4.8 to 0.5.2: below so many GiB, so much, and a GiB for so many GPUs."""
OLD_FRACTIONS = ((16, 0.79), (8, 0.81), (4, 0.85), (2, 0.87), (1, 0.88))
"""To 0.4.7: from so many GPUs."""
VIT_L = (24, 1024)


def version_of(text: str) -> Version:
    """A version as numbers; one without a patch is the newest of its minor."""
    found = re.fullmatch(r"v?(\d+)\.(\d+)(?:\.(\d+))?\S*", text.strip())
    if found is not None:
        minor = int(found[1]), int(found[2])
        version = (*minor, int(found[3]) if found[3] else 99)
        if OLDEST <= version < (0, NEWEST[1] + 1, 0):
            return version
    raise PlanRefused(f"SGLang {text} is not described; use a version of 0.3 to 0.5")


def of_card(
    memory_mib: float, tensor_parallel_size: int, version: Version = NEWEST
) -> tuple[int, int]:
    """chunked_prefill_size and the largest batch of the decode graphs."""
    few = tensor_parallel_size < 4
    if version < BY_CARD_SINCE:
        small = memory_mib < 25000
        chunk = 16384 if memory_mib > 180000 and version >= (0, 4, 6) else 8192
        return (2048, 8 if few else 80) if small else (chunk, 160)
    if version < BY_BATCH_SINCE:
        small = memory_mib < 35 * 1024
        chunk = 8192 if memory_mib < 160 * 1024 else 16384
        return (2048, 8 if few else 80) if small else (chunk, 160)
    chosen = LARGEST_CARD
    for below_gib, *values in CARDS:
        if memory_mib < below_gib * 1024:
            old = below_gib == 35 and version < SMALL_CARDS_SINCE
            chosen = SMALL_CARD if old else (values[0], values[1], values[2])
            break
    return chosen[0], chosen[1] if few else chosen[2]


def reserved_mib(
    memory_mib: float,
    chunked_prefill_size: int,
    cuda_graph_max_bs: int,
    tensor_parallel_size: int,
    pipeline_parallel_size: int = 1,
    data_parallel_size: int = 1,
    version: Version = NEWEST,
    algorithm: str | None = None,
) -> float:
    """Memory kept free of weights and cache: metadata, activations, graphs, and drafts of old.

    data_parallel_size above 1 is attention's.
    """
    gpus = tensor_parallel_size * pipeline_parallel_size
    drafts = _drafts_mib(algorithm, version)
    if version < BY_CARD_SINCE:
        return memory_mib * (1 - _old_fraction(memory_mib, gpus, version, algorithm))
    if version < BY_BATCH_SINCE:
        gib = 32.0
        for below, base, each in reversed(OLD_RESERVE_GIB):
            if memory_mib < below * 1024:
                gib = base + gpus / each
        return 1024 * (gib + (4 if data_parallel_size > 1 else 0)) + drafts
    size = 512 + 1.5 * max(chunked_prefill_size, 2048) + gpus / 8 * 1024 + 2 * cuda_graph_max_bs
    if data_parallel_size > 1:
        size += 3 * cuda_graph_max_bs * data_parallel_size
        if cuda_graph_max_bs > 300:
            size += 1.5 * cuda_graph_max_bs * data_parallel_size
    return drafts + (max(size, LARGE_CARD_RESERVE_MIB) if memory_mib > LARGE_CARD_MIB else size)


def _drafts_mib(algorithm: str | None, version: Version) -> int:
    if version >= DRAFTS_IN_POOL_SINCE or algorithm in (None, "NGRAM"):
        return 0
    if algorithm == "STANDALONE":
        return 6144
    return 4096 if version >= GRAPHS_SINCE else 2048


def _old_fraction(memory_mib: float, gpus: int, version: Version, algorithm: str | None) -> float:
    """To 0.4.7 by the number of GPUs; cards above 80 GiB have a rule of their own from 0.4.6."""
    found = next(share for least, share in OLD_FRACTIONS if gpus >= least)
    if version < (0, 4, 0) and 8 <= gpus < 16:
        found = 0.82
    if version < (0, 4, 6) or memory_mib <= 80 * 1024:
        return found * (0.95 if algorithm and version >= (0, 4, 7) else 1)
    if memory_mib > 180000 and version >= (0, 4, 7):
        return 0.79
    if memory_mib <= 96 * 1024:
        return 0.88
    reserve = (20 if algorithm else 18) * 1024
    return min(0.88 + 48 * 1024 * 0.12 / memory_mib, 1 - reserve / memory_mib)


def vision_share(config: Mapping[str, Any], version: Version = NEWEST) -> float:
    """What a vision tower leaves of the fraction: 0.95, less the larger it is beside ViT-L."""
    vision = config.get("vision_config")
    if not isinstance(vision, Mapping):
        return 1.0
    if version < (0, 4, 10):
        return 0.90 if version >= (0, 4, 5) else 0.95
    layers = vision.get("num_hidden_layers") or VIT_L[0]
    hidden = vision.get("hidden_size") or VIT_L[1]
    ratio = layers * hidden**2 / (VIT_L[0] * VIT_L[1] ** 2)
    return 0.95 * max(0.8, min(1.05, 1 - 0.1 * (ratio - 1)))


def static_fraction(
    given: float | None,
    memory_mib: float,
    reserved: float,
    config: Mapping[str, Any],
    version: Version,
) -> float:
    """The fraction in force. To 0.4.8 a vision tower also lowers one that is given."""
    share = vision_share(config, version)
    if given is not None:
        return given * share if version < (0, 4, 10) else given
    return round(round((memory_mib - reserved) / memory_mib, 3) * share, 4)
