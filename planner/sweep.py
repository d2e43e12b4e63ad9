"""The plan's total over a grid of contexts and concurrencies at once, in NumPy.

The same formulas as memory.stage_bytes on int64 arrays; a test holds them equal.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.activations import LOGIT_BYTES, MLA_WORKSPACE_TOKENS, MOE_TOKENS
from planner.attention import KEY_TILE, MAX_SPLITS
from planner.footprint import Footprint, Stage
from planner.kv_cache import CacheTerm
from planner.overheads import BLOCK_TABLE_ENTRY_BYTES
from planner.workload import Workload

Ints = NDArray[np.int64]


def total_bytes_grid(
    compiled: Footprint, contexts: Any, concurrencies: Any, workload: Workload | None = None
) -> Ints:
    """Bytes of the binding GPU: one row per concurrency, one column per context.

    workload gives the shared prefix and the beams; its own context and concurrency do not matter.
    """
    work = workload or Workload()
    n = np.asarray(contexts, dtype=np.int64)[None, :]
    users = np.asarray(concurrencies, dtype=np.int64)[:, None]
    replicas = compiled.deployment.data_parallel_size
    sequences = -(-users // replicas)
    return binding_bytes(compiled, n, sequences, work)


def binding_bytes(
    compiled: Footprint,
    n: Ints,
    sequences: Ints,
    work: Workload,
    chunk_tokens: Ints | int | None = None,
    sm_counts: Ints | None = None,
) -> Ints:
    """Bytes of the binding GPU for contexts n and sequences per replica that broadcast together.

    chunk_tokens and sm_counts, where given, stand for the deployment's max_num_batched_tokens and
    the GPU's multiprocessors, and broadcast too.
    """
    limit = compiled.deployment.max_num_batched_tokens if chunk_tokens is None else chunk_tokens
    found: Ints = np.maximum.reduce(
        [_stage(compiled, stage, n, sequences, work, limit, sm_counts) for stage in compiled.stages]
    )
    return found


def _stage(
    compiled: Footprint,
    stage: Stage,
    n: Ints,
    sequences: Ints,
    work: Workload,
    limit: Ints | int,
    sm_counts: Ints | None,
) -> Ints:
    deployment = compiled.deployment
    size = deployment.block_size
    beams = sequences * work.beam_width
    chunk = np.minimum(limit, beams * n)
    per_sequence = np.full_like(n, stage.state_bytes)
    for term in stage.terms:
        blocks = -(-_held(term, n) // size)
        per_sequence = per_sequence + term.bytes_per_entry * (blocks * size // term.stride)
    acts = stage.activations
    routed = chunk * acts.beside_moe_bytes_per_token
    routed = routed + np.minimum(chunk, MOE_TOKENS) * acts.moe_bytes_per_token
    latent = chunk * acts.beside_mla_bytes_per_token
    latent = latent + np.minimum(chunk, MLA_WORKSPACE_TOKENS) * acts.mla_bytes_per_token
    layer = np.maximum(np.maximum(chunk * acts.layer_bytes_per_token, routed), latent)
    splits = np.minimum(MAX_SPLITS, -(-n // KEY_TILE))
    wave = stage.workspace.rows_of_a_wave if sm_counts is None else stage.workspace.wave(sm_counts)
    rows = np.where(splits == 1, 0, np.minimum(beams * splits, wave))
    workspace = np.maximum(
        chunk * stage.workspace.lse_bytes_per_token,
        rows * stage.workspace.partial_bytes_per_row,
    )
    tables = BLOCK_TABLE_ENTRY_BYTES * beams * -(-n // size) * compiled.cache_groups
    total = (
        stage.weights_bytes
        + stage.runtime_bytes
        + beams * per_sequence
        + np.maximum(layer, beams * acts.vocab_size * LOGIT_BYTES[1])
        + workspace
        + tables
    )
    if work.shared_prefix_tokens or work.beam_width > 1:
        total = total - _shared(stage, n, sequences, size, work)
    return np.asarray(total, dtype=np.int64)


def _held(term: CacheTerm, n: Ints) -> Ints:
    mine = -(-n // term.token_split)
    return mine if term.window is None else np.minimum(mine, term.window - term.lag)


def _shared(stage: Stage, n: Ints, sequences: Ints, size: int, work: Workload) -> Ints:
    width = work.beam_width
    prefix = np.minimum(work.shared_prefix_tokens, n) // size * size
    of_prefix = _shared_once(stage, n, prefix)
    saved = (sequences * width - 1) * of_prefix
    if width > 1:
        prompt = np.maximum(prefix, np.minimum(work.prompt_tokens or 0, n) // size * size)
        saved = saved + sequences * (width - 1) * (_shared_once(stage, n, prompt) - of_prefix)
    return saved


def _shared_once(stage: Stage, n: Ints, prefix: Ints) -> Ints:
    found = np.zeros_like(n)
    for term in stage.terms:
        dropped = -(-n // term.token_split) - _held(term, n)
        kept = np.maximum(0, prefix // term.token_split - dropped)
        found = found + term.bytes_per_entry * (kept // term.stride)
    return found
