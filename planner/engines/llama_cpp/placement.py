"""A model laid over the devices of one llama-server, and what each of them holds."""

from planner.deployment import Deployment
from planner.engines.engine import within
from planner.engines.llama_cpp.buffers import (
    cell_bytes,
    cells,
    compute_bytes,
    devices,
    ends_of,
    layers_of,
    on_cpu_experts,
    state_bytes,
)
from planner.engines.llama_cpp.options import LlamaCppOptions, cache_types
from planner.errors import PlanRefused
from planner.estimate import Estimate
from planner.formats.gguf_assignment import is_gguf
from planner.formats.quantization import Assignment
from planner.model import Model

PLAIN = ("bf16", "fp16", "fp32", "mxfp4")


class Placement:
    """A model laid over devices: what each holds for a context of so many tokens.

    Device -1 is the CPU. Figures are bytes of one device.
    """

    def __init__(
        self, model: Model, assignment: Assignment, deployment: Deployment, options: LlamaCppOptions
    ) -> None:
        self.model, self.options = model, options
        self.layers = layers_of(model, assignment)
        self.front, self.back = ends_of(model, assignment)
        self.keys, self.values = cache_types(deployment, options)
        self.where = devices(len(self.layers), options.n_gpu_layers, deployment.gpus)

    @property
    def gpus(self) -> tuple[int, ...]:
        """The GPUs that hold something."""
        return tuple(sorted({device for device in self.where if device >= 0}))

    def weights(self, device: int) -> int:
        """Weights on a device; the input table and --cpu-moe's experts are the CPU's."""
        total = self.front if device < 0 else 0
        total += self.back if self.where[-1] == device else 0
        for index, layer in enumerate(self.layers):
            held = 0 if self.where[index] != device else layer.weights
            if on_cpu_experts(index, self.options) and self.where[index] >= 0:
                held = layer.experts if device < 0 else held - (layer.experts if held else 0)
            total += held
        return total

    def cache(self, device: int, ctx_size: int) -> int:
        """Cells and states of the blocks on a device."""
        total = 0
        for index, layer in enumerate(self.layers):
            at = -1 if self.options.no_kv_offload else self.where[index]
            if at != device:
                continue
            for mixer in layer.group.mixers:
                tensors = mixer.cache()
                window = tensors[0].window if tensors else None
                each = cell_bytes(mixer, self.keys, self.values, self.options)
                total += each * cells(ctx_size, window, self.options)
            total += self.options.slots * state_bytes(layer.group)
        return total

    def compute(self, device: int, ctx_size: int) -> Estimate:
        """The compute buffer; experts in CPU memory are copied in for long prompts."""
        held = cells(ctx_size, None, self.options)
        size = compute_bytes(self.model, held, self.options, with_output=self.where[-1] == device)
        moved = max(
            (
                layer.largest_expert_tensor
                for index, layer in enumerate(self.layers)
                if on_cpu_experts(index, self.options) or self.where[index] < 0
            ),
            default=0,
        )
        mask = 4 * held * self.options.ubatch_size
        return within(
            size + moved, 0.9 * size, 1.6 * size + 2 * moved + 2 * mask,
            "the widest moment of the graph; to the last digit for Qwen2.5-3B, 3 % for Mistral-7B",
        )  # fmt: skip

    def total(self, device: int, ctx_size: int) -> int:
        """Everything on a GPU but the run time."""
        return (
            self.weights(device)
            + self.cache(device, ctx_size)
            + self.compute(device, ctx_size).bytes
        )


def weights_of(model: Model, deployment: Deployment) -> str:
    """The format of the file; 'auto' of an unquantised model is its own dtype."""
    name = deployment.weights_dtype.lower()
    if name == "auto" and model.quantization is None:
        return name
    if is_gguf(name) or name in PLAIN:
        return name
    raise PlanRefused(
        f"weights_dtype {name}: no GGUF file holds it; choose a GGUF type such as q4_k_m or q8_0"
    )
