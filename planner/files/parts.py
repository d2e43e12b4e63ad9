"""Headers and indexes of weight files -> WeightFiles: which part of a model each tensor is of."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from planner.errors import ConfigRefused
from planner.files.gguf_header import GgufHeader
from planner.files.safetensors_header import FileHeader, Index
from planner.files.tensor import MOST_BYTES, StoredTensor
from planner.files.weight_files import Part, WeightFiles

LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|block|blk)\.(\d+)\.")
PATTERNS: tuple[tuple[Part, re.Pattern[str]], ...] = (
    (
        "positions",
        re.compile(
            r"rotary_emb\.inv_freq$|rotary_pos_emb|rope_(freqs|factors_(long|short))\.weight$"
            r"|\.attn(ention)?\.(bias|masked_bias)$"
        ),
    ),
    (
        "buffers",
        re.compile(
            r"(^|\.)(e_score_correction_bias|expert_bias|exp_probs_b(\.bias)?|layer_scalar"
            r"|layer_output_scale\.weight|act_fn\.(beta|eps)|std_(bias|scale))$"
        ),
    ),
    (
        "towers",
        re.compile(
            r"(^|\.)(visual\w*|vision\w*|vit\w*|vpm|apm|vte|sam_model|vqmodel|talker|token2wav"
            r"|audio\w*|img_\w+|image_\w+|mm_\w+|multi_?modal\w*|speech\w*|patch_merge_mlp"
            r"|embed_vision|embed_audio|aligner|connector|resampler|mlp1)\."
        ),
    ),
    ("prediction", re.compile(r"(^|\.)(mtp\w*|nextn)\.")),
)
"""Parts that are told by a module's name before anything else is. buffers: what is added to routing
scores, and factors of a layer, which most published code does not keep as parameters."""
NUMBERLESS: tuple[tuple[Part, re.Pattern[str]], ...] = (
    ("head", re.compile(r"(^|\.)(lm_head|embed_out|output|output_layer|head)\.")),
    (
        "embedding",
        re.compile(r"(^|\.)(embed_tokens|wte|((word|tok)_)?embeddings?|token_embd|embed_in)\."),
    ),
)
"""The same outside numbered layers."""


SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.safetensors$")
"""How the files of one checkpoint are named: their stem, the number of each, how many there are."""
WHOLE = "model.safetensors"


def missing_of(names: Sequence[str]) -> str:
    """Of files of one checkpoint, why they are not all that their names count; '' if they are."""
    for name in names:
        counted = SHARD.search(name)
        if counted is not None and int(counted[3]) != len(names):
            return (
                f"{name} is one of {int(counted[3])} files, and {len(names)} of them are here: "
                "give all, or the model.safetensors.index.json, which says what they hold together"
            )
    return ""


def set_of(name: str, names: Iterable[str]) -> list[str]:
    """Of all files beside `name` those that are numbered with it; it alone if none are."""
    own = SHARD.search(name)
    if own is None:
        return [name]
    numbered = ((other, SHARD.search(other)) for other in sorted(names))
    return [other for other, of in numbered if of and (of[1], of[3]) == (own[1], own[3])]


def one_set(names: Iterable[str]) -> list[str]:
    """Of a folder's .safetensors files those of its one checkpoint: model.safetensors, else the
    numbered ones, else all. None where the numbered are not all there, or of two checkpoints."""
    found = sorted(names)
    if WHOLE in found:
        return [WHOLE]
    sets = {tuple(set_of(name, found)) for name in found if SHARD.search(name)}
    if not sets:
        return found
    whole = [held for held in sets if not missing_of(held)]
    return list(whole[0]) if len(whole) == 1 else []


def depth_of(config: Mapping[str, Any]) -> int | None:
    """How many layers the configuration's decoder has, None where no usual field says."""
    nested = [config.get(name) for name in ("text_config", "llm_config", "language_config")]
    for part in (config, *nested):
        for name in ("num_hidden_layers", "n_layer", "num_layers", "n_layers"):
            if isinstance(part, Mapping) and isinstance(part.get(name), int):
                return int(part[name])
    thinker = config.get("thinker_config")
    return depth_of(thinker) if isinstance(thinker, Mapping) else None


def part_of(name: str, num_hidden_layers: int | None) -> Part:
    """The part of the model that a tensor of this name belongs to. Layers beyond the decoder's are
    prediction layers, and what a layer has for pictures is its own."""
    layer = LAYER.search(name)
    for part, pattern in PATTERNS:
        found = pattern.search(name)
        inside = found and layer and part == "towers" and found.start() > layer.start()
        if found and not inside:
            return part
    if layer is not None:
        beyond = num_hidden_layers is not None and int(layer[1]) >= num_hidden_layers
        return "prediction" if beyond else "layers"
    for part, pattern in NUMBERLESS:
        if pattern.search(name):
            return part
    return "other"


def of_headers(
    name: str,
    headers: Iterable[FileHeader | GgufHeader],
    num_hidden_layers: int | None,
    cut: Iterable[str] = (),
) -> WeightFiles:
    """What the files with these headers hold. Raises ConfigRefused where two have one tensor."""
    seen: set[str] = set()
    parts: dict[Part, dict[str, int]] = {}
    for tensor in (tensor for header in headers for tensor in header.tensors):
        if tensor.name in seen:
            raise ConfigRefused(
                f"{tensor.name[:80]} is in two of the files: {name} are not one set"
            )
        seen.add(tensor.name)
        _add(parts.setdefault(part_of(tensor.name, num_hidden_layers), {}), tensor)
    total = sum(size for sizes in parts.values() for size in sizes.values())
    if not 0 < total < MOST_BYTES:
        why = "its tensors are larger than any file" if total else "there is no tensor in it"
        raise ConfigRefused(f"{name}: {why}")
    return WeightFiles(name=name, bytes=total, tensors=len(seen), parts=parts, cut=tuple(cut))


def _add(sizes: dict[str, int], tensor: StoredTensor) -> None:
    sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.bytes


def of_index(name: str, index: Index, num_hidden_layers: int | None) -> WeightFiles:
    """What an index says: the bytes of all, and which parts there are. Raises ConfigRefused for one
    that says neither."""
    if index.total_size is None:
        raise ConfigRefused(
            "metadata.total_size is missing: give the .safetensors files themselves"
        )
    names = [tensor for held in index.files.values() for tensor in held]
    if not names:
        raise ConfigRefused("weight_map names no tensor")
    parts = {part_of(tensor, num_hidden_layers): dict[str, int]() for tensor in names}
    tables = sum(
        part_of(tensor, num_hidden_layers) == "prediction"
        and any(pattern.search(tensor) for _, pattern in NUMBERLESS)
        for tensor in names
    )
    return WeightFiles(
        name=name, bytes=index.total_size, tensors=len(names), parts=parts, tables=tables
    )
