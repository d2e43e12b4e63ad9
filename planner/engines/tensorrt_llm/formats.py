"""Which weights TensorRT-LLM runs on which cards, as a sentence where it does not.

    not_run(model, "nvfp4", gpu)   # "TensorRT-LLM has no kernels for nvfp4 weights on H100"

Source: the table of hardware on its quantization page (1.0 to 1.2). What that does not list, such
as bitsandbytes, 8-bit integers and GGUF, it does not run. MXFP4 experts also run on Hopper (its
page on gpt-oss). float32: "most custom kernels don't support" it (TensorRT-LLM issue 5260).
"""

from planner.formats.gguf_assignment import held_in_gguf
from planner.formats.quantization import Assignment, assign
from planner.hardware import Gpu
from planner.model import Model
from planner.run_dtype import plain_dtype

PLAIN = ("bf16", "fp16")
HOPPER, ANY = 9.0, 99.0
KERNELS: dict[str, tuple[float, float]] = {
    "fp8": (8.9, ANY),
    "fp8_block": (HOPPER, 10.9),
    "fp8_per_channel": (HOPPER, HOPPER),
    "nvfp4": (10.0, ANY),
    "mxfp4": (10.0, ANY),
    "int4": (8.0, HOPPER),
}
"""First and last compute capability with kernels; int4 is AWQ's and GPTQ's, whatever the group."""


def not_run(model: Model, weights_dtype: str, gpu: Gpu) -> str | None:
    """Why it does not run the weights on that card; None where it does."""
    if held_in_gguf(model, weights_dtype):
        return "TensorRT-LLM reads no GGUF files"
    kept = model.saved_dtype if model.quantization is None else None
    if (plain_dtype(weights_dtype) or (weights_dtype == "auto" and kept)) == "float32":
        return (
            "TensorRT-LLM runs a checkpoint in the dtype that it is saved in, and has no kernels "
            "for float32: it needs one saved in bf16 (--weights-dtype bf16)"
        )
    assignment = assign(model, weights_dtype)
    for name in assignment.bytes_by_format():
        if name in PLAIN:
            continue
        first, last = KERNELS.get("int4" if name.startswith("int4_") else name, (ANY, ANY))
        if name == "mxfp4" and _experts_only(assignment):
            first = HOPPER
        if not first <= (gpu.cuda_capability or HOPPER) <= last:
            return f"TensorRT-LLM has no kernels for {name} weights on {gpu.name}"
    return None


def _experts_only(assignment: Assignment) -> bool:
    return all(
        weight.role == "expert"
        for part in assignment.layers
        for weight, fmt in part.weights
        if fmt.name == "mxfp4"
    )
