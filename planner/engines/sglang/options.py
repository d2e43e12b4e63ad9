"""SGLang's flags as inputs, and what it chooses from the card for those left out.

Source: SGLang 0.5.23, server arguments; what differs by version is in `fraction`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from planner.deployment import Deployment
from planner.engines.sglang.fraction import of_card, reserved_mib, static_fraction, version_of
from planner.errors import PlanRefused
from planner.frozen import Frozen
from planner.hardware import Gpu
from planner.kinds.attention import LatentAttention
from planner.model import Model
from planner.units import MIB

VERSION = "0.5.23"
COUNT: Any = Field(default=None, ge=1, le=2**40)
RATIO: Any = Field(default=None, gt=0, le=10)

SWA_RATIO, COMPRESSED_SWA_RATIO, MAMBA_RATIO = 0.8, 0.1, 0.9
LEAST_RUNNING, MOST_RUNNING = 2048, 4096


METHODS = {"EAGLE": "eagle", "NEXTN": "eagle", "EAGLE3": "eagle3", "STANDALONE": "draft_model"}
"""--speculative-algorithm -> how the model of --speculative-draft-model-path drafts."""


class SglangOptions(Frozen):
    """Flags of `python -m sglang.launch_server`; None leaves SGLang's own choice.

    Parallel sizes and number formats are the Deployment's; data parallelism is attention's
    (--enable-dp-attention), as the Deployment spreads experts over its ranks.
    """

    version: str = VERSION
    mem_fraction_static: float | None = Field(default=None, gt=0, lt=1)
    context_length: int | None = COUNT
    max_running_requests: int | None = COUNT
    max_total_tokens: int | None = COUNT
    chunked_prefill_size: int | None = COUNT
    page_size: int = Field(default=1, ge=1, le=1024)
    swa_full_tokens_ratio: float | None = RATIO
    disable_hybrid_swa_memory: bool = False
    mamba_full_memory_ratio: float | None = RATIO
    disable_radix_cache: bool = False
    disable_cuda_graph: bool = False
    cuda_graph_max_bs: int | None = COUNT
    speculative_algorithm: Literal["EAGLE", "EAGLE3", "NEXTN", "STANDALONE", "NGRAM"] | None = None
    speculative_num_draft_tokens: int | None = COUNT
    speculative_draft_model_path: str | None = None

    @property
    def drafts_itself(self) -> bool:
        """Multi-token prediction: EAGLE or NEXTN without a model of its own."""
        named = self.speculative_algorithm in ("EAGLE", "NEXTN")
        return named and self.speculative_draft_model_path is None


@dataclass(frozen=True, slots=True)
class Settings:
    """The options with every default filled in. reserved_mib: what the fraction leaves out."""

    mem_fraction_static: float
    reserved_mib: float
    context_length: int
    chunked_prefill_size: int
    cuda_graph_max_bs: int


def resolve(
    model: Model,
    gpu: Gpu,
    deployment: Deployment,
    options: SglangOptions,
    config: Mapping[str, Any] | None = None,
) -> Settings:
    """What the server would run with. config: the model's own, for its vision tower.

    Raises PlanRefused for versions that are not described and for an unknown model length.
    """
    version = version_of(options.version)
    longest = options.context_length or model.max_position_embeddings
    if longest is None:
        raise PlanRefused(
            "max_position_embeddings is not in the configuration: give --context-length"
        )
    memory_mib = (gpu.memory_driver_bytes or gpu.memory_bytes) / MIB
    ranks = deployment.tensor_parallel_size * deployment.data_parallel_size
    chunk, graphs = of_card(memory_mib, ranks, version)
    chunk = options.chunked_prefill_size or chunk
    graphs = options.cuda_graph_max_bs or graphs
    reserved = reserved_mib(
        memory_mib, chunk, graphs, ranks, deployment.pipeline_parallel_size,
        deployment.data_parallel_size, version, options.speculative_algorithm,
    )  # fmt: skip
    fraction = static_fraction(
        options.mem_fraction_static, memory_mib, reserved, config or {}, version
    )
    return Settings(fraction, reserved, longest, chunk, graphs)


def prefill_graphs_mib(model: Model) -> float:
    """What prefill graphs add to the reserve where they are on; their sizes are 50 or so."""
    latent = any(isinstance(m, LatentAttention) for g in model.groups for m in g.mixers)
    return 1536 if latent else 8 * 50


def max_running_requests(tokens: int, context_length: int) -> int:
    """The default for a pool of so many tokens."""
    wanted = min(max(int(tokens / context_length * 512), LEAST_RUNNING), MOST_RUNNING)
    return min(wanted, tokens // 2)
