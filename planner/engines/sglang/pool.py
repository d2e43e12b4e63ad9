"""How SGLang turns bytes into tokens: one cell a token, windows and states in pools of their own.

tokens = bytes // cell in whole pages. A sliding pool gets `swa_full_tokens_ratio` of the full
one's tokens; states get a fixed share of the memory. Source: SGLang 0.5.23, KV cache and pool
configurators.
"""

from dataclasses import dataclass

from planner.deployment import Deployment
from planner.engines.drafter import check_width
from planner.engines.sglang.fraction import Version, version_of
from planner.engines.sglang.options import (
    COMPRESSED_SWA_RATIO,
    MAMBA_RATIO,
    SWA_RATIO,
    SglangOptions,
)
from planner.errors import PlanRefused
from planner.formats.dtypes import KvFormat
from planner.kv_cache import entry_bytes
from planner.model import LayerGroup, Model, kind_name
from planner.tensors import CacheTensor
from planner.units import ceil_div

INDEXER_SCALE, INDEXER_BLOCK = 4, 128
STATES_PER_REQUEST = 3
FP32 = 4
WHOLE_WINDOWS_BEFORE = (
    ("gpt_oss", (0, 5, 10)), ("gemma2", (0, 5, 18)), ("gemma3", (0, 5, 18)),
)  # fmt: skip
CONVOLUTION = 2
STATE_KINDS = ("mamba1", "mamba2", "gated_deltanet", "kda", "conv")


@dataclass(frozen=True, slots=True)
class Cell:
    """Bytes of one token on a rank: in layers that keep all tokens, and in windowed ones."""

    full: int
    sliding: int = 0
    window: int = 0

    def bytes(self, ratio: float) -> int:
        """Bytes for each token of the full pool; windowed layers alone save nothing."""
        if not self.full or not self.sliding:
            return self.full + self.sliding
        return int(self.full + ratio * self.sliding)


@dataclass(frozen=True, slots=True)
class SglangPool:
    """tokens of the full pool, of the sliding one (0 without), and states with their bytes."""

    tokens: int
    sliding_tokens: int = 0
    states: int = 0
    states_bytes: int = 0
    states_per_request: int = 0


def cell_of(
    groups: tuple[tuple[LayerGroup, int], ...], fmt: KvFormat, deployment: Deployment
) -> Cell:
    """The cell of a rank that holds these layers."""
    full = sliding = window = 0
    for group, count in groups:
        for tensor in group.cache():
            if tensor.stride != 1:
                raise PlanRefused(
                    "SGLang's layout of compressed caches is not described: plan without --engine"
                )
            size = count * _entry(tensor, fmt, deployment)
            if tensor.window is None:
                full += size
            else:
                sliding += size
                window = max(window, tensor.window)
    return Cell(full, sliding, window)


def _entry(tensor: CacheTensor, fmt: KvFormat, deployment: Deployment) -> int:
    if tensor.name == "indexer_keys":
        return tensor.width + ceil_div(tensor.width, INDEXER_BLOCK) * INDEXER_SCALE
    return entry_bytes(tensor, fmt, deployment.tensor_parallel_size)


def state_bytes(groups: tuple[tuple[LayerGroup, int], ...], deployment: Deployment) -> int:
    """Recurrent state of one slot on a rank: convolutions keep kernel - 1 columns in bfloat16, the
    rest is float32, whatever the model runs in (configs/mamba_utils, the same in 0.5.14 to 0.5.22).
    """
    tp, total = deployment.tensor_parallel_size, 0
    for mixer, count in ((m, n) for group, n in groups for m in group.mixers):
        for tensor in mixer.state():
            if mixer.kind not in STATE_KINDS:
                raise PlanRefused(
                    f"SGLang's states of {kind_name(mixer.kind)} layers are not described: plan "
                    "without --engine sglang"
                )
            if tensor.is_convolution:
                total += count * CONVOLUTION * tensor.on_rank_with(tensor.shape[-1] - 1, tp)
            else:
                total += count * FP32 * tensor.on_rank(tp)
    return total


def make_pool(
    available_bytes: int, cell: Cell, state: int, options: SglangOptions, model: Model
) -> SglangPool:
    """The pools that `available_bytes` hold; no tokens where nothing fits."""
    page = options.page_size
    states = slots = per_request = 0
    if state:
        ratio = options.mamba_full_memory_ratio or MAMBA_RATIO
        share = int(available_bytes * ratio / (1 + ratio))
        per_request = 1 if options.disable_radix_cache else STATES_PER_REQUEST
        drafts = options.speculative_num_draft_tokens or 0
        slots = int((share - state * (1 + drafts)) // (state * (1 + drafts / per_request)))
        states = share
        if slots < per_request:
            return SglangPool(0, states=0, states_bytes=share, states_per_request=per_request)
    swa = options.swa_full_tokens_ratio or default_ratio(model)
    hybrid = (
        bool(cell.full and cell.sliding)
        and not options.disable_hybrid_swa_memory
        and splits_windows(model, version_of(options.version))
    )
    each = cell.bytes(swa) if hybrid else cell.full + cell.sliding
    tokens = (available_bytes - states) // each if each else 0
    if options.max_total_tokens is not None:
        tokens = min(tokens, options.max_total_tokens)
    tokens = tokens // page * page
    sliding = int(tokens * swa) // page * page if hybrid else 0
    return SglangPool(tokens, sliding, slots, states, per_request)


def splits_windows(model: Model, version: Version) -> bool:
    """Whether sliding layers have a pool of their own: to 0.4 those of Llama 4 alone, of gpt-oss
    from 0.5.10, of Gemma 2 and 3 from 0.5.18 (0.5.14: no); elsewhere they are kept whole."""
    if version < (0, 5, 0):
        return model.model_type.startswith("llama4") and version >= (0, 4, 8)
    since = next((v for name, v in WHOLE_WINDOWS_BEFORE if model.model_type.startswith(name)), None)
    return since is None or version >= since


def default_ratio(model: Model) -> float:
    """Tokens of the sliding pool for one of the full one."""
    return COMPRESSED_SWA_RATIO if model.model_type == "deepseek_v4" else SWA_RATIO


def drafted(cell: Cell, layers: int, draft_layers: int) -> Cell:
    """The cell with the share that draft layers take, in proportion to the target's."""
    grown = 1 + draft_layers / layers
    return Cell(int(cell.full * grown), int(cell.sliding * grown), cell.window)


def draft_layers(options: SglangOptions, model: Model, draft: Model | None) -> int:
    """How many layers draft. Raises PlanRefused where nothing can."""
    algorithm = options.speculative_algorithm
    if algorithm is None or algorithm == "NGRAM":
        if draft is not None:
            raise PlanRefused(
                "speculative_draft_model_path: no model drafts without --speculative-algorithm "
                "EAGLE, EAGLE3, NEXTN or STANDALONE"
            )
        return 0
    if draft is not None:
        check_width(draft, model, "speculative_draft_model_path")
        return draft.num_hidden_layers
    if options.drafts_itself and model.mtp:
        return 1
    if options.drafts_itself:
        raise PlanRefused(
            "speculative_algorithm: the model has no multi-token-prediction layers that are "
            "sized; give --speculative-draft-model-path"
        )
    raise PlanRefused(f"speculative_algorithm: {algorithm} needs --speculative-draft-model-path")
