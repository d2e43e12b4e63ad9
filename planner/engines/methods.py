"""Which engines load a checkpoint of which quantisation, where not all are assumed to.

    not_loaded("vllm", assign(model, "auto"), gpu)   # "vLLM loads no eetq checkpoints"

Sources: the registries of quantisation methods of vLLM 0.33.0 and SGLang 0.5.23, and the quantizers
of transformers 5.24. vLLM's torchao and FP-Quant replace linear layers only (layers/quantization/
torchao and fp_quant). llama.cpp reads GGUF files, whatever the checkpoint, and says so itself;
MLX's checkpoints are for mlx-lm.
"""

from planner.engines.registry import ENGINES
from planner.formats.quantization import Assignment
from planner.formats.torchao import OLD
from planner.formats.weight_formats import UNQUANTISED
from planner.hardware import Gpu

LOADED_BY: dict[str, tuple[str, ...]] = {
    "torchao": ("vllm", "transformers"),
    "fp_quant": ("vllm", "transformers"),
    "aqlm": ("vllm", "transformers"),
    "hqq": ("vllm", "transformers"),
    OLD: (),
    "mlx": (),
    **dict.fromkeys(("bitnet", "eetq", "higgs", "quanto", "spqr", "vptq"), ("transformers",)),
}
"""By any of the versions that are described: planner.engines.vllm.checks has vLLM's."""
LOST = {OLD: ("vllm", "transformers")}
"""Engines that loaded such checkpoints in earlier versions."""
JUDGED = ("vllm", "sglang", "tensorrt-llm", "transformers")
LINEAR_ONLY = {"vllm": ("torchao", "fp_quant")}
"""Methods of which an engine loads neither experts nor embedding nor head."""


def not_loaded(engine: str, assignment: Assignment, gpu: Gpu) -> str | None:
    """Why the engine does not load weights so assigned, as a sentence; None where it does."""
    method = assignment.method
    if engine not in JUDGED or method not in LOADED_BY:
        return None
    label = ENGINES[engine].label
    if engine not in LOADED_BY[method]:
        loads = "no longer loads" if engine in LOST.get(method, ()) else "loads no"
        return f"{label} {loads} {method} checkpoints"
    if method in LINEAR_ONLY.get(engine, ()) and _beyond_linear(assignment):
        return f"{label} loads no experts, embedding or head that {method} has quantised"
    if assignment.cuda_only and gpu.vendor not in ("NVIDIA", "custom"):
        return f"{label} runs this {method} checkpoint on NVIDIA's cards, not on {gpu.name}"
    least, has = assignment.capability, gpu.cuda_capability
    if least is not None and has is not None and has < least:
        return (
            f"{label} runs this {method} checkpoint on compute capability {least} or more, "
            f"and {gpu.name} has {has}"
        )
    return None


def _beyond_linear(assignment: Assignment) -> bool:
    pairs = [pair for part in assignment.layers for pair in part.weights]
    stored = (*pairs, *assignment.outside)
    return any(f not in UNQUANTISED.values() and w.role != "linear" for w, f in stored)
