"""What a command must load so that the engine holds the weights that were planned.

A checkpoint has its own format. An engine makes a few formats of a 16-bit one while loading; any
other needs a checkpoint stored that way, for which the command has a placeholder: it never names
one that would load as something else.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from planner.deployment import Deployment
from planner.errors import ConfigRefused
from planner.formats.dtypes import NAME_OF_DTYPE
from planner.formats.gguf_assignment import held_in_gguf, is_gguf
from planner.formats.quantization import assign
from planner.formats.weight_formats import UNQUANTISED, weight_format
from planner.model import Model

TORCH_NAMES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
MADE_BY = {
    "int8_bnb": "bitsandbytes",
    "nf4": "bitsandbytes",
    "fp4": "bitsandbytes",
    "int4": "AWQ or GPTQ",
    "nvfp4": "ModelOpt",
    "mxfp4": "MXFP4",
    "int8": "W8A8",
    "fp8": "FP8",
}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """name: what to load, or a placeholder in <>. on_load: the engine's name of the format that it
    makes while loading; dtype: torch's name where it differs from the checkpoint's own. quantised:
    whether its own config.json has a quantization_config."""

    name: str
    on_load: str | None = None
    dtype: str | None = None
    note: str | None = None
    quantised: bool = False


def checkpoint_of(
    name: str, model: Model, deployment: Deployment, on_load: Mapping[str, str]
) -> Checkpoint:
    """What to load for the Deployment's weights_dtype; on_load: formats made while loading.

    The model's dtype is what the engine runs it in where no flag names one.
    """
    asked = deployment.weights_dtype.lower()
    if asked == "auto":
        own = model.quantization is not None and not held_in_gguf(model, asked)
        return Checkpoint(name, quantised=own)
    plain = is_gguf(asked)
    if not plain:
        fmt = weight_format(asked)
        plain = fmt in UNQUANTISED.values()
        if plain and model.quantization is None:
            same = NAME_OF_DTYPE[model.dtype] == fmt.name
            return Checkpoint(name, dtype=None if same else TORCH_NAMES.get(fmt.name))
        if not plain and fmt.name in _own_formats(model):
            return Checkpoint(name, quantised=True)
        if model.quantization is None and asked in on_load:
            return Checkpoint(name, on_load[asked])
    kind = next((text for key, text in MADE_BY.items() if asked.startswith(key)), "")
    how = f" ({kind})" if kind else ""
    return Checkpoint(
        f"<{name} quantised to {asked}{how}: its id here>",
        note=f"The weights are planned as {asked}, which the engine does not make while loading: "
        f"the command needs the id of a checkpoint that is stored so{how}.",
        quantised=not plain,
    )


def _own_formats(model: Model) -> tuple[str, ...]:
    """Formats of the checkpoint; none where its configuration does not say which they are."""
    try:
        return tuple(assign(model, "auto").bytes_by_format())
    except ConfigRefused:
        return ()


def gguf_file(name: str, model: Model, weights_dtype: str) -> str:
    """The GGUF file as published ones are called: /path/to/Qwen3-8B-Q4_K_M.gguf; a model that was
    read from one has its own, of the types that it is planned in."""
    own = held_in_gguf(model, "auto")
    if name.endswith(".gguf") and (weights_dtype == "auto" or not own):
        return name
    if own:
        name = name.removesuffix(".gguf")
        if weights_dtype == "auto":
            return f"/path/to/{name.rsplit('/', 1)[-1]}.gguf"
    kind = "BF16" if weights_dtype == "auto" else weights_dtype.upper()
    return f"/path/to/{name.rsplit('/', 1)[-1]}-{kind}.gguf"
