"""vLLM's block pool on many GPUs: what its budget leaves, in blocks, over what a request takes.

    blocks = min over stages of (ceil(total x utilisation) - spent) // bytes of a block
    admitted = (blocks - 1) // blocks of a request, at most max_num_seqs

The newest version with its defaults, `--max-model-len` being the context that is asked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from planner.admission.admission import Admission, Asked, Ints, distinct_stages, memory_of
from planner.deployment import Deployment
from planner.engines.links import linked
from planner.engines.loaded_weights import Loaded
from planner.engines.vllm import overheads
from planner.engines.vllm.budget import load, stage_budget
from planner.engines.vllm.checks import NO_FLOAT16, check_values
from planner.engines.vllm.compressed import is_compressed
from planner.engines.vllm.kv_groups import CannotGroup, Grouping, bytes_per_block, group_layers
from planner.engines.vllm.options import Settings, VllmOptions, resolve
from planner.engines.vllm.pool import align
from planner.engines.vllm.requests import blocks_of
from planner.engines.vllm.runner import wrapper_of
from planner.engines.vllm.specs import layer_specs
from planner.errors import PlanRefused
from planner.formats.quantization import assign
from planner.hardware import Gpu
from planner.model import Model
from planner.parallelism import check, stage_spans


@dataclass(frozen=True, slots=True)
class Blocks:
    """A block's bytes in every kind of stage, and the groups of the whole model."""

    grouping: Grouping
    bytes_per_block: tuple[int, ...]


class VllmRule:
    """Rule of vLLM for one model. config: the model's own, as vllm_figures() takes it."""

    def __init__(self, model: Model, config: Mapping[str, Any] | None = None) -> None:
        self.model, self.config = model, config
        self.moe = model.has_experts
        self._spent: dict[tuple[Any, ...], tuple[int, ...]] = {}
        self._loaded: dict[tuple[Any, ...], dict[int, Loaded]] = {}
        self._blocks: dict[tuple[Any, ...], Blocks] = {}
        self._settings: dict[tuple[Any, ...], Settings] = {}
        self._requests: dict[tuple[Any, ...], tuple[int, int]] = {}
        self._options: dict[tuple[Any, ...], VllmOptions] = {}
        self._choosy = model.model_type in NO_FLOAT16 or is_compressed(model)

    def options(
        self, gpu: Gpu, deployment: Deployment, context: int, sequences: int
    ) -> VllmOptions:
        """max_num_seqs is the default unless more sequences are asked."""
        chunk = deployment.max_num_batched_tokens
        options = VllmOptions(max_model_len=context, max_num_batched_tokens=chunk)
        if self._resolved(gpu, options, deployment.kv_cache_dtype).max_num_seqs >= sequences:
            return options
        return options.model_copy(update={"max_num_seqs": sequences})

    def admission(self, asked: Asked) -> Admission:
        """Raises PlanRefused for what vLLM does not take on any of the GPUs."""
        check(self.model, asked.deployment)
        shape = (len(asked.gpus), len(asked.chunk_tokens))
        admitted = np.zeros((*shape, 1), dtype=np.int64)
        budget = np.ones((*shape, 1), dtype=np.int64)
        needed = np.zeros((*shape, len(asked.sequences)), dtype=np.int64)
        refused = np.ones(shape, dtype=np.bool_)
        reasons: dict[str, PlanRefused] = {}
        memory = memory_of(asked.gpus)[:, 0]
        taken = overheads.before(
            overheads.communicating(self.model, asked.deployment),
            asked.deployment.pipeline_parallel_size,
            moe=self.moe,
        ).low_bytes
        for k, chunk in enumerate(asked.chunk_tokens):
            for (settings, _), rows in self._alike(asked, chunk).items():
                try:
                    part = self._part(
                        asked, chunk, settings, asked.gpus[rows[0]], memory[rows], taken
                    )
                except PlanRefused as error:
                    reasons.setdefault(str(error), error)
                    continue
                admitted[rows, k], needed[rows, k], budget[rows, k] = part
                refused[rows, k] = False
        if refused.all():
            raise next(iter(reasons.values()))
        return Admission(admitted, needed, budget, refused, tuple(reasons))

    def _alike(self, asked: Asked, chunk: int) -> dict[tuple[Settings, str], list[int]]:
        """GPUs by the settings that vLLM chooses on them, and by what checks() ask of them."""
        found: dict[tuple[Settings, str], list[int]] = {}
        ranks = overheads.communicating(self.model, asked.deployment)
        for row, gpu in enumerate(asked.gpus):
            cache = asked.deployment.kv_cache_dtype
            key = (gpu.id, gpu.memory_bytes, chunk, asked.context, asked.least, cache)
            if key not in self._settings:
                chosen = asked.deployment.replace(max_num_batched_tokens=chunk)
                options = self.options(gpu, chosen, asked.context, asked.least)
                self._settings[key] = self._resolved(gpu, options, cache)
            kind = f"{gpu.vendor} {gpu.compute_capability}" if self._choosy else ""
            chosen_settings = self._settings[key]
            kind += f" {self._memory_kind(gpu, ranks, chosen_settings)}"
            found.setdefault((chosen_settings, kind), []).append(row)
        return found

    def _resolved(self, gpu: Gpu, options: VllmOptions, cache: str) -> Settings:
        return resolve(self.model, gpu, options, cache, wrapper_of(self.config))

    def _memory_kind(self, gpu: Gpu, ranks: int, settings: Settings) -> tuple[bool | None, ...]:
        """What else of a card than its size sets what a stage spends."""
        marlin = self.moe and overheads.marlin_runs_mxfp4(settings.rules, gpu)
        return gpu.memory_shared_with_cpu, linked(gpu, ranks), marlin

    def _part(
        self, asked: Asked, chunk: int, settings: Settings, gpu: Gpu, memory: Ints, taken: int
    ) -> tuple[Ints, Ints, Ints]:
        """Admitted, needed and budget of cards with so much memory, alike in all else: `gpu` is
        one of them. taken: what is in use on each before the engine starts."""
        deployment = asked.deployment
        options = self._checked(asked, chunk, settings, gpu)
        stages = stage_spans(self.model.num_hidden_layers, deployment.pipeline_parallel_size)
        assignment = assign(self.model, deployment.weights_dtype)
        kinds = distinct_stages(assignment, stages)
        blocks = self._pool(deployment, settings, stages, kinds)
        spent = self._spending(gpu, deployment, options, settings, stages, kinds)
        each, entering = self._request(blocks, settings, deployment, asked.context)
        budget: Ints = np.ceil(memory * settings.gpu_memory_utilization).astype(np.int64)
        pools = [
            (budget - out) // size for out, size in zip(spent, blocks.bytes_per_block, strict=True)
        ]
        admitted: Ints = (np.minimum.reduce(pools) - 1 - entering) // each
        admitted = np.clip(admitted, 0, settings.max_num_seqs)
        admitted = np.where(budget > memory - taken, 0, admitted)
        needed = np.maximum.reduce(
            [
                out + size * (1 + entering + each * asked.sequences)
                for out, size in zip(spent, blocks.bytes_per_block, strict=True)
            ]
        )
        return admitted, np.broadcast_to(needed, (len(memory), len(needed))), budget

    def _checked(self, asked: Asked, chunk: int, settings: Settings, gpu: Gpu) -> VllmOptions:
        """The options in force, which are checked once where neither card nor layout matter."""
        deployment = asked.deployment
        key = (deployment.weights_dtype, deployment.kv_cache_dtype, asked.context, chunk, settings)
        if key in self._options:
            return self._options[key]
        options = VllmOptions(
            max_model_len=asked.context,
            max_num_batched_tokens=chunk,
            max_num_seqs=settings.max_num_seqs,
        )
        check_values(self.model, gpu, deployment, options, settings)
        if not self._choosy:
            self._options[key] = options
        return options

    def _request(
        self, blocks: Blocks, settings: Settings, deployment: Deployment, context: int
    ) -> tuple[int, int]:
        """Blocks of a request, and what one needs besides to enter."""
        key = (id(blocks), settings, deployment.pipeline_parallel_size, context)
        if key not in self._requests:
            each, entering = blocks_of(blocks.grouping.groups, settings, deployment, context)
            self._requests[key] = (each or 1, entering)
        return self._requests[key]

    def _pool(
        self, deployment: Deployment, settings: Settings, stages: list[range], kinds: list[int]
    ) -> Blocks:
        key = (
            deployment.tensor_parallel_size, deployment.decode_context_parallel_size,
            deployment.kv_cache_dtype, settings.block_size, settings.max_model_len,
            settings.sparse_capability, settings.export_step, len(stages), *kinds,
        )  # fmt: skip
        if key in self._blocks:
            return self._blocks[key]
        numbered = layer_specs(self.model, deployment, settings, config=self.config)
        specs = align(
            [spec for _, spec in numbered],
            settings.rules,
            states_per_block=settings.prefix_caching,
            export_step=settings.export_step or 1,
        )
        try:
            grouping = group_layers(specs, settings.rules, hybrid=settings.hybrid)
        except CannotGroup as why:
            raise PlanRefused(str(why)) from None
        if not grouping.groups:
            raise PlanRefused("the model keeps no cache, which vLLM's pool needs")
        sizes = []
        for index in kinds:
            held = [i for i, (layer, _) in enumerate(numbered) if layer in stages[index]]
            sizes.append(bytes_per_block(grouping.on(range(held[0], held[-1] + 1))) if held else 0)
        found = self._blocks[key] = Blocks(grouping, tuple(size or 1 for size in sizes))
        return found

    def _spending(
        self, gpu: Gpu, deployment: Deployment, options: VllmOptions, settings: Settings,
        stages: list[range], kinds: list[int],
    ) -> tuple[int, ...]:  # fmt: skip
        """What every kind of stage spends; replicas matter only where experts are spread."""
        layout = (
            deployment.tensor_parallel_size, len(stages), deployment.enable_expert_parallel,
            deployment.weights_dtype, deployment.enforce_eager,
            deployment.data_parallel_size if self.moe else 1,
        )  # fmt: skip
        ranks = overheads.communicating(self.model, deployment)
        key = (*layout, settings, self._memory_kind(gpu, ranks, settings))
        if key in self._spent:
            return self._spent[key]
        assignment = assign(self.model, deployment.weights_dtype)
        loaded = self._loaded.setdefault(layout, {})
        spent = []
        for index in kinds:
            if index not in loaded:
                loaded[index] = load(
                    self.model, deployment, options, assignment, stages, index, self.config
                )
            spent.append(
                stage_budget(
                    self.model, gpu, deployment, options, settings, assignment, stages,
                    index, self.config, None, loaded=loaded[index],
                ).spent
            )  # fmt: skip
        found = self._spent[key] = tuple(spent)
        return found
