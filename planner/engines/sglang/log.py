"""The lines that SGLang's start-up prints."""

from collections.abc import Mapping

from planner.engines.sglang.options import Settings, SglangOptions
from planner.engines.sglang.pool import Cell, SglangPool
from planner.estimate import Estimate
from planner.kinds.attention import LatentAttention
from planner.model import Model
from planner.units import GIB

MAX_PREFILL_TOKENS = 16384


def log_lines(
    model: Model,
    cell: Cell,
    components: Mapping[str, Estimate],
    pool: SglangPool,
    settings: Settings,
    options: SglangOptions,
    free_bytes: int,
    running: int,
) -> tuple[str, ...]:
    """Loading, pool and limits as printed; what SGLang calls GB is GiB."""
    loaded = sum(components[name].bytes for name in ("weights", "non_torch"))
    lines = [
        f"Load weight begin. avail mem={free_bytes / GIB:.2f} GB",
        f"Load weight end. dtype=torch.{model.dtype}, avail mem={(free_bytes - loaded) / GIB:.2f} "
        f"GB, mem usage={loaded / GIB:.2f} GB.",
    ]
    if not pool.tokens:
        return tuple(lines)
    swa = pool.sliding_tokens
    latent = any(isinstance(m, LatentAttention) for g in model.groups for m in g.mixers)
    pools = [(pool.tokens, cell.full if swa else cell.full + cell.sliding)]
    if swa:
        pools.insert(0, (swa, cell.sliding))
    for tokens, each in pools:
        size = (tokens + options.page_size) * each / GIB
        shown = f"KV size: {size:.2f} GB"
        if not latent:
            shown = f"K size: {size / 2:.2f} GB, V size: {size / 2:.2f} GB"
        lines.append(f"KV Cache is allocated. #tokens: {tokens}, {shown}")
    lines.append(
        f"max_total_num_tokens={pool.tokens}, chunked_prefill_size="
        f"{settings.chunked_prefill_size}, max_prefill_tokens={MAX_PREFILL_TOKENS}, "
        f"max_running_requests={running}, context_len={settings.context_length}"
    )
    return tuple(lines)
