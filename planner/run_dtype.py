"""The number format that a model runs in: of its unquantised weights, activations and own cache.

    as_run(model, "auto").dtype   # "bfloat16", also of a checkpoint that is saved in float32
    as_run(model, "fp32").dtype   # "float32": a dtype asked for is the cache's and activations' too

Servers load a checkpoint saved in float32 in 16 bits unless told otherwise: vLLM in the first
dtype of the platform (`_resolve_auto_dtype`: bfloat16, float16 on cards without it and up to
0.10.0), SGLang in float16 (`_get_and_verify_dtype`: Gemma in bfloat16), llama.cpp from a file that
its converter writes in 16 bits (--outtype auto). transformers 5 keeps it as it is saved, and so
does TensorRT-LLM, whose kernels then refuse it (TensorRT-LLM issue 5260).
"""

from planner.formats.weight_formats import ALIASES, UNQUANTISED
from planner.memo import memo
from planner.model import Model

SERVED = {"float32": "bfloat16"}
"""dtype of a checkpoint -> what servers run it in, where that differs."""
SAVED_IN_FLOAT32 = (
    "The checkpoint is saved in float32, which servers load in 16 bits: auto plans it so, "
    "--weights-dtype fp32 keeps it."
)


def plain_dtype(weights_dtype: str) -> str | None:
    """torch's name of an unquantised format; None for "auto" and for quantised ones."""
    name = ALIASES.get(weights_dtype.lower(), weights_dtype.lower())
    return next((dtype for dtype, fmt in UNQUANTISED.items() if fmt.name == name), None)


@memo(maxsize=64)
def as_run(model: Model, weights_dtype: str, own: str | None = None) -> Model:
    """The model with the dtype that it runs in; own: what the engine takes where none is asked."""
    dtype = plain_dtype(weights_dtype) or own or model.dtype
    return model if dtype == model.dtype else model.model_copy(update={"dtype": dtype})
