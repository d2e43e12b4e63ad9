"""What a plan for vLLM says beside its figures."""

from collections.abc import Collection

from planner.deployment import Deployment
from planner.engines.engine import WITHOUT_DRAFT
from planner.engines.vllm.checks import half_note
from planner.engines.vllm.compressed import ENTRY_BYTES, is_compressed
from planner.engines.vllm.options import ASSUMED_LENGTH, Settings, VllmOptions
from planner.engines.vllm.pool import Pool
from planner.engines.vllm.requests import blocks_of
from planner.engines.vllm.specs import layer_specs
from planner.engines.vllm.versions import Rules
from planner.formats.weight_formats import GGUF
from planner.hardware import Gpu
from planner.model import LayerGroup, Model
from planner.units import counted, format_bytes
from planner.workload import Workload

PLUGINS = (
    ("GGUF", 24, "vllm-gguf-plugin"), ("bitsandbytes", 28, "vllm-bnb-plugin"),
    ("torchao", 0, "torchao"),
)  # fmt: skip


def general(
    model: Model,
    gpu: Gpu,
    options: VllmOptions,
    settings: Settings,
    refused: str | None,
    checkpoint: str | None,
) -> tuple[str, ...]:
    """What holds whatever the pool: the checkpoint, the card, lookahead slots, prefix caching."""
    found: list[str] = []
    if checkpoint is not None:
        found.insert(0, checkpoint)
    half = half_note(model, gpu, settings.rules)
    if half is not None:
        found.insert(0, half)
    if options.max_model_len is None and model.max_position_embeddings is None:
        found.append(
            f"The configuration states no length: vLLM assumes {ASSUMED_LENGTH:,} tokens; "
            "--max-model-len sets another."
        )
    if refused is not None and settings.rules.check_keeps_null_block and "is needed" in refused:
        found.append(
            "The refusal names the cache less one block, which is never handed out; the line "
            "before it names all of it."
        )
    speculative = options.speculative_config
    if speculative is not None and speculative.lookahead_tokens:
        found.append(
            "Each running request also holds room for "
            f"{counted(speculative.lookahead_tokens, 'drafted token')}; the printed concurrency "
            "leaves that out."
        )
    if refused is None:
        found.append(
            "The printed maximum concurrency counts one block too many: vLLM keeps one for itself, "
            "its null block."
        )
    if settings.prefix_caching:
        found.append("Prefix caching reuses free blocks and reserves none.")
    if is_compressed(model):
        found.append(
            f"vLLM keeps the cache in fp8_ds_mla, {ENTRY_BYTES} bytes an entry, where the ideal "
            "figure counts the format chosen."
        )
    if options.kv_offloading_size:
        found.append("Offloaded blocks live in CPU memory; the pool on the GPU stays as it is.")
    return tuple(found)


def offloaded(on_cpu: int, gpu: Gpu) -> tuple[str, ...]:
    """What weights in CPU memory cost every pass."""
    if not on_cpu:
        return ()
    rate = gpu.pcie_bytes_per_s
    least = (
        ""
        if rate is None
        else (f", at least {on_cpu / rate * 1e3:,.0f} ms at {rate / 1e9:,.0f} GB/s")
    )
    return (
        f"Every pass reads {format_bytes(on_cpu)} of weights from CPU memory over PCIe{least}; "
        "pinning them can take up to twice as much there (vllm#56410).",
    )


def plugins(formats: Collection[str], method: str | None, rules: Rules) -> tuple[str, ...]:
    """What must be installed beside vLLM for formats that left it, or that a checkpoint's method
    brings. Source: vLLM 0.24.0 and 0.28.0, docs/features/quantization (0.23.0 and 0.27.1 have them
    built in); layers/quantization/torchao."""
    found = []
    for name, since, package in PLUGINS:
        held = name == method or any(_family(one) == name for one in formats)
        if held and rules.since(since):
            found.append(
                f"vLLM {rules.name} runs {name} through a package of its own: install {package} "
                "beside it."
            )
    return tuple(found)


def _family(name: str) -> str | None:
    if name in GGUF:
        return "GGUF"
    return "bitsandbytes" if name.startswith(("nf4", "fp4", "int8_bnb")) else None


def drafting(
    model: Model, deployment: Deployment, settings: Settings, drafted: tuple[LayerGroup, ...]
) -> tuple[str, ...]:
    """What the drafting layers cache."""
    if not drafted:
        return ()
    nothing = model.model_copy(update={"groups": ()})
    specs = layer_specs(nothing, deployment, settings, extra=drafted)
    each = sum(spec.token_bytes for _, spec in specs)
    plural = "" if len(specs) == 1 else "s"
    return (
        f"{len(specs)} drafting layer{plural} cache{'' if plural else 's'} {each:,} B of every "
        "token in the same pool, on each GPU.",
        WITHOUT_DRAFT,
    )


def longest(options: VllmOptions, settings: Settings, workload: Workload | None) -> tuple[str, ...]:
    """Why the command has another length than the workload."""
    if workload is None or options.max_model_len is not None:
        return ()
    enough = workload.context + settings.speculative_tokens
    if enough >= settings.max_model_len:
        return ()
    return (
        f"max_model_len is left at the model's own {settings.max_model_len:,} tokens, as vLLM "
        f"does: --max-model-len {enough} is enough for this workload, and refuses longer requests.",
    )


def more_waiting(admitted: int, running: int) -> tuple[str, ...]:
    """That the batch's limit and not the pool decides."""
    if admitted <= running:
        return ()
    return (
        f"The pool has room for {admitted:,} such requests, and max_num_seqs runs {running:,} at "
        "once: --max-num-seqs raises that, at the price of activation memory.",
    )


def given_back(pool: Pool, settings: Settings, deployment: Deployment) -> tuple[str, ...]:
    """Why more requests fit than the printed concurrency says, where windows recycle blocks."""
    if not pool.num_blocks or not pool.groups:
        return ()
    _, entering = blocks_of(pool.groups, settings, deployment, settings.max_model_len)
    if not entering:
        return ()
    return (
        f"Of the {pool.blocks_per_request:,} blocks that the printed concurrency counts for a "
        f"request, {entering:,} hold windows of a prompt's tokens in flight: requests that are "
        "being decoded have given those back, so more fit at once than it says.",
    )


def product(pool: Pool, settings: Settings) -> tuple[str, ...]:
    """Why blocks times their size is not the tokens that are printed."""
    if not pool.num_blocks or pool.num_blocks * pool.block_size == pool.kv_cache_tokens:
        return ()
    size = f" × {pool.block_size}" if pool.block_size else ""
    product = f"{pool.num_blocks:,} blocks{size} are not the tokens printed: "
    groups = len(pool.groups)
    if settings.rules.tokens_from_concurrency:
        shared = f", which {groups} groups of layers share" if groups > 1 else ""
        return (
            f"{product}vLLM prints concurrency x max_model_len, where a request of "
            f"{settings.max_model_len:,} tokens takes {pool.blocks_per_request:,} blocks{shared} "
            "(a window holds only its last tokens, a state one block).",
        )
    if groups > 1:
        return (f"{product}each of the {groups} groups of layers has its own share of them.",)
    return (f"{product}context parallel ranks each hold a part of every sequence.",)
