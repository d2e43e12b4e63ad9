"""What a plan's cards and their parallelism make of it."""

from collections.abc import Iterator

from planner.findings.finding import Finding
from planner.formats.format_support import lacks_bf16, missing, weights_support
from planner.overheads import moved
from planner.plan import Plan
from planner.units import ceil_div, counted, format_bytes


def of_parallelism(plan: Plan) -> Iterator[Finding]:
    tp, dcp = (
        plan.deployment.tensor_parallel_size,
        plan.deployment.decode_context_parallel_size,
    )
    joined = plan.gpu.joined_gpus
    if tp > joined:
        machines = ceil_div(tp, joined)
        stages = plan.deployment.pipeline_parallel_size * machines
        spanned = f"machines, which are taken to have {joined} of these GPUs"
        if plan.gpu.link_domain_gpus is not None:
            spanned = f"racks, whose links join {joined} of these GPUs"
        instead = f"{counted(stages, 'pipeline stage')} of {ceil_div(tp, machines)}"
        yield Finding(
            "warning",
            "tensor_parallel_over_network",
            f"Tensor parallel {tp} spans {spanned}: every layer then waits for the network twice. "
            f"{instead} keep that inside one, as vLLM's documentation has it "
            "(parallelism_scaling).",
        )
    heads = [t.heads for group in plan.model.groups for t in group.cache()]
    fewest = min(heads, default=tp)
    copies = tp // (fewest * dcp)
    if copies > 1 and dcp > 1:
        yield Finding(
            "warning",
            "cache_kept_several_times",
            f"{tp} tensor-parallel GPUs share {counted(fewest, 'KV head')}, split "
            f"{dcp} ways by its tokens: it is kept {copies} times.",
        )
    elif copies > 1 and fewest == 1:
        yield Finding(
            "warning",
            "cache_replicated",
            f"Part of the cache is one KV head or latent that all heads share, so each of the {tp} "
            "tensor-parallel GPUs keeps all of it: data parallel attention or decode context "
            "parallelism would not.",
        )
    elif fewest < tp and dcp == 1:
        yield Finding(
            "warning",
            "kv_heads_replicated",
            f"{tp} tensor-parallel GPUs share {fewest} KV heads: past {fewest} GPUs the cache "
            "per GPU no longer shrinks.",
        )
    totals = [part.total for part in plan.stage_parts]
    if max(totals) > 1.1 * min(totals):
        yield Finding(
            "info",
            "uneven_stages",
            f"Pipeline stages are uneven: {format_bytes(min(totals))} to "
            f"{format_bytes(max(totals))} per GPU.",
        )


def of_hardware(plan: Plan) -> Iterator[Finding]:
    gpu = plan.gpu
    if not gpu.memory_verified:
        yield Finding(
            "warning",
            "gpu_memory_unverified",
            f"What a program can allocate on {gpu.name} was not read on one: the figure used is "
            f"{format_bytes(gpu.memory_bytes)}, and the driver keeps 1 to 5 % of such figures.",
        )
    if gpu.memory_shared_with_cpu:
        yield Finding(
            "warning",
            "shared_memory",
            "This memory is shared with the operating system and other programs.",
        )
    if plan.model.dtype == "bfloat16" and lacks_bf16(gpu):
        yield Finding(
            "warning",
            "bf16_not_supported",
            f"bf16 needs compute capability 8.0, and {gpu.name} has {gpu.compute_capability}: run "
            "the model as float16, which takes the same memory.",
        )
    if gpu.calibration is not None:
        label, own = gpu.calibration.label, gpu.calibration
        changes = [
            f"{name} {format_bytes(before)} to {format_bytes(after)}"
            for name, before, after in moved(own.memory)
            if before != after
        ]
        if own.roofs is not None and own.points:
            changes.append("times from its measured kernels")
        said = ", ".join(changes) or "nothing moved"
        yield Finding("info", "calibrated", f"{label[:1].upper()}{label[1:]}: {said}.")
    elif gpu.vendor not in ("NVIDIA", "custom"):
        yield Finding(
            "warning",
            "overheads_borrowed",
            f"Context, libraries and communication were measured on NVIDIA cards, not on a card of "
            f"{gpu.vendor}: their ranges are widened to half and twice as far, so measure before "
            "you rely on a tight fit.",
        )
    yield from _formats(plan)


def _formats(plan: Plan) -> Iterator[Finding]:
    gpu, cache = plan.gpu, plan.footprint.kv_format.name
    weights = plan.footprint.assignment.bytes_by_format()
    without = missing(gpu, weights, cache, llama_cpp=True)
    elsewhere = missing(gpu, weights, cache)
    if without is None and elsewhere is not None:
        yield Finding(
            "warning",
            "format_of_llama_cpp",
            f"{elsewhere} but llama.cpp's: convert the checkpoint to GGUF, or choose another card.",
        )
    if without is not None:
        yield Finding(
            "error",
            "format_without_kernels",
            f"{without}: the bytes are right, but no engine runs it there. Choose another format "
            "or card.",
        )
    for name in weights:
        if weights_support(gpu, name) == "weight-only":
            yield Finding(
                "info",
                "format_not_native",
                f"{gpu.name} has no {name} arithmetic: weights run weight-only, which saves memory "
                "and bandwidth, and are converted before each multiplication.",
            )
