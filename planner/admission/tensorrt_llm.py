"""TensorRT-LLM's block pool on many GPUs: a fraction of what is free after one dummy prefill.

tokens = ((total - spent) x fraction - states) // bytes of a token, in blocks of 32
admitted = blocks // blocks of a request, at most max_batch_size
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from planner.admission.admission import Admission, Asked, Ints, distinct_stages, memory_of
from planner.deployment import Deployment
from planner.engines.cache_dtypes import check_cache_dtype
from planner.engines.stages import StageWeights, stages
from planner.engines.tensorrt_llm.options import BATCH, FRACTION, TensorrtLlmOptions
from planner.engines.tensorrt_llm.rank import Rank, excess, rank_of
from planner.errors import PlanRefused
from planner.formats.dtypes import kv_format
from planner.formats.quantization import assign
from planner.hardware import Gpu
from planner.model import Model
from planner.parallelism import check
from planner.units import ceil_div


class TensorrtLlmRule:
    """Rule of TensorRT-LLM for one model. config: the model's own, for its vision tower."""

    def __init__(self, model: Model, config: Mapping[str, Any] | None = None) -> None:
        self.model, self.config = model, config
        self._stages: dict[Deployment, list[StageWeights]] = {}
        self._recurrent = any(group.state() for group in model.groups)

    def options(
        self, gpu: Gpu, deployment: Deployment, context: int, sequences: int
    ) -> TensorrtLlmOptions:
        """max_batch_size is the default unless more sequences are asked, or its states would be
        set aside for sequences that nobody asked for. The fraction is lowered by as much as a
        token takes more than it is priced at, or the pool would not fit."""
        default = BATCH if sequences <= BATCH and not self._recurrent else sequences
        most = FRACTION / excess(self.model, deployment.tensor_parallel_size)
        return TensorrtLlmOptions(
            free_gpu_memory_fraction=math.floor(100 * most) / 100,
            max_seq_len=context,
            max_num_tokens=deployment.max_num_batched_tokens,
            max_batch_size=default,
        )

    def admission(self, asked: Asked) -> Admission:
        """Raises PlanRefused for what TensorRT-LLM does not take."""
        check(self.model, asked.deployment)
        check_cache_dtype("TensorRT-LLM", ("fp8", "nvfp4"), self.model, asked.deployment)
        columns = [self._chunk(asked, chunk) for chunk in asked.chunk_tokens]
        admitted, needed, budget = (np.stack(part, axis=1) for part in zip(*columns, strict=True))
        return Admission(admitted, needed, budget)

    def _chunk(self, asked: Asked, chunk: int) -> tuple[Ints, Ints, Ints]:
        """Admitted, needed and budget of one chunk size, with an axis for users."""
        gpu = asked.gpus[0]
        deployment = asked.deployment.replace(max_num_batched_tokens=chunk)
        options = self.options(gpu, deployment, asked.context, asked.least)
        fmt = kv_format(deployment.kv_cache_dtype, self.model.own_cache)
        ranks = [
            rank_of(stage, self.model, gpu, deployment, options, fmt)
            for stage in self._held(deployment)
        ]
        memory = memory_of(asked.gpus)[:, 0]
        tokens: list[Ints] = []
        for rank in ranks:
            if not rank.priced:
                raise PlanRefused("the model keeps no cache, which TensorRT-LLM's pool needs")
            left = self._left(rank, memory, options)
            tokens.append((left - rank.states) // rank.priced)
        size = options.tokens_per_block
        blocks = np.maximum(0, np.minimum.reduce(tokens)) // size
        each = ceil_div(asked.context, size)
        admitted = np.minimum(blocks // each, options.max_batch_size)
        needed = np.maximum.reduce(
            [
                _spent(rank) + rank.states + rank.priced * size * each * asked.sequences
                for rank in ranks
            ]
        )
        room = np.minimum.reduce(
            [self._left(rank, memory, options) + _spent(rank) for rank in ranks]
        )
        return admitted, np.broadcast_to(needed, (len(memory), len(needed))), room

    def _left(self, rank: Rank, memory: Ints, options: TensorrtLlmOptions) -> Ints:
        found: Ints = np.trunc((memory - _spent(rank)) * options.free_gpu_memory_fraction).astype(
            np.int64
        )
        return found

    def _held(self, deployment: Deployment) -> list[StageWeights]:
        """One stage of every kind."""
        key = deployment.replace(max_num_batched_tokens=1, kv_cache_dtype="auto")
        if key not in self._stages:
            held = stages(self.model, deployment, self.config)
            assignment = assign(self.model, deployment.weights_dtype)
            kinds = distinct_stages(assignment, [stage.layers for stage in held])
            self._stages[key] = [held[index] for index in kinds]
        return self._stages[key]


def _spent(rank: Rank) -> int:
    return sum(part.bytes for part in rank.components.values())
