"""SGLang's launch command, the lines that its start-up prints, and what they leave unsaid."""

import re
import shlex
from collections.abc import Mapping, Sequence

from planner.deployment import Deployment
from planner.engines.cache_dtypes import cache_name
from planner.engines.checkpoint import Checkpoint
from planner.engines.sglang.options import Settings, SglangOptions
from planner.engines.sglang.pool import Cell, SglangPool
from planner.estimate import Estimate
from planner.hardware import Gpu
from planner.kinds.attention import LatentAttention
from planner.model import Model
from planner.units import GIB

VALUES = (
    "mem_fraction_static",
    "context_length",
    "max_running_requests",
    "max_total_tokens",
    "chunked_prefill_size",
    "swa_full_tokens_ratio",
    "mamba_full_memory_ratio",
    "cuda_graph_max_bs",
    "speculative_algorithm",
    "speculative_num_draft_tokens",
    "speculative_draft_model_path",
)
SWITCHES = ("disable_hybrid_swa_memory", "disable_radix_cache", "disable_cuda_graph")
QUANTISED_ON_LOAD = {"fp8": "fp8"}
"""Formats that SGLang makes of a 16-bit checkpoint."""
CACHE_DTYPES = {"fp8": "fp8_e4m3", "bf16": "bfloat16"}
NAMES_SINCE = {
    "cuda_graph_max_bs": (14, "cuda_graph_max_bs_decode"),
    "nvfp4": (18, "nvfp4"),
    "dp_attention": (22, "attn_dp_size"),
}
"""What has another name since that patch of 0.5. Read from 0.5.10, 0.5.14 and 0.5.18 to 0.5.23: the
first's old name is gone in 0.5.20, the second's in 0.5.21, the third's is deprecated."""
OLD_NAMES = {"cuda_graph_max_bs": "cuda_graph_max_bs", "nvfp4": "fp4_e2m1"}
MAX_PREFILL_TOKENS = 16384


def launch_command(
    checkpoint: Checkpoint,
    model: Model,
    deployment: Deployment,
    options: SglangOptions,
    scaling: Sequence[str] = (),
) -> str:
    """A command line ready for a shell. --tp counts all GPUs of a stage, as SGLang does.
    scaling: the words that stretch positions."""
    words = ["python", "-m", "sglang.launch_server", "--model-path", checkpoint.name]
    dp = deployment.data_parallel_size
    ranks = deployment.tensor_parallel_size * dp
    if ranks > 1:
        words += ["--tp-size", str(ranks)]
    if deployment.pipeline_parallel_size > 1:
        words += ["--pp-size", str(deployment.pipeline_parallel_size)]
    if dp > 1 and _is_new("dp_attention", options):
        words += ["--attn-dp-size", str(dp)]
    elif dp > 1:
        words += ["--dp-size", str(dp), "--enable-dp-attention"]
    if deployment.enable_expert_parallel:
        words += ["--ep-size", str(ranks)]
    if checkpoint.on_load is not None:
        words += ["--quantization", checkpoint.on_load]
    if checkpoint.dtype is not None:
        words += ["--dtype", checkpoint.dtype]
    cache = deployment.kv_cache_dtype
    if cache != "auto" or model.declared_cache:
        cache = cache_name(model, deployment)
        words += ["--kv-cache-dtype", CACHE_DTYPES.get(cache, _named(cache, options))]
    if options.page_size > 1:
        words += ["--page-size", str(options.page_size)]
    for field in VALUES:
        value = getattr(options, field)
        if value is not None:
            text = f"{value:g}" if isinstance(value, float) else str(value)
            words += ["--" + _named(field, options).replace("_", "-"), text]
    words += scaling
    words += ["--" + field.replace("_", "-") for field in SWITCHES if getattr(options, field)]
    return shlex.join(words)


def _is_new(name: str, options: SglangOptions) -> bool:
    """Whether that version has the newer name; one without a patch is the newest."""
    patch = re.match(r"0\.5\.(\d+)", options.version)
    return patch is None or int(patch[1]) >= NAMES_SINCE[name][0]


def _named(name: str, options: SglangOptions) -> str:
    if name not in OLD_NAMES:
        return name
    return NAMES_SINCE[name][1] if _is_new(name, options) else OLD_NAMES[name]


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


def notes(
    pool: SglangPool,
    cell: Cell,
    settings: Settings,
    outside: Mapping[str, Estimate],
    gpu: Gpu,
) -> tuple[str, ...]:
    """What the figures leave unsaid."""
    free = gpu.memory_bytes - outside["before"].bytes
    slack = free - int(free * settings.mem_fraction_static)
    needed = sum(part.bytes for name, part in outside.items() if name != "before")
    found = [
        f"The fraction leaves {slack / GIB:.2f} GiB for activations, graphs and tables, of which "
        f"about {needed / GIB:.2f} GiB are needed."
    ]
    if needed > slack:
        found.append("That is more than is left: lower --mem-fraction-static.")
    if pool.tokens and pool.tokens < settings.context_length:
        found.append(
            f"A request longer than the pool of {pool.tokens:,} tokens is refused when it arrives."
        )
    if pool.sliding_tokens:
        found.append(f"Sliding layers have a pool of {pool.sliding_tokens:,} tokens of their own.")
    elif cell.sliding and not cell.full:
        found.append("All layers slide, and SGLang caches them like full ones.")
    if pool.states:
        found.append(
            f"{pool.states:,} states, {pool.states_per_request} a request: at most "
            f"{pool.states // pool.states_per_request:,} requests run at once."
        )
    return tuple(found)
