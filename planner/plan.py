"""The plan: one frozen object that the page, the command line, reports and tests all print.

plan = make_plan(model, gpu, Deployment(tensor_parallel_size=2), Workload(context=32768))
plan.fits, plan.headroom_bytes, plan.max_concurrency
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from planner import attention, paging
from planner.capacity import max_concurrency, max_context_tokens
from planner.deployment import Deployment
from planner.estimate import Estimate, total
from planner.footprint import Footprint, Stage, footprint
from planner.hardware import Gpu
from planner.kinds.attention import LatentAttention
from planner.kv_cache import entry_bytes
from planner.memory import Parts, parts, per_replica, range_bytes, stage_bytes
from planner.model import Model
from planner.parallelism import Ring, ring
from planner.parameters import Parameters, count
from planner.run_dtype import as_run
from planner.workload import MAX_SEQUENCES, MAX_TOKENS, Workload

if TYPE_CHECKING:
    from planner.files.comparison import Comparison

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Plan:
    """What `workload` needs on `deployment` of `gpu`, in bytes, and whether it fits.

    total_bytes_per_gpu is that of the binding stage: the GPU with the least room. Everything else
    is derived from the inputs when it is asked for, and kept.
    """

    model: Model
    gpu: Gpu
    deployment: Deployment
    workload: Workload
    footprint: Footprint
    binding_stage: int
    total_bytes_per_gpu: int

    @property
    def fits(self) -> bool:
        return self.total_bytes_per_gpu <= self.gpu.memory_bytes

    @property
    def headroom_bytes(self) -> int:
        """Memory left on the binding GPU; negative: what is short."""
        return self.gpu.memory_bytes - self.total_bytes_per_gpu

    @property
    def stage(self) -> Stage:
        return self.footprint.stages[self.binding_stage]

    @cached_property
    def parts(self) -> Parts:
        """The binding GPU's total taken apart."""
        return parts(self.footprint, self.stage, self.workload)

    @cached_property
    def stage_parts(self) -> tuple[Parts, ...]:
        """The same for a GPU of every pipeline stage."""
        return tuple(parts(self.footprint, s, self.workload) for s in self.footprint.stages)

    @cached_property
    def range_bytes(self) -> tuple[int, int]:
        """The binding GPU's total with all estimates at their low, and at their high end."""
        return range_bytes(self.footprint, self.stage, self.workload)

    @cached_property
    def parameters(self) -> Parameters:
        return count(self.model)

    @cached_property
    def max_context_tokens(self) -> int | None:
        """Longest context at this concurrency; None where memory sets no limit."""
        found = max_context_tokens(self.footprint, self.gpu.memory_bytes, self.workload)
        return None if found >= MAX_TOKENS else found

    @cached_property
    def max_concurrency(self) -> int | None:
        """Most sequences at this context; None where memory sets no limit."""
        found = max_concurrency(self.footprint, self.gpu.memory_bytes, self.workload)
        limit = MAX_SEQUENCES - self.deployment.data_parallel_size
        return None if found > limit else found

    @property
    def sequences_per_replica(self) -> int:
        return per_replica(self.footprint, self.workload)

    @property
    def weights_bytes(self) -> int:
        """One copy of the whole model's weights."""
        return self.footprint.weights.total

    @cached_property
    def weight_files(self) -> "Comparison | None":
        """The same beside what the model's files hold; None where none were read."""
        if self.model.files is None:
            return None
        from planner.files.comparison import compare

        return compare(self.model, self.deployment.weights_dtype, self.footprint.assignment)

    @property
    def kv_bytes_per_token(self) -> int:
        """Cache that one more token takes while every window still has room."""
        return sum(t.bytes_per_entry // t.stride for t in self.footprint.terms)

    @property
    def kv_bytes_per_token_past_windows(self) -> int:
        """Cache that one more token takes when all windows are full."""
        return sum(t.bytes_per_entry // t.stride for t in self.footprint.terms if not t.window)

    @cached_property
    def kv_bytes_per_token_expanded(self) -> int | None:
        """The same where an engine expands latents to all heads; None for models without them, and
        in formats that only latents have."""
        groups = self.model.groups
        latent = any(isinstance(m, LatentAttention) for g in groups for m in g.mixers)
        if not latent or self.footprint.kv_format.fixed:
            return None
        return sum(
            group.count * entry_bytes(tensor, self.footprint.kv_format)
            for group in groups
            for mixer in group.mixers
            for tensor in (
                mixer.expanded_cache() if isinstance(mixer, LatentAttention) else mixer.cache()
            )
        )

    @cached_property
    def ring(self) -> Ring | None:
        """What a prefill ring passes around for one layer, None without one."""
        size = self.deployment.context_parallel_size
        if size == 1:
            return None
        layers = len(self.stage.layers)
        per_token = sum(t.bytes_per_entry // t.stride for t in self.stage.terms) // layers
        return ring(per_token, self.workload.context, size)

    @property
    def kv_bytes_per_sequence(self) -> int:
        """Cache of one sequence at this context over the whole model; state apart."""
        return sum(term.bytes(self.workload.context) for term in self.footprint.terms)

    @property
    def state_bytes_per_sequence(self) -> int:
        return self.footprint.state_bytes

    @property
    def kv_bytes(self) -> int:
        """Cache and state of all sequences, each stored once, sharing taken off."""
        sequences = self.workload.concurrency * self.workload.beam_width
        stored = self.kv_bytes_per_sequence + self.state_bytes_per_sequence
        return sequences * stored - self.shared_bytes

    @cached_property
    def shared_bytes(self) -> int:
        """What sequences of one replica save by pointing at the same blocks, over all replicas."""
        size, terms = self.deployment.block_size, self.footprint.terms
        work, width = self.workload, self.workload.beam_width
        lengths = [work.context] * self.sequences_per_replica
        saved = paging.prefix_saving_bytes(
            terms, lengths * width, work.shared_prefix_tokens, block_size=size
        )
        if width > 1:
            prompt = max(work.prompt_tokens or 0, work.shared_prefix_tokens)
            both = paging.beam_saving_bytes(terms, work.context, prompt, width, block_size=size)
            counted = paging.beam_saving_bytes(
                terms, work.context, work.shared_prefix_tokens, width, block_size=size
            )
            saved += len(lengths) * (both - counted)
        return saved * self.deployment.data_parallel_size

    @cached_property
    def waste(self) -> paging.Waste:
        """Paged blocks against whole-length reservations, for this workload on one replica."""
        longest = max(self.workload.context, self.model.max_position_embeddings or 0)
        return paging.waste(
            self.footprint.terms,
            [self.workload.context] * self.sequences_per_replica,
            max_model_len=longest,
            block_size=self.deployment.block_size,
        )

    @cached_property
    def score_matrix_bytes(self) -> int:
        """Scores of one layer and one sequence of this context, if they were materialised."""
        heads, n = self.footprint.heads, self.workload.context
        return 0 if heads is None else attention.score_matrix_bytes(heads, n, n)

    @property
    def flash_workspace_bytes(self) -> int:
        """What flash attention and split-KV decoding need instead, on the binding GPU."""
        return self.parts.attention_workspace

    @cached_property
    def activations(self) -> Estimate:
        chunk = min(
            self.deployment.max_num_batched_tokens,
            self.sequences_per_replica * self.workload.beam_width * self.workload.context,
        )
        rows = self.sequences_per_replica * self.workload.beam_width
        return self.stage.activations.peak(chunk, rows)

    @cached_property
    def overheads(self) -> Estimate:
        return total(list(self.stage.runtime.values()))


def make_plan(model: Model, gpu: Gpu, deployment: Deployment, workload: Workload) -> Plan:
    """The plan of `workload` for `model` on GPUs of one kind.

    Raises PlanRefused where the deployment contradicts the model's shapes or formats.
    """
    model = as_run(model, deployment.weights_dtype)
    compiled = footprint(model, gpu, deployment)
    stages = compiled.stages
    if len(stages) == 1:
        return Plan(
            model, gpu, deployment, workload, compiled, 0,
            stage_bytes(compiled, stages[0], workload),
        )  # fmt: skip
    totals = [stage_bytes(compiled, stage, workload) for stage in stages]
    largest = max(totals)
    return Plan(model, gpu, deployment, workload, compiled, totals.index(largest), largest)
