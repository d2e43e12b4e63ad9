"""What vLLM uses outside weights and activations: communication, CUDA graphs, its context.

Budget items are taken off total x gpu_memory_utilization; `before` is in use when the engine takes
its first reading, outside the budget.
"""

from planner.deployment import Deployment
from planner.engines.engine import within
from planner.engines.links import linked
from planner.engines.vllm.versions import Rules
from planner.estimate import Estimate
from planner.formats.dtypes import DTYPE_BYTES
from planner.formats.quantization import Assignment
from planner.hardware import Gpu
from planner.model import Model
from planner.units import GIB

NON_TORCH_GIB: dict[str, dict[str, tuple[float, float, float]]] = {
    # V0 profiler and V1 to 0.16. Single GPUs: 0.01 to 0.16 on T4, V100, RTX 3090 to 5090 and L40S,
    # 0.13 to 0.14 on H100. TP 2: 0.55 on H100, 0.25 on RTX 4090. TP 8: 0.93, 2.1, 2.15 on A100.
    "0.8": {"one": (0.12, 0.01, 0.35), "two": (0.55, 0.25, 0.60), "more": (2.1, 0.5, 2.2)},
    # 0.17 to 0.19 on H100: TP 1 0.24 to 0.26 (0.46 for two Granite models), TP 2 2.06 to 2.11,
    # TP 4 2.13 to 2.17, pipeline stages of one GPU 0.07.
    "0.17": {"one": (0.25, 0.20, 0.46), "two": (2.07, 2.0, 2.2), "more": (2.16, 2.0, 2.6)},
    # TP 1: 0.33 (L4), 0.34 (RTX 4090), 0.45 (RTX 5090). TP 4: 1.70 (RTX PRO 6000), TP 8: 1.74
    # (H200).
    "0.20": {"one": (0.37, 0.25, 0.6), "two": (1.70, 0.6, 2.2), "more": (1.72, 0.6, 2.6)},
    # Readings of free memory. 0.26 in Llama-3.1-8B (H100, 0.31); what a first start that compiles
    # leaves reserved counts too: 0.9 (Qwen2.5-3B), 1.4 (Qwen3-32B), 2.1 (Qwen3.5-0.8B).
    "0.27.1": {"one": (0.37, 0.15, 2.6), "two": (1.70, 0.3, 4.0), "more": (1.72, 0.3, 4.4)},
}
UNLINKED_GIB: dict[str, dict[str, tuple[float, float, float]]] = {
    # Without fast links between the cards, whose buffers communicators then do without: 0.20 on
    # four RTX 2080 Ti and on sixteen RTX 3090 (0.8.5), 0.25 on two RTX 4090 (0.7), 0.09 on four A30
    # (0.11), which are bridged in pairs.
    "0.8": {"two": (0.20, 0.05, 0.60), "more": (0.20, 0.05, 0.60)},
    "0.17": {"two": (0.30, 0.05, 2.2), "more": (0.30, 0.05, 2.2)},
    # Two RTX 3090 without peer access (0.24) have 1.6 GiB between weights and cache, of which the
    # profile run takes over 1.1.
    "0.20": {"two": (0.5, 0.25, 2.2)},
    # Two RTX PRO 6000 have 1.66 GiB between weights and cache, the profile run 0.95 by its law.
    "0.27.1": {"two": (0.7, 0.25, 4.0)},
}
BRIDGED = 2
"""So many cards are joined by a bridge that is bought apart, and may be missing."""
SHARED_MEMORY_GIB = (2.5, 1.3, 7.0)
"""Where the CPU shares the memory what is free is read of the whole machine, whose other growth
counts too (0.11.0: no; utils/mem_utils of 0.13.0). GB10: 1.4 to 2.0 (Qwen3-30B, 0.13), 2.2
(Qwen3-0.6B, 0.27), about 4.7 and 5.3 (Qwen3.5-35B of 22 and 34 GiB, 0.22 and 0.18)."""
PIPELINE_STAGE_GIB = (0.07, 0.05, 0.3)
"""Llama-3.1-8B on two stages of one H100 each, 0.19.0."""

GRAPH_BASE_GIB, GRAPH_LAYER_GIB, GRAPH_MOE_GIB = 0.35, 0.0165, 0.3
"""Captured graphs for 51 sizes to 0.19: 0.35 GiB and 17 MiB a layer, more for experts. Records
(0.19.0, H100), law in brackets: Llama-3.1-8B 0.91 (0.88), Qwen2.5-7B 0.86 (0.81), Mistral-24B 1.06
(1.01), gemma-3-4b 0.67 (0.91), Llama-3.3-70B 1.85 (1.67), Mixtral 0.93 (1.18), Qwen1.5-MoE 1.10
(1.05), DeepSeek-V2-Lite 1.57 (1.10), gpt-oss-20b 1.84 for 83 sizes (1.70); elsewhere Qwen3-Next
at TP 2 on H200 2.37 for 67 sizes (1.57), Qwen3-VL-30B at TP 4 on RTX 3090 1.92 (1.41), but less of
dense models: Llama-3.1-8B on A100 0.52 for 67 (1.15), Qwen2.5-1.5B on RTX 2000 Ada 0.49 (1.07)."""
GRAPH_SPLIT_SHARE = 0.34
"""Of that, what tensor parallelism divides. Records of 0.19.0 beside those of TP 1, law in
brackets: Qwen2.5-7B at TP 2 0.82 of it (0.83), Mistral-24B W8A8 0.84, gpt-oss-20b 0.84,
Llama-3.1-8B at TP 4 0.74 (0.75)."""
GRAPH_LATER_LAYER_GIB = 0.012
"""From 0.20: 12 MiB a layer. Records: Qwen3-32B 0.81 (0.77), Qwen3-14B 0.52 (0.48), Qwen3.5-4B
0.24 (0.38), Qwen3-Embedding-0.6B 0.24 (0.34), Qwen3-235B for 11 sizes 0.32 (0.24)."""
GRAPH_ESTIMATE = 0.93
"""The estimate that is taken off the budget, against what capture takes: 0.7 to 2.2 in logs."""
USUAL_SIZES = 51

CONTEXT_GIB = (0.51, 0.3, 0.7)
"""In use before the engine starts, one GPU. Records: H100 0.51 to 0.53, RTX 5090 0.50, L4 0.19."""
CONTEXT_PARALLEL_GIB = (1.51, 0.9, 2.1)
"""With communication set up: 1.43 (PP 2), 1.51 (TP 2), 1.53 (TP 4), 2.0 with experts."""
PACKED_WARM_UP_GIB = (-0.85, 1.92)
"""Whole and divided by tensor parallelism: what is in use beyond budget and graphs once MXFP4
kernels have warmed up. gpt-oss-20b, 0.19.0, when the sampler asked for more: TP 1 78.65 GiB where
0.51 before, 75.23 and 1.84 are accounted for; TP 2 78.90 where 2.01, 75.23 and 1.55 are."""


def communicating(model: Model, deployment: Deployment) -> int:
    """Ranks of a stage that exchange data: replicas too where experts are spread over them."""
    spread = model.has_experts
    return deployment.tensor_parallel_size * (deployment.data_parallel_size if spread else 1)


def non_torch(rules: Rules, ranks: int, pipeline_parallel_size: int, gpu: Gpu) -> Estimate:
    """Growth of memory that PyTorch does not own, from the first reading to the profile's end.

    ranks: those of a stage that communicate, tensor parallel and, with experts, data parallel.
    """
    eras = (((27, 1), "0.27.1"), ((20, 0), "0.20"), ((17, 0), "0.17"))
    era = next((name for since, name in eras if rules.since(*since)), "0.8")
    source = f"non-torch memory in start-up logs, vLLM {era} and later"
    if gpu.memory_shared_with_cpu and rules.since(13):
        return _gib(SHARED_MEMORY_GIB, f"{source}, on a machine whose CPU shares the memory")
    if ranks == 1 and pipeline_parallel_size > 1 and not rules.since(20):
        found = PIPELINE_STAGE_GIB
    else:
        size = {1: "one", 2: "two"}.get(ranks, "more")
        found, unlinked = NON_TORCH_GIB[era][size], UNLINKED_GIB[era].get(size)
        if unlinked and not linked(gpu, ranks):
            found = unlinked
        elif unlinked and gpu.nvlink_gpus == BRIDGED:
            found = (found[0], min(found[1], unlinked[1]), found[2])
    return _gib(found, source)


def capture_sizes(
    rules: Rules, model: Model, max_num_seqs: int, speculative_tokens: int = 0
) -> int:
    """Batch sizes for which graphs are captured.

    1, 2, 4, then every 8 to 255 and every 16 above, up to min(2 x max_num_seqs x q, 512), with q
    tokens a step. 0.11: every 8 to 512, 67 sizes. gpt-oss captures up to 1024: 83 sizes in 0.19.
    """
    largest = 1024 if model.model_type == "gpt_oss" and rules.since(12) else 512
    most = min(2 * max_num_seqs * (1 + speculative_tokens), largest)
    if not rules.since(12):
        return sum(1 for n in (1, 2, 4, *range(8, 513, 8)) if n <= most)
    return sum(1 for n in (1, 2, 4, *range(8, 256, 8), *range(256, most + 1, 16)) if n <= most)


def packed_warm_up(tensor_parallel_size: int) -> int:
    """Bytes that MXFP4 kernels hold beyond budget and graphs; less than none where what ranks
    share of them is smaller than the profile's peak, which is free again by then."""
    whole, divided = PACKED_WARM_UP_GIB
    return int((whole + divided / tensor_parallel_size) * GIB)


def cuda_graphs(
    rules: Rules, model: Model, layers: int, sizes: int, tensor_parallel_size: int
) -> Estimate:
    """Memory of captured graphs for so many batch sizes."""
    if rules.since(20):
        size = GRAPH_LATER_LAYER_GIB * layers
    else:
        moe = model.has_experts
        size = GRAPH_BASE_GIB + GRAPH_LAYER_GIB * layers + (GRAPH_MOE_GIB if moe else 0)
        size *= 1 - GRAPH_SPLIT_SHARE + GRAPH_SPLIT_SHARE / tensor_parallel_size
    size *= sizes / USUAL_SIZES * GIB
    return within(size, 0.4 * size, 1.8 * size, "CUDA graphs in start-up logs, 0.17 to 2.37 GiB")


def graph_estimate(captured: Estimate) -> Estimate:
    """What the profiler expects of `captured` and takes off the budget."""
    size = GRAPH_ESTIMATE * captured.bytes
    return within(size, 0.6 * size, 2.2 * size, "vLLM's estimate of its graphs, 0.7 to 2.2 of them")


def before(ranks: int, pipeline_parallel_size: int, *, moe: bool) -> Estimate:
    """CUDA context, and communicators of several GPUs, before the first reading."""
    if ranks * pipeline_parallel_size == 1:
        return _gib(CONTEXT_GIB, "CUDA context before the engine's first reading")
    value, low, high = CONTEXT_PARALLEL_GIB
    if moe and ranks > 1:
        value += 0.48
    return _gib((value, low, high), "CUDA context and communicators before the first reading")


def repacking(rules: Rules, model: Model, assignment: Assignment, tp: int) -> Estimate | None:
    """What repacked int4 weights leave reserved, which readings of free memory count.

    The size of an untied 16-bit head. Records: Qwen3-14B-AWQ 1.5 GiB and Qwen3-32B-AWQ 1.6 GiB
    (RTX 5090, about 0.28, head of 1.45 GiB); Qwen2.5-3B-AWQ, whose head is tied, 0.3.
    """
    formats = {fmt.name for part in assignment.layers for _, fmt in part.weights}
    if not rules.reads_free_memory or not any(name.startswith("int4") for name in formats):
        return None
    size = sum(weight.parameters for weight in model.head) * DTYPE_BYTES[model.dtype] // tp
    return within(size, 0, 1.2 * size + 0.3 * GIB, "memory reserved after repacking int4 weights")


def repacked_weights(rules: Rules, assignment: Assignment, gpu: Gpu) -> float:
    """The share that int4 weights may grow by where Hopper's kernels keep 16-bit zero points.

    Qwen2.5-7B-AWQ on an H200 (0.31): 5.38 GiB, 2.9 % above its checkpoint.
    """
    formats = {fmt.name for part in assignment.layers for _, fmt in part.weights}
    hopper = (gpu.compute_capability or "").startswith("9.")
    return 0.025 if hopper and rules.since(28) and any(n.startswith("int4") for n in formats) else 0


def marlin_runs_mxfp4(rules: Rules, gpu: Gpu) -> bool | None:
    """Whether MXFP4 experts run in Marlin's layout; None where it hangs on what is installed.

    It runs them before Hopper. Hopper takes Triton's kernels where they are found, which the wheel
    has had since 0.13 and not up to 0.11 (has_triton_kernels; quantization/mxfp4).
    """
    capability = gpu.cuda_capability
    if capability is None or capability < 9:
        return capability is not None
    return False if rules.since(13) and capability < 10 else None


def lora_slots(
    model: Model, layers: int, max_loras: int, max_lora_rank: int, tensor_parallel_size: int
) -> int:
    """Bytes reserved for adapters: A (rank x inputs) and B (outputs x rank) beside every dense
    projection, for max_loras at once, and beside embedding and head.

    Column-parallel projections split B, row-parallel ones A. Record: Qwen3-4B at rank 16 reserves
    79 MiB a slot.
    """
    tp = tensor_parallel_size
    elements = 0
    for group in model.groups:
        for weight in group.weights(model.hidden_size):
            if weight.role == "linear" and weight.copies == 1 and len(weight.shape) == 2:
                outputs, inputs = weight.shape
                if weight.split == "row":
                    inputs = inputs // tp
                elif weight.split != "replicated":
                    outputs = outputs // tp
                elements += group.count * (outputs + inputs)
    share = layers / model.num_hidden_layers
    ends = 2 * (model.vocab_size // tp + model.hidden_size)
    size = DTYPE_BYTES[model.dtype]
    return int(max_loras * max_lora_rank * size * (share * elements + ends))


def _gib(found: tuple[float, float, float], source: str) -> Estimate:
    value, low, high = found
    return within(value * GIB, low * GIB, high * GIB, source)
