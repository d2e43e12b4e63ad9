"""SGLang's token pool on many GPUs: a share of the free memory less what loading takes.

    tokens = (free x mem_fraction_static - spent) // bytes of a token
    admitted = tokens // context, at most max_running_requests

With SGLang's own defaults; `--context-length` and `--chunked-prefill-size` are what is asked.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from planner.admission.admission import Admission, Asked, Ints, distinct_stages, memory_of
from planner.deployment import Deployment
from planner.engines.cache_dtypes import check_cache_dtype, check_length
from planner.engines.sglang.figures import CACHES
from planner.engines.sglang.options import (
    LEAST_RUNNING,
    MAMBA_RATIO,
    MOST_RUNNING,
    SglangOptions,
    resolve,
)
from planner.engines.sglang.pool import STATES_PER_REQUEST, default_ratio
from planner.engines.sglang.rank import Rank, context_of, feed_forward_of, rank_of
from planner.engines.stages import stages
from planner.formats.quantization import assign
from planner.hardware import Gpu
from planner.model import Model
from planner.parallelism import check


class SglangRule:
    """Rule of SGLang for one model. config: the model's own, as sglang_figures() takes it."""

    def __init__(self, model: Model, config: Mapping[str, Any] | None = None) -> None:
        self.model, self.config = model, config
        self._ranks: dict[Deployment, list[Rank]] = {}
        self._shares: dict[tuple[Any, ...], float] = {}

    def options(
        self, gpu: Gpu, deployment: Deployment, context: int, sequences: int
    ) -> SglangOptions:
        """max_running_requests is SGLang's choice unless more sequences are asked."""
        return SglangOptions(
            context_length=context,
            chunked_prefill_size=deployment.max_num_batched_tokens,
            max_running_requests=sequences if sequences > LEAST_RUNNING else None,
        )

    def admission(self, asked: Asked) -> Admission:
        """Raises PlanRefused for what SGLang does not take."""
        check(self.model, asked.deployment)
        check_cache_dtype("SGLang", CACHES, self.model, asked.deployment)
        check_length(
            "SGLang", "context_length", asked.context, self.model,
            "SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN=1 is set",
        )  # fmt: skip
        free = memory_of(asked.gpus)[:, 0] - context_of(asked.deployment).bytes
        shares = np.asarray([self._share(gpu, asked) for gpu in asked.gpus])
        budget: Ints = (free * shares).astype(np.int64)
        ranks = self._held(asked.deployment)
        left = [budget + rank.left for rank in ranks]
        pools = [self._pool(rank, each, asked) for rank, each in zip(ranks, left, strict=True)]
        binding = np.lexsort((np.stack(left), np.stack([tokens for tokens, _, _ in pools])), axis=0)
        admitted, needed = (
            np.take_along_axis(np.stack(part), binding[:1], axis=0)[0]
            for part in ([pool[1] for pool in pools], [pool[2] for pool in pools])
        )
        return Admission(admitted[..., None], *self._sizes(asked, ranks, needed, budget))

    def _share(self, gpu: Gpu, asked: Asked) -> list[float]:
        """mem_fraction_static for every chunk size."""
        deployment = asked.deployment
        layout = (
            deployment.tensor_parallel_size, deployment.pipeline_parallel_size,
            deployment.data_parallel_size,
        )  # fmt: skip
        found = []
        for chunk in asked.chunk_tokens:
            key = (gpu.id, gpu.memory_bytes, chunk, asked.context, *layout)
            if key not in self._shares:
                options = SglangOptions(context_length=asked.context, chunked_prefill_size=chunk)
                chosen = resolve(self.model, gpu, deployment, options, self.config)
                self._shares[key] = chosen.mem_fraction_static
            found.append(self._shares[key])
        return found

    def _held(self, deployment: Deployment) -> list[Rank]:
        """A rank of every kind of stage, spending out of nothing."""
        key = deployment.replace(max_num_batched_tokens=1)
        if key not in self._ranks:
            held = stages(
                self.model, deployment, self.config, feed_forward=feed_forward_of(deployment)
            )
            assignment = assign(self.model, deployment.weights_dtype)
            kinds = distinct_stages(assignment, [stage.layers for stage in held])
            self._ranks[key] = [
                rank_of(held[index], self.model, deployment, SglangOptions(), None, 0)
                for index in kinds
            ]
        return self._ranks[key]

    def _pool(self, rank: Rank, left: Ints, asked: Asked) -> tuple[Ints, Ints, Ints]:
        """Tokens, requests admitted, and bytes of the pool for the sequences asked."""
        left = np.maximum(0, left)
        slots: Ints | None = None
        states = np.zeros_like(left)
        if rank.state:
            states = (left * MAMBA_RATIO / (1 + MAMBA_RATIO)).astype(np.int64)
            slots = (states - rank.state) // rank.state
        ratio = default_ratio(self.model)
        cell = rank.cell
        hybrid = bool(cell.full and cell.sliding)
        each = cell.bytes(ratio)
        tokens = (left - states) // each
        if slots is not None:
            tokens = np.where(slots < STATES_PER_REQUEST, 0, tokens)
        admitted = tokens // asked.context
        if hybrid:
            sliding = (tokens * ratio).astype(np.int64)
            admitted = np.minimum(admitted, sliding // min(asked.context, cell.window + 1))
        running = self._running(tokens, asked)
        if slots is not None:
            running = np.minimum(running, slots // STATES_PER_REQUEST)
        admitted = np.maximum(0, np.minimum(admitted, running))
        return tokens, admitted, np.full_like(left, each * asked.context)

    def _running(self, tokens: Ints, asked: Asked) -> Ints:
        if asked.least > LEAST_RUNNING:
            return np.full_like(tokens, asked.least)
        wanted = (tokens / asked.context * 512).astype(np.int64)
        found: Ints = np.minimum(np.clip(wanted, LEAST_RUNNING, MOST_RUNNING), tokens // 2)
        return found

    def _sizes(
        self, asked: Asked, ranks: Sequence[Rank], each: Ints, budget: Ints
    ) -> tuple[Ints, Ints]:
        """Bytes needed for every number of users, and the budget with its axis for users."""
        spent = max(-rank.left for rank in ranks)
        return spent + each[..., None] * asked.sequences, budget[..., None]
