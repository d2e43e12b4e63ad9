"""Groups of layers that share a block table, as vLLM forms them.

Layers of one kind make one group. Otherwise pages are brought to one size, layers are gathered
by kind into buckets, and every bucket is split into groups of the same number of layers: any
group may then own any block, and a block costs what the largest group needs. Sources: vLLM
0.11.0, 0.20.2 (v1/core/kv_cache_utils) and 0.33.0 (v1/core/kv_cache_planning).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from planner.engines.vllm.kv_packing import pack
from planner.engines.vllm.kv_pages import LayerSpec
from planner.engines.vllm.versions import Rules
from planner.units import ceil_div

Layer = tuple[int, LayerSpec]
"""A layer's number in the model and its spec."""


class CannotGroup(Exception):
    """The engine cannot bring these layers' pages to one size; str() says why."""


@dataclass(frozen=True, slots=True)
class Group:
    """Layers that share a block table. Their pages are alike unless they are one kind of
    different sizes, in which case this is the only group or blocks are packed: latent pages
    that are padded for their kernels (DeepSeek-V4) lie side by side with others in a block."""

    layers: tuple[Layer, ...]
    spec: LayerSpec

    @property
    def page_bytes(self) -> int:
        """What a block costs in all layers of the group."""
        return sum(spec.page_bytes for _, spec in self.layers)

    @property
    def is_mixed(self) -> bool:
        """Whether layers differ in more than their window."""
        return len({replace(spec, window=None) for _, spec in self.layers}) > 1

    def blocks(self, max_model_len: int, in_flight: int, context_split: int) -> int:
        """Blocks of one request in this group."""
        specs = {spec for _, spec in self.layers} or {self.spec}
        return max(spec.blocks(max_model_len, in_flight, context_split) for spec in specs)


@dataclass(frozen=True, slots=True)
class Grouping:
    """The groups of a whole model; padding_layers and waste_percent of each padded bucket."""

    groups: tuple[Group, ...]
    padding: tuple[tuple[int, float], ...] = ()

    def block_bytes(self, held: Sequence[Group], rules: Rules) -> int:
        """What a block costs a stage with these groups of on()."""
        if not rules.stage_pays_own_layers and len(self.groups) == 1 and self.groups[0].is_mixed:
            held = self.groups
        return bytes_per_block(held)

    def on(self, stage: range | Sequence[int]) -> tuple[Group, ...]:
        """The groups as a pipeline stage with these layers sees them, empty ones included."""
        return tuple(
            replace(group, layers=tuple(layer for layer in group.layers if layer[0] in stage))
            for group in self.groups
        )


def group_layers(specs: Sequence[LayerSpec], rules: Rules, *, hybrid: bool = True) -> Grouping:
    """The groups of a model's layers, given in order.

    hybrid False: windows are cached like full attention (the hybrid manager is off, or the engine
    is older than it). Raises CannotGroup.
    """
    layers = list(enumerate(specs))
    if not layers:
        return Grouping(())
    if not (hybrid and rules.hybrid_groups) and not _one_kind(specs):
        layers = _held_whole(layers)
    if _one_kind([spec for _, spec in layers]):
        return Grouping((Group(tuple(layers), layers[0][1]),))
    if any(spec.kind == "mla" and spec.page_padded for spec in specs):
        return Grouping(tuple(Group(group, group[0][1]) for group in pack(specs)))
    try:
        layers = _one_page(layers, rules)
    except CannotGroup:
        promoted = [(i, _promoted(spec)) for i, spec in layers]
        if not _may_promote(specs, rules) or not _one_kind([spec for _, spec in promoted]):
            raise
        return Grouping((Group(tuple(promoted), promoted[0][1]),))
    return _split(_buckets(layers, rules), rules)


def bytes_per_block(groups: Iterable[Group]) -> int:
    """What one block costs a worker: the largest of its groups, whose pages share memory."""
    return max(group.page_bytes for group in groups)


def _one_kind(specs: Sequence[LayerSpec]) -> bool:
    """Whether all layers need the same number of token slots, whatever the size of a slot."""
    if len({spec.block_size for spec in specs}) > 1:
        return False
    if all(spec.is_full for spec in specs):
        return True
    return len({(spec.kind, spec.window, spec.state_blocks) for spec in specs}) == 1


def _held_whole(layers: list[Layer]) -> list[Layer]:
    """Windows cached like the full attention beside them."""
    windows = {spec.window for _, spec in layers if spec.window is not None}
    if any(spec.is_full for _, spec in layers):
        layers = [(i, _promoted(spec)) for i, spec in layers]
        if len(windows) > 1 and layers[0][1].kind == "full":
            raise CannotGroup(
                "All attention layers in the same KV cache group must have the same window size."
            )
    if not _one_kind([spec for _, spec in layers]):
        raise CannotGroup(
            "Hybrid KV cache manager is disabled but failed to convert the KV cache specs to one "
            "unified type."
        )
    return layers


def _promoted(spec: LayerSpec) -> LayerSpec:
    return replace(spec, kind="full") if spec.kind in ("sliding", "chunked") else spec


def _may_promote(specs: Sequence[LayerSpec], rules: Rules) -> bool:
    """Sliding layers beside latent ones may be held whole when no common page exists."""
    kinds = {spec.kind for spec in specs}
    return rules.may_promote_windows and {"mla", "sliding"} <= kinds and "chunked" not in kinds


def _one_page(layers: list[Layer], rules: Rules) -> list[Layer]:
    page = max(spec.page_bytes for _, spec in layers)
    found = []
    for index, spec in layers:
        if spec.page_bytes != page and not rules.scales_pages:
            raise CannotGroup("the layers' pages differ in size (NotImplementedError)")
        pad = rules.pads_states if spec.kind == "mamba" else (
            rules.pads_attention_pages and spec.kind != "mla"
        )  # fmt: skip
        same = spec.with_page(page, pad=pad)
        if same is None:
            raise CannotGroup(
                "The page size of the layer is not divisible by the maximum page size. Cannot "
                "unify by adjusting block_size."
            )
        found.append((index, same))
    return found


def _buckets(layers: list[Layer], rules: Rules) -> list[list[Layer]]:
    """Layers of equal spec; newer versions let full layers differ in their window only."""
    found: dict[LayerSpec, list[Layer]] = {}
    for layer in layers:
        key = layer[1]
        if key.kind == "full" and rules.merges_windows:
            key = replace(key, window=None)
        found.setdefault(key, []).append(layer)
    return list(found.values())


def _split(buckets: list[list[Layer]], rules: Rules) -> Grouping:
    sizes = [len(bucket) for bucket in buckets]
    size = min(sizes)
    if max(sizes) < size * rules.group_ratio:
        size = max(sizes)
    groups, padding = [], []
    for bucket in buckets:
        missing = -len(bucket) % size
        if missing:
            padding.append((missing, 100 * missing / len(bucket)))
        count = ceil_div(len(bucket), size)
        groups += [Group(tuple(bucket[i::count]), bucket[0][1]) for i in range(count)]
    return Grouping(tuple(groups), tuple(padding))
