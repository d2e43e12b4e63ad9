"""A model's layers as the cache specs that vLLM's attention layers register.

Heads are divided by tensor parallelism and replicated past their number; a latent is whole on
every rank. Source: vLLM 0.33.0, attention layers' get_kv_cache_spec.
"""

from collections.abc import Mapping
from typing import Any

from planner.deployment import Deployment
from planner.engines.vllm.compressed import compressed_specs
from planner.engines.vllm.kv_pages import LayerSpec, SpecKind
from planner.engines.vllm.options import Settings
from planner.engines.vllm.states import state_spec
from planner.errors import PlanRefused
from planner.formats.dtypes import KvFormat, kv_format
from planner.kinds.attention import Attention, LatentAttention
from planner.kinds.compressed import CompressedAttention
from planner.kinds.recurrent import Recurrent
from planner.kv_cache import entry_bytes
from planner.model import LayerGroup, Mixer, Model
from planner.units import ceil_div

FEW_HEADS = 16
INDEXER_SCALE = 4
"""An indexer key is kept in fp8 with an fp32 scale, whatever the cache's format."""


def layer_specs(
    model: Model,
    deployment: Deployment,
    settings: Settings,
    *,
    config: Mapping[str, Any] | None = None,
    extra: tuple[LayerGroup, ...] = (),
) -> list[tuple[int, LayerSpec]]:
    """(layer, spec) of every cache of a rank, in order; `extra` layers (MTP, EAGLE) come last.

    Raises PlanRefused for caches whose layout is not described.
    """
    fmt = kv_format(deployment.kv_cache_dtype, model.own_cache)
    by_layer = {index: group for group in model.groups for index in group.layers}
    found = [
        (index, spec)
        for index in sorted(by_layer)
        for mixer in by_layer[index].mixers
        for spec in _specs(mixer, model, deployment, settings, fmt, config)
    ]
    last = model.num_hidden_layers - 1
    for group in extra:
        for mixer in group.mixers:
            specs = _specs(mixer, model, deployment, settings, fmt, config)
            found += [(last, spec) for spec in specs] * group.count
    return found


def _specs(
    mixer: Mixer,
    model: Model,
    deployment: Deployment,
    settings: Settings,
    fmt: KvFormat,
    config: Mapping[str, Any] | None,
) -> list[LayerSpec]:
    tp = deployment.tensor_parallel_size
    if isinstance(mixer, Recurrent):
        return [state_spec(mixer, model, tp, settings, config)]
    if isinstance(mixer, CompressedAttention):
        return compressed_specs(mixer)
    cached = mixer.cache()
    if not cached:
        return []
    indexer = [t for t in cached if t.name == "indexer_keys"]
    own = [t for t in cached if t.name != "indexer_keys"]
    if isinstance(mixer, LatentAttention) and indexer:
        asked = deployment.kv_cache_dtype if fmt.name != "fp8" else "fp8"
        if _packs_latents(asked, mixer.num_attention_heads // tp, settings):
            fmt = kv_format("fp8_ds_mla")
    size = sum(entry_bytes(tensor, fmt, tp) for tensor in own)
    found = []
    if own:
        shape = (max(1, own[0].heads // tp), own[0].width, own[-1].width)
        window = own[0].window
        found = [LayerSpec(_kind(mixer, window), settings.block_size, size, shape, window)]
    for tensor in indexer:
        width = tensor.width + INDEXER_SCALE * ceil_div(tensor.width, 128)
        found.append(LayerSpec("mla", settings.block_size, width, (1, width)))
    if deployment.decode_context_parallel_size > 1 and not found[0].is_full:
        raise PlanRefused(
            "decode_context_parallel_size: vLLM does not split sliding windows; use 1"
        )
    return found


def _packs_latents(asked: str, heads: int, settings: Settings) -> bool:
    """Whether sparse attention keeps latents in fp8_ds_mla for that flag: FlashMLA's kernels do,
    FlashInfer's for Blackwell take plain fp8 (0.18 with few heads, always from 0.20), and those of
    compute capability 12 know nothing else. 0.11 has it by default."""
    rules = settings.rules
    if settings.sparse_capability >= 12.0:
        return asked in ("auto", "fp8")
    if asked == "fp8" and settings.sparse_capability >= 10.0 and rules.since(18):
        return not rules.since(20) and heads > FEW_HEADS
    return asked == "fp8" or (asked == "auto" and not rules.since(12))


def _kind(mixer: Mixer, window: int | None) -> SpecKind:
    if window is not None:
        chunked = isinstance(mixer, Attention) and mixer.window_type == "chunked"
        return "chunked" if chunked else "sliding"
    return "mla" if isinstance(mixer, LatentAttention) else "full"
