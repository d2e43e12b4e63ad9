"""The start-up lines that a person will see, in the words of the version."""

from collections.abc import Mapping

from planner.engines.vllm.options import Settings
from planner.engines.vllm.pool import Pool
from planner.estimate import Estimate
from planner.units import GIB


def log_lines(
    components: Mapping[str, Estimate],
    kv_cache_bytes: int,
    pool: Pool,
    settings: Settings,
) -> tuple[str, ...]:
    """Memory, pool and concurrency as printed; without a pool only what comes before it."""
    rules = settings.rules
    weights = sum(
        part.bytes for name, part in components.items() if name.endswith(("weights", "slots"))
    )
    loaded = "Model loading took {:.2f} GiB memory" if rules.since(16) else (
        "Model loading took {:.4f} GiB"
    )  # fmt: skip
    lines = [loaded.format(weights / GIB)]
    if pool.block_size and pool.block_size != settings.block_size and _hybrid(pool):
        lines.append(
            f"Setting attention block size to {pool.block_size} tokens to ensure that attention "
            "page size is >= mamba page size."
        )
    lines.append(f"Available KV cache memory: {kv_cache_bytes / GIB:.2f} GiB")
    lines += [
        f"Add {layers} padding layers, may waste at most {waste:.2f}% KV cache memory"
        for layers, waste in pool.padding
    ]
    if not pool.num_blocks:
        return tuple(lines)
    size = f"GPU KV cache size: {pool.kv_cache_tokens:,} tokens"
    concurrency = (
        f"Maximum concurrency for {settings.max_model_len:,} tokens per request: "
        f"{pool.max_concurrency:.2f}x"
    )
    lines += [f"{size}, {concurrency}"] if rules.since(28) else [size, concurrency]
    return tuple(lines)


def _hybrid(pool: Pool) -> bool:
    return any(group.spec.kind == "mamba" for group in pool.groups)
