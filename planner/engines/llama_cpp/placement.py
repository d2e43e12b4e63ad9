"""A model laid over the devices of one llama-server, and what each of them holds."""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import Any

from planner.deployment import Deployment
from planner.engines.engine import exactly, within
from planner.engines.llama_cpp.buffers import (
    cell_bytes,
    cells,
    compute_bytes,
    devices,
    ends_of,
    layers_of,
    on_cpu_experts,
    rope_factor_bytes,
    state_bytes,
)
from planner.engines.llama_cpp.options import LlamaCppOptions, cache_types
from planner.engines.llama_cpp.windows import keeps_windows
from planner.errors import PlanRefused
from planner.estimate import Estimate
from planner.formats.gguf_assignment import held_in_gguf
from planner.formats.gguf_mixes import BASE
from planner.formats.quantization import Assignment, assign
from planner.model import Model

PLAIN = ("bf16", "fp16", "fp32")


class Placement:
    """A model laid over devices: what each holds for a context of so many tokens.

    Device -1 is the CPU. Figures are bytes of one device. where: the device of every block and,
    last, of the output; spilled: the blocks whose experts stay in CPU memory.
    """

    def __init__(
        self,
        model: Model,
        assignment: Assignment,
        deployment: Deployment,
        options: LlamaCppOptions,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.model, self.options = model, options
        self.factors = rope_factor_bytes(model, config)
        self.mixed = deployment.weights_dtype.lower() in BASE
        self.layers = layers_of(model, assignment)
        self.front, self.back = ends_of(model, assignment)
        self.keys, self.values = cache_types(deployment, options)
        self.num_gpus = deployment.gpus
        self.windowed = keeps_windows(model)
        self.where = devices(len(self.layers), options.n_gpu_layers, deployment.gpus)
        self.spilled = frozenset(i for i in range(len(self.layers)) if on_cpu_experts(i, options))

    def laid(self, where: Sequence[int], spilled: Iterable[int] = ()) -> "Placement":
        """The same model elsewhere."""
        found = copy(self)
        found.where, found.spilled = list(where), frozenset(spilled)
        return found

    @property
    def gpus(self) -> tuple[int, ...]:
        """The GPUs that hold something."""
        return tuple(sorted({device for device in self.where if device >= 0}))

    def weights(self, device: int) -> int:
        """Weights on a device; the input table and --cpu-moe's experts are the CPU's."""
        total = self.front if device < 0 else 0
        total += self.back if self.where[-1] == device else 0
        for index, layer in enumerate(self.layers):
            held = 0 if self.where[index] != device else layer.weights + self.factors
            if index in self.spilled and self.where[index] >= 0:
                held = layer.experts if device < 0 else held - (layer.experts if held else 0)
            total += held
        return total

    def weights_estimate(self, device: int) -> Estimate:
        """Exact but for a mix of types with recurrent layers, whose types are assumed."""
        size = self.weights(device)
        if not self.mixed or not any(layer.group.state() for layer in self.layers):
            return exactly(size, "tensors of the blocks on this device")
        return within(
            size, size, 1.1 * size,
            "tensors of the blocks on this device; recurrent matrices at the file's base type, of "
            "which published files store some larger (Qwen3.5-9B Q4_K_M: 7 % more)",
        )  # fmt: skip

    def cache(self, device: int, ctx_size: int) -> int:
        """Cells and states of the blocks on a device."""
        total = 0
        for index, layer in enumerate(self.layers):
            at = -1 if self.options.no_kv_offload else self.where[index]
            if at != device:
                continue
            for mixer in layer.group.mixers:
                tensors = mixer.cache()
                window = tensors[0].window if tensors and self.windowed else None
                each = cell_bytes(mixer, self.keys, self.values, self.options)
                total += each * cells(ctx_size, window, self.options)
            total += self.options.slots * state_bytes(layer.group)
        return total

    def compute(self, device: int, ctx_size: int) -> Estimate:
        """The compute buffer; experts in CPU memory are copied in for long prompts."""
        held = cells(ctx_size, None, self.options)
        last = self.where[-1] == device
        size = compute_bytes(self.model, held, self.options, with_output=last)
        least = compute_bytes(self.model, held, self.options, with_output=False)
        moved = max(
            (
                layer.largest_expert_tensor
                for index, layer in enumerate(self.layers)
                if index in self.spilled or self.where[index] < 0
            ),
            default=0,
        )
        mask = 4 * held * self.options.ubatch_size
        return within(
            size + moved, 0.9 * least, 1.6 * size + 2 * moved + 2 * mask,
            "the widest moment of the graph; to the last digit for Qwen2.5-3B, 3 % for Mistral-7B; "
            "builds of autumn 2026 hold logits of the last tokens only, which is the low end",
        )  # fmt: skip

    def total(self, device: int, ctx_size: int) -> int:
        """Everything on a GPU but the run time."""
        return (
            self.weights(device)
            + self.cache(device, ctx_size)
            + self.compute(device, ctx_size).bytes
        )


def weights_of(model: Model, deployment: Deployment) -> str:
    """The format of the file. 'auto' is the model's own dtype, or for MXFP4 experts the file that
    holds them as they are. Raises PlanRefused for what no GGUF file holds."""
    name = deployment.weights_dtype.lower()
    if name in ("auto", "mxfp4") and _has_mxfp4_experts(model, name):
        return "mxfp4_moe"
    if name == "auto" and model.quantization is None:
        return name
    if held_in_gguf(model, name) or name in PLAIN:
        return name
    stored = ", the model's own format" if name == "auto" else ""
    raise PlanRefused(
        f"weights_dtype {name}: no GGUF file holds it{stored}; choose a GGUF type such as q4_k_m "
        "or q8_0"
    )


def _has_mxfp4_experts(model: Model, name: str) -> bool:
    return any(
        weight.role == "expert" and fmt.name == "mxfp4"
        for part in assign(model, name).layers
        for weight, fmt in part.weights
    )
