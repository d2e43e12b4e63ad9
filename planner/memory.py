"""The sum: what one GPU of each pipeline stage holds for a workload."""

from dataclasses import dataclass

from planner.footprint import Footprint, Stage
from planner.overheads import block_table_bytes
from planner.units import ceil_div
from planner.workload import Size, Workload


@dataclass(frozen=True, slots=True)
class Parts:
    """Bytes of one GPU by what they are for. kv_cache includes recurrent state."""

    weights: int
    kv_cache: int
    block_rounding: int
    block_tables: int
    attention_workspace: int
    activations: int
    runtime: int

    @property
    def total(self) -> int:
        return (
            self.weights
            + self.kv_cache
            + self.block_rounding
            + self.block_tables
            + self.attention_workspace
            + self.activations
            + self.runtime
        )


def per_replica(footprint: Footprint, workload: Workload | Size) -> int:
    """Sequences that one data-parallel replica serves, the fullest one."""
    return ceil_div(workload.concurrency, footprint.deployment.data_parallel_size)


def stage_bytes(footprint: Footprint, stage: Stage, workload: Workload | Size) -> int:
    """Total of one GPU of `stage`: the figure that fits are judged by."""
    deployment = footprint.deployment
    context = workload.context
    beams = per_replica(footprint, workload) * workload.beam_width
    chunk = min(deployment.max_num_batched_tokens, beams * context)
    total = (
        stage.weights_bytes
        + stage.runtime_bytes
        + beams * stage.sequence_bytes(context, deployment.block_size)
        + stage.workspace.bytes(chunk, beams, context)
        + stage.activations.peak_bytes(chunk, beams)
        + block_table_bytes(beams, context, deployment.block_size, footprint.cache_groups)
    )
    if workload.shared_prefix_tokens or workload.beam_width > 1:
        total -= shared_bytes(footprint, stage, workload)
    return total


def total_bytes(footprint: Footprint, workload: Workload | Size) -> int:
    """Total of the GPU that binds."""
    if len(footprint.stages) == 1:
        return stage_bytes(footprint, footprint.stages[0], workload)
    return max(stage_bytes(footprint, stage, workload) for stage in footprint.stages)


def shared_bytes(footprint: Footprint, stage: Stage, workload: Workload | Size) -> int:
    """Cache of one GPU that a common prefix and beams over a common prompt save."""
    block_size = footprint.deployment.block_size
    sequences = per_replica(footprint, workload)
    width = workload.beam_width
    prefix = workload.shared_prefix_tokens // block_size * block_size
    saved = (sequences * width - 1) * stage.shared_bytes(workload.context, prefix)
    if width > 1:
        prompt = max(prefix, (workload.prompt_tokens or 0) // block_size * block_size)
        once = stage.shared_bytes(workload.context, prompt)
        saved += sequences * (width - 1) * (once - stage.shared_bytes(workload.context, prefix))
    return saved


def parts(footprint: Footprint, stage: Stage, workload: Workload | Size) -> Parts:
    """The same total, taken apart."""
    deployment = footprint.deployment
    context = workload.context
    beams = per_replica(footprint, workload) * workload.beam_width
    chunk = min(deployment.max_num_batched_tokens, beams * context)
    exact = stage.state_bytes + sum(term.bytes(context) for term in stage.terms)
    paged = stage.sequence_bytes(context, deployment.block_size)
    return Parts(
        weights=stage.weights_bytes,
        kv_cache=beams * exact - shared_bytes(footprint, stage, workload),
        block_rounding=beams * (paged - exact),
        block_tables=block_table_bytes(
            beams, context, deployment.block_size, footprint.cache_groups
        ),
        attention_workspace=stage.workspace.bytes(chunk, beams, context),
        activations=stage.activations.peak_bytes(chunk, beams),
        runtime=stage.runtime_bytes,
    )


def range_bytes(footprint: Footprint, stage: Stage, workload: Workload | Size) -> tuple[int, int]:
    """The total with every estimate at the low and at the high end of its range."""
    total = stage_bytes(footprint, stage, workload)
    beams = per_replica(footprint, workload) * workload.beam_width
    chunk = min(footprint.deployment.max_num_batched_tokens, beams * workload.context)
    peak = stage.activations.peak(chunk, beams)
    low = total - peak.bytes + peak.low_bytes
    high = total - peak.bytes + peak.high_bytes
    for estimate in stage.runtime.values():
        low += estimate.low_bytes - estimate.bytes
        high += estimate.high_bytes - estimate.bytes
    return low, high
