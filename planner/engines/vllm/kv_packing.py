"""Groups of layers whose pages differ in size, laid side by side in every block.

Layers of one kind and block size make a bucket. A bucket that has as many layers of each page size
is a repeating pattern and may be split; others stay whole. Buckets are split into groups of about
the same number of repeats, chosen so that rounding up wastes fewest; without a pattern windows
fill what the others need. A block costs what the largest group needs. Equals vLLM 0.33.0's own
code (v1/core/kv_cache_planning) on 1,500 random mixtures of DeepSeek-V4's layers.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from planner.engines.vllm.kv_pages import LayerSpec
from planner.units import ceil_div

Layer = tuple[int, LayerSpec]


@dataclass(frozen=True, slots=True)
class Bucket:
    """Layers of one kind and block size."""

    layers: tuple[Layer, ...]

    @property
    def sizes(self) -> Counter[int]:
        """Layers by the size of their page."""
        return Counter(spec.page_bytes for _, spec in self.layers)

    @property
    def repeats(self) -> int:
        return max(self.sizes.values())

    @property
    def is_pattern(self) -> bool:
        """As many layers of each page size: one of each is repeated."""
        return len(set(self.sizes.values())) == 1

    @property
    def slides(self) -> bool:
        return self.layers[0][1].kind == "sliding"

    def split(self, count: int) -> list[tuple[Layer, ...]]:
        """The pattern's repeats dealt over `count` groups."""
        if count == 1:
            return [self.layers]
        by_size = [
            [layer for layer in self.layers if layer[1].page_bytes == size] for size in self.sizes
        ]
        repeats = list(zip(*by_size, strict=True))
        return [tuple(layer for repeat in repeats[i::count] for layer in repeat)
                for i in range(count)]  # fmt: skip


def pack(specs: Sequence[LayerSpec]) -> list[tuple[Layer, ...]]:
    """The groups of a model's layers, given in order; for caches without recurrent states."""
    buckets = _buckets(list(enumerate(specs)))
    patterns = [bucket for bucket in buckets if bucket.is_pattern]
    least = max((b.repeats for b in patterns if len(b.sizes) > 1), default=0)
    if not least:
        return _without_pattern(buckets)
    each = _common([b.repeats for b in patterns], least)
    found = []
    for bucket in buckets:
        found += bucket.split(ceil_div(bucket.repeats, each) if bucket.is_pattern else 1)
    return found


def _without_pattern(buckets: Sequence[Bucket]) -> list[tuple[Layer, ...]]:
    """Windows are split so that they widen no block beyond what the other layers need."""
    anchor = max(
        max(b.sizes) if b.slides else sum(spec.page_bytes for _, spec in b.layers) for b in buckets
    )
    found = []
    for bucket in buckets:
        fitting = anchor // bucket.layers[0][1].page_bytes
        found += bucket.split(ceil_div(len(bucket.layers), fitting) if bucket.slides else 1)
    return found


def _buckets(layers: list[Layer]) -> list[Bucket]:
    found: dict[tuple[object, ...], list[Layer]] = {}
    for index, spec in layers:
        key = (spec.is_full, spec.kind if not spec.is_full else "", spec.window, spec.block_size)
        found.setdefault(key, []).append((index, spec))
    return [Bucket(tuple(bucket)) for bucket in found.values()]


def _common(counts: Sequence[int], least: int) -> int:
    """The group size from `least` up to the largest count that adds fewest layers when every
    count is rounded up to a multiple of it; the largest of equals."""
    return min(range(least, max(counts) + 1), key=lambda d: (sum(-n % d for n in counts), -d))
