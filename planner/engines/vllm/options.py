"""vLLM's flags as inputs, and the values that a version fills in for those left out.

Defaults of batch sizes depend on the card: 70 GiB and more (A100 excepted) take 8192 tokens and
1024 sequences in the API server, 160 GiB and more 16384 from 0.28; others 2048 and 256. Source:
vLLM 0.8.5 to 0.33.0, engine/arg_utils.
"""

from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from planner.engines.vllm.compressed import BLOCK, HOPPER, is_compressed
from planner.engines.vllm.in_flight import Overlap, overlap_of, retained_tokens
from planner.engines.vllm.state_exports import export_step
from planner.engines.vllm.versions import NEWEST_NAME, Rules, rules_of
from planner.errors import PlanRefused
from planner.formats.dtypes import NAME_OF_DTYPE, kv_format
from planner.frozen import Frozen
from planner.hardware import Gpu
from planner.kinds.attention import LatentAttention
from planner.kinds.recurrent import Mamba1, Mamba2, Recurrent
from planner.model import Model
from planner.units import GIB

POSITIVE: Any = Field(default=None, ge=1, le=2**40)
LARGE_BYTES, LARGEST_BYTES = 70 * GIB, 160 * GIB
ASSUMED_LENGTH = 2048
"""What vLLM takes, with a warning, where the configuration states no length."""
CHUNKED_ABOVE = 32768
StateDtype = Literal["auto", "float32", "float16", "bfloat16"]
DRAFTLESS = ("ngram", "suffix", "mtp")
NAMED = (("eagle-", "eagle"), ("eagle3", "eagle3"), ("dflash", "dflash"), ("medusa", "medusa"))
ALIASES = {"deepseek_mtp": "mtp", "qwen3_next_mtp": "mtp", "glm4_moe_mtp": "mtp"}


def method_of(name: object) -> str:
    """How vLLM drafts with a model of that name where no method is given."""
    lower = str(name).lower()
    return next((method for part, method in NAMED if part in lower), "draft_model")


class SpeculativeConfig(Frozen):
    """vLLM's --speculative-config: how tokens are drafted, and how many a step."""

    method: Literal["ngram", "suffix", "mtp", "eagle", "eagle3", "draft_model", "dflash", "medusa"]
    num_speculative_tokens: int = Field(ge=1, le=64)
    model: str | None = None
    prompt_lookup_max: int | None = Field(default=None, ge=1, le=1024)
    prompt_lookup_min: int | None = Field(default=None, ge=1, le=1024)

    @model_validator(mode="before")
    @classmethod
    def names(cls, values: Any) -> Any:
        """Per-family names of MTP mean MTP; a model's name says its method where none is given,
        as vLLM reads it, and a draft model is what is left."""
        if isinstance(values, dict):
            method = values.get("method") or (
                method_of(values["model"]) if values.get("model") else None
            )
            return {**values, "method": ALIASES.get(str(method), method)}
        return values

    @model_validator(mode="after")
    def lookup_in_order(self) -> Self:
        least, most = self.prompt_lookup_min, self.prompt_lookup_max
        if least is not None and most is not None and least > most:
            raise PlanRefused(f"prompt_lookup_min {least} is above prompt_lookup_max {most}")
        return self

    @property
    def needs_draft(self) -> bool:
        return self.method not in DRAFTLESS

    @property
    def lookahead_tokens(self) -> int:
        """Slots that every running request is given beyond its tokens."""
        if self.method in ("ngram", "suffix", "medusa"):
            return 0
        return self.num_speculative_tokens + (self.method == "dflash")


class VllmOptions(Frozen):
    """Flags of `vllm serve`; None leaves the version's default. Parallel sizes and number formats
    are the Deployment's. kv_offloading_size is in GiB over all ranks, cpu_offload_gb in GiB of
    each, as vLLM has them."""

    version: str = NEWEST_NAME
    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1)
    max_model_len: int | None = POSITIVE
    max_num_seqs: int | None = POSITIVE
    max_num_batched_tokens: int | None = POSITIVE
    block_size: int | None = POSITIVE
    kv_cache_memory_bytes: int | None = POSITIVE
    num_gpu_blocks_override: int | None = POSITIVE
    enable_prefix_caching: bool | None = None
    enforce_eager: bool = False
    max_loras: int | None = POSITIVE
    max_lora_rank: int | None = POSITIVE
    speculative_config: SpeculativeConfig | None = None
    kv_offloading_size: float | None = Field(default=None, gt=0)
    cpu_offload_gb: float | None = Field(default=None, gt=0, le=2**20)
    disable_hybrid_kv_cache_manager: bool | None = None
    runner: Literal["auto", "generate", "pooling"] = "auto"
    mamba_cache_dtype: StateDtype = "auto"
    mamba_ssm_cache_dtype: StateDtype = "auto"

    @model_validator(mode="after")
    def rank_has_slots(self) -> Self:
        if self.max_lora_rank is not None and self.max_loras is None:
            raise PlanRefused("max_lora_rank is set without max_loras: say how many adapters")
        return self


@dataclass(frozen=True, slots=True)
class Settings:
    """The options with every default filled in. sparse_capability: the card's compute capability
    where attention is sparse, whose caches depend on it; retained_tokens: kept by windows besides
    those in flight; export_step: tokens that states exported by prefills are apart, if any are."""

    rules: Rules
    gpu_memory_utilization: float
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    block_size: int
    prefix_caching: bool
    hybrid: bool
    speculative_tokens: int
    overlap: Overlap = "all"
    sparse_capability: float = HOPPER
    retained_tokens: int = 0
    state_dtype: StateDtype = "auto"
    ssm_dtype: StateDtype = "auto"
    export_step: int | None = None


def resolve(
    model: Model, gpu: Gpu, options: VllmOptions, cache: str = "auto", wrapper: str | None = None
) -> Settings:
    """What `vllm serve` of that version would run with; cache: its --kv-cache-dtype. wrapper: as
    second_runner has it."""
    rules = rules_of(options.version)
    longest = options.max_model_len or model.max_position_embeddings or ASSUMED_LENGTH
    tokens, sequences = default_batch(gpu, rules, longest)
    sequences = options.max_num_seqs or sequences
    tokens = options.max_num_batched_tokens or min(tokens, sequences * longest)
    if options.max_num_seqs is None and rules.since(11):
        sequences = min(sequences, tokens)
    speculative = options.speculative_config
    method = None if speculative is None else speculative.method
    pools = options.runner == "pooling"
    return Settings(
        rules,
        options.gpu_memory_utilization or rules.gpu_memory_utilization,
        longest,
        sequences,
        tokens,
        options.block_size or default_block_size(model, gpu, rules, cache),
        _prefix_caching(model, rules, options.enable_prefix_caching),
        not (options.disable_hybrid_kv_cache_manager or _chunked_whole(model, rules, method)),
        speculative.num_speculative_tokens if speculative else 0,
        overlap_of(model, rules, method, pools=pools, wrapper=wrapper, amd=gpu.vendor == "AMD"),
        (gpu.cuda_capability or HOPPER) if _is_sparse(model) else HOPPER,
        retained_tokens(model, rules, method, speculative.num_speculative_tokens)
        if speculative
        else 0,
        options.mamba_cache_dtype,
        options.mamba_ssm_cache_dtype,
        export_step(model, gpu.cuda_capability or HOPPER, rules),
    )


def default_batch(gpu: Gpu, rules: Rules, max_model_len: int) -> tuple[int, int]:
    """max_num_batched_tokens and max_num_seqs of the API server on this card.

    The V0 engine, on cards before compute capability 8.0 until 0.11, takes whole prompts and 256
    sequences; before 0.8 longer ones than 32,768 tokens in chunks (0.6.4: of 512; 0.6.6: 2048).
    Where the CPU shares the memory NVIDIA's driver does not tell its size, and those of small cards
    stay: all GB10 logs of 0.13 to 0.27.
    """
    if rules.first_engine and max_model_len > CHUNKED_ABOVE:
        return 2048 if rules.since(6, 6) else 512, 256
    if not rules.since(11) and (rules.first_engine or (gpu.cuda_capability or HOPPER) < 8.0):
        return max(max_model_len, 2048), 256
    if gpu.memory_shared_with_cpu and gpu.vendor == "NVIDIA":
        return 2048, 256
    a100 = "a100" in gpu.id and rules.since(9)
    if gpu.memory_bytes >= LARGEST_BYTES and rules.since(28):
        return 16384, 1024
    if gpu.memory_bytes >= LARGE_BYTES and not a100:
        return 8192, 1024
    return 2048, 256


def default_block_size(model: Model, gpu: Gpu, rules: Rules, cache: str = "auto") -> int:
    """Tokens of a block: 16, and what latent attention's kernels ask for; 64 where it is sparse."""
    if is_compressed(model):
        return BLOCK
    if _is_sparse(model):
        return 64
    latent = [m for g in model.groups for m in g.mixers if isinstance(m, LatentAttention)]
    if not latent:
        return 16
    quantised = kv_format(cache, model.own_cache).name != NAME_OF_DTYPE[model.dtype]
    return _latent_block(latent[0], gpu.cuda_capability or HOPPER, rules, quantised=quantised)


def _latent_block(
    mixer: LatentAttention, capability: float, rules: Rules, *, quantised: bool
) -> int:
    """FlashMLA 64 on Hopper, where FlashAttention (16) takes over 16-bit caches in 0.18; on
    Blackwell CUTLASS 128 and, from 0.12 for the widths it takes, FlashInfer: 64, and 32 from 0.18;
    Triton 16 elsewhere. Source: vLLM 0.11.0 to 0.33.0, platforms/cuda and attention backends."""
    if capability >= 12.0 or capability < 9.0:
        return 16
    if capability < 10.0:
        return 16 if rules.since(18) and not quantised else 64
    widths = (64, 128, 192) if rules.since(18) else (128,)
    if not rules.since(12) or mixer.qk_nope_head_dim not in widths:
        return 128
    return 32 if rules.since(18) else 64


def _is_sparse(model: Model) -> bool:
    """Latent attention that chooses tokens with an indexer."""
    return any(
        isinstance(m, LatentAttention) and m.indexer is not None
        for g in model.groups
        for m in g.mixers
    )


def _prefix_caching(model: Model, rules: Rules, asked: bool | None) -> bool:
    """Models that keep nothing but states have none by default; versions that cannot keep states
    for it turn it off."""
    mixers = [m for g in model.groups for m in g.mixers]
    if not any(isinstance(m, Recurrent) for m in mixers):
        return asked is None or asked
    if asked is None:
        return rules.prefix_caches_states and not all(isinstance(m, Recurrent) for m in mixers)
    return asked and (
        rules.lets_states_be_cached
        or (rules.caches_every_mamba_state and any(isinstance(m, Mamba1 | Mamba2) for m in mixers))
    )


def _chunked_whole(model: Model, rules: Rules, method: str | None) -> bool:
    """Whether chunked attention is cached like full attention: always up to 0.13
    (VLLM_ALLOW_CHUNKED_LOCAL_ATTN_WITH_HYBRID_KV_CACHE is on from 0.14.0), with drafting heads
    after."""
    chunked = any(
        getattr(m, "window", None) is not None and getattr(m, "window_type", "") == "chunked"
        for g in model.groups
        for m in g.mixers
    )
    return chunked and (not rules.since(14) or method in ("mtp", "eagle", "eagle3", "dflash"))
