"""llama.cpp's buffers on many GPUs: weights, cells of every slot and one compute buffer must fit.

Every user has a slot of the whole context (`-np users -c users x context`). Layers lie on GPUs in
order, so that of parallel sizes only pipeline stages apply. Nothing is budgeted: all or nothing.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from planner.admission.admission import Admission, Asked, Ints, memory_of
from planner.deployment import Deployment
from planner.engines.llama_cpp.options import LlamaCppOptions
from planner.engines.llama_cpp.placement import Placement, weights_of
from planner.errors import PlanRefused
from planner.formats.quantization import assign
from planner.hardware import Gpu
from planner.model import Model
from planner.overheads import CONTEXT, LIBRARIES

BATCH = 2048


class LlamaCppRule:
    """Rule of llama.cpp for one model. config: the model's own."""

    def __init__(self, model: Model, config: Mapping[str, Any] | None = None) -> None:
        self.model, self.config = model, config

    def options(
        self, gpu: Gpu, deployment: Deployment, context: int, sequences: int
    ) -> LlamaCppOptions:
        """The micro-batch is the chunk size: what one pass computes. Every block is on a GPU: times
        of blocks on a CPU are not known."""
        chunk = deployment.max_num_batched_tokens
        return LlamaCppOptions(
            n_gpu_layers=self.model.num_hidden_layers + 1,
            ctx_size=context * sequences,
            parallel=sequences,
            batch_size=max(BATCH, chunk),
            ubatch_size=chunk,
        )

    def admission(self, asked: Asked) -> Admission:
        """Raises PlanRefused for layouts and formats that llama.cpp has not."""
        deployment = asked.deployment
        if deployment.gpus > deployment.pipeline_parallel_size:
            raise PlanRefused(
                "llama.cpp deals layers to GPUs and has no tensor parallelism or replicas here"
            )
        if deployment.enable_expert_parallel:
            raise PlanRefused("llama.cpp has no expert parallelism")
        assignment = assign(self.model, weights_of(self.model, deployment))
        tried = np.concatenate(([1], asked.sequences))
        needed = np.zeros((len(asked.chunk_tokens), len(tried)), dtype=np.int64)
        for k, chunk in enumerate(asked.chunk_tokens):
            chosen = deployment.replace(max_num_batched_tokens=chunk)
            one = Placement(
                self.model, assignment, chosen,
                self.options(asked.gpus[0], chosen, asked.context, 1), self.config,
            )  # fmt: skip
            needed[k] = _needed(one, asked.context, tried)
        room = memory_of(asked.gpus) - (CONTEXT.bytes + LIBRARIES.bytes)
        fits: Ints = np.where(needed[None] <= room, tried, 0)
        admitted = fits.max(axis=2, keepdims=True)
        shape = (len(asked.gpus), len(needed), len(asked.sequences))
        whole = needed[:, 1:] + CONTEXT.bytes + LIBRARIES.bytes
        budget = np.broadcast_to(memory_of(asked.gpus), (*shape[:2], 1))
        return Admission(admitted, np.broadcast_to(whole, shape), budget)


def _needed(one: Placement, context: int, sequences: Ints) -> Ints:
    """Bytes of the fullest GPU; a slot's cells and states are the same for every slot."""
    found = []
    for device in one.gpus:
        slot = one.cache(device, context)
        rest = one.weights(device) + one.compute(device, context).bytes
        found.append(rest + slot * sequences)
    most: Ints = np.maximum.reduce(found)
    return most
