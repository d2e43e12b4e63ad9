"""Values that a version of vLLM does not take, refused as it refuses them: before any memory.

Sources: vLLM 0.8.5 to 0.33.0 (config/cache, config/scheduler, config/model). Lists of cache formats
that changed between two published versions are dated to the later one.
"""

from planner.deployment import Deployment
from planner.engines.cache_dtypes import E5M2, cache_name, check_length
from planner.engines.vllm.compressed import check_compressed
from planner.engines.vllm.options import Settings, VllmOptions
from planner.engines.vllm.versions import Rules
from planner.errors import PlanRefused
from planner.formats.dtypes import NAME_OF_DTYPE
from planner.formats.format_support import lacks_bf16
from planner.formats.quantization import assign
from planner.hardware import Gpu
from planner.kinds.recurrent import Mamba1, Mamba2
from planner.model import Model

CACHE_SINCE = {
    "fp8": 8, "fp8_e5m2": 8, "bf16": 11, "fp8_ds_mla": 12, "fp16": 18, "int8_per_token_head": 20,
    "fp8_per_token_head": 20, "tq_k8v4": 20, "tq_4bit_nc": 20, "tq_k3v4_nc": 20, "tq_3bit_nc": 20,
    "nvfp4": 20, "int4_per_token_head": 25, "nvfp4_ds_mla": 30, "ultraquant_4bit": 32,
}  # fmt: skip
"""Cache format -> the minor version from which --kv-cache-dtype has it."""
METHODS_SINCE = {"fp_quant": 13, "mxfp8": 24}
METHODS_LOST = {"aqlm": 11, "hqq": 15}
"""Quantisation method -> the first minor version that loads it, or no longer does (the registries
of 0.8.5, 0.11.0, 0.15.1, 0.19.1, 0.20.2, 0.24.0, 0.28.0 and 0.33.0; vllm#30136 has FP-Quant two
weeks before 0.13.0). 0.19.1 to 0.22 take mxfp8 for 16-bit weights to quantise, and fail on files
that are (vllm#45568); recipes.vllm.ai asks for 0.24.0."""
FLAGS_SINCE = {
    "decode_context_parallel_size": 10, "kv_cache_memory_bytes": 10, "runner": 10,
    "mamba_cache_dtype": 10, "mamba_ssm_cache_dtype": 10,
    "kv_offloading_size": 12, "disable_hybrid_kv_cache_manager": 9,
}  # fmt: skip
"""Flag -> the first minor version that has it."""
STATE_DTYPES_SINCE = {"float16": 13, "bfloat16": 22}
"""Value of --mamba-cache-dtype and --mamba-ssm-cache-dtype -> the minor version that has it."""
VOLTA_LOST = 20
"""Its wheels are built with CUDA 13 (vllm-project/router#154), which has no code for cards before
compute capability 7.5 (vllm#39878 shows a V100 without kernels); the notes of 0.21 ask for 7.5."""
OFFLOAD_LOST = 25
"""The V2 runner, then for some models, did not offload weights (vllm#51396; 0.28.0 does)."""
DRAFTING_SINCE = {"suffix": 12, "dflash": 20}
"""Drafting method -> the first minor version that has it."""
MEDUSA_LOST = 33
"""The minor version that no longer has it."""
BLOCKS = (16, 32, 64, 128)
BLOCK_256_SINCE, ANY_BLOCK_SINCE = 12, 18
"""--block-size was one of these (256 too from 0.12) up to 0.17; attention on CUDA takes multiples
of 16 since."""
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
RANK_1_SINCE = 11
"""--max-lora-rank is one of these (config/lora.MaxLoRARanks); 0.8.5 does not have the first."""
NO_FLOAT16 = ("gemma2", "gemma3", "gemma3_text", "plamo2", "glm4")
"""Models that vLLM does not run in float16, which overflows there."""
FALLS_BACK_SINCE = 9
BFLOAT16_SINCE = (10, 1)
"""float32 checkpoints ran in float16 before, "common practice", and run in the platform's first
dtype since (0.8.5 has the one, 0.11.0 the other; users of 0.10.1 saw it change)."""
DRAFTS_LOST, DRAFTS_BACK = 11, 15
"""Draft models went with the V0 engine and came back with vllm#24322; 0.13.0 says "not supported
yet" (vllm#31883)."""


def check_values(
    model: Model, gpu: Gpu, deployment: Deployment, options: VllmOptions, settings: Settings
) -> None:
    """Raises PlanRefused with a sentence for the first value that vLLM would not take."""
    _card(gpu, settings.rules)
    _flags(deployment, options, settings.rules)
    _method(model, deployment, settings.rules)
    check_compressed(model, gpu, deployment, settings.rules, options.block_size)
    _cache_dtype(model, deployment, settings.rules)
    check_length(
        "vLLM", "max_model_len", options.max_model_len, model,
        "VLLM_ALLOW_LONG_MAX_MODEL_LEN=1 is set",
    )  # fmt: skip
    _batch(settings)
    _drafting(options, settings.rules)
    _block(options, settings.rules)
    _states(model, settings)
    _state_dtypes(settings)
    _rank(options, settings.rules)
    if needs_half(model, gpu) and model.model_type in NO_FLOAT16:
        raise PlanRefused(
            f"{gpu.name} has no bfloat16 (compute capability {gpu.compute_capability}, 8.0 needed) "
            f"and vLLM does not run {model.model_type} in float16: choose a newer GPU"
        )


def _card(gpu: Gpu, rules: Rules) -> None:
    if rules.since(VOLTA_LOST) and (gpu.cuda_capability or 9.0) < 7.5:
        raise PlanRefused(
            f"vLLM {rules.name} has no kernels for {gpu.name} (compute capability "
            f"{gpu.compute_capability}, 7.5 needed since 0.{VOLTA_LOST}): choose a version before "
            "that, or llama.cpp"
        )


def own_dtype(model: Model, gpu: Gpu, rules: Rules) -> str:
    """What a checkpoint runs in where no --dtype is given; one saved in float32 in 16 bits."""
    if model.saved_dtype is None or model.model_type in NO_FLOAT16:
        return model.dtype
    takes = not lacks_bf16(gpu) and rules.since(*BFLOAT16_SINCE)
    return model.dtype if takes else "float16"


def needs_half(model: Model, gpu: Gpu) -> bool:
    """Whether the model's bfloat16 must run as float16 on this card."""
    return model.dtype == "bfloat16" and lacks_bf16(gpu)


def half_note(model: Model, gpu: Gpu, rules: Rules) -> str | None:
    """What vLLM does about bfloat16 on a card without it; None where it has it."""
    if not needs_half(model, gpu):
        return None
    does = "falls back to float16 with a warning"
    if not rules.since(FALLS_BACK_SINCE):
        does = "refuses bfloat16"
    return (
        f"{gpu.name} has no bfloat16 (compute capability {gpu.compute_capability}, 8.0 needed): "
        f"vLLM {rules.name} {does}, so the command says --dtype half."
    )


def _cache_dtype(model: Model, deployment: Deployment, rules: Rules) -> None:
    name = cache_name(model, deployment)
    if name == NAME_OF_DTYPE[model.dtype]:
        return
    if name == E5M2 and _has_fp8(model, deployment):
        raise PlanRefused(
            "kv_cache_dtype fp8_e5m2: vLLM does not take it with fp8 weights; choose fp8"
        )
    since = CACHE_SINCE.get(name)
    if since is None or not rules.since(since):
        known = [n for n, minor in CACHE_SINCE.items() if rules.since(minor)]
        when = "" if since is None else f" (0.{since} has it)"
        raise PlanRefused(
            f"kv_cache_dtype {name}: vLLM {rules.name} has no such cache{when}; choose auto, "
            f"{', '.join(known)}"
        )


def _flags(deployment: Deployment, options: VllmOptions, rules: Rules) -> None:
    if options.cpu_offload_gb is not None and rules.since(OFFLOAD_LOST) and not rules.since(28):
        raise PlanRefused(
            f"cpu_offload_gb: vLLM {rules.name} takes the flag and may keep every weight on the "
            "GPU all the same (vllm#51396): plan 0.28 or later"
        )
    asked = {
        "decode_context_parallel_size": deployment.decode_context_parallel_size > 1,
        "kv_cache_memory_bytes": options.kv_cache_memory_bytes is not None,
        "kv_offloading_size": options.kv_offloading_size is not None,
        "runner": options.runner != "auto",
        "mamba_cache_dtype": options.mamba_cache_dtype != "auto",
        "mamba_ssm_cache_dtype": options.mamba_ssm_cache_dtype != "auto",
        "disable_hybrid_kv_cache_manager": bool(options.disable_hybrid_kv_cache_manager),
    }
    for flag, since in FLAGS_SINCE.items():
        if asked[flag] and not rules.since(since):
            raise PlanRefused(
                f"{flag}: vLLM {rules.name} has no such flag (0.{since} has it): leave it out or "
                "plan a newer version"
            )


def _method(model: Model, deployment: Deployment, rules: Rules) -> None:
    method = assign(model, deployment.weights_dtype).method or ""
    since, lost = METHODS_SINCE.get(method, 0), METHODS_LOST.get(method)
    if not rules.since(since) or (lost is not None and rules.since(lost)):
        has = f"0.{since} does" if lost is None else f"before 0.{lost} it did"
        raise PlanRefused(
            f"quant_method {method}: vLLM {rules.name} loads no such checkpoints ({has}): choose "
            "another checkpoint, version or engine"
        )


def _states(model: Model, settings: Settings) -> None:
    mixers = (m for group in model.groups for m in group.mixers)
    if (
        settings.prefix_caching
        and settings.rules.caches_every_mamba_state
        and any(isinstance(m, Mamba1 | Mamba2) for m in mixers)
    ):
        raise PlanRefused(
            f"enable_prefix_caching: with it vLLM {settings.rules.name} keeps a Mamba state at "
            "every block, which is not described; leave it off, or plan 0.28 or later"
        )


def _state_dtypes(settings: Settings) -> None:
    for flag in ("state_dtype", "ssm_dtype"):
        name = getattr(settings, flag)
        since = STATE_DTYPES_SINCE.get(name, 0)
        if not settings.rules.since(since):
            shown = "mamba_cache_dtype" if flag == "state_dtype" else "mamba_ssm_cache_dtype"
            raise PlanRefused(
                f"{shown} {name}: vLLM {settings.rules.name} has no such state (0.{since} has it); "
                "choose auto or float32"
            )


def _rank(options: VllmOptions, rules: Rules) -> None:
    rank = options.max_lora_rank
    known = RANKS if rules.since(RANK_1_SINCE) else RANKS[1:]
    if rank is not None and rank not in known:
        larger = next((one for one in known if one > rank), None)
        holds = "" if larger is None else f"; {larger} holds adapters of rank {rank} too"
        raise PlanRefused(
            f"max_lora_rank {rank}: vLLM {rules.name} takes {', '.join(map(str, known))}{holds}"
        )


def _has_fp8(model: Model, deployment: Deployment) -> bool:
    formats = assign(model, deployment.weights_dtype).bytes_by_format()
    return any(name.startswith("fp8") for name in formats)


def _batch(settings: Settings) -> None:
    if settings.max_num_batched_tokens < settings.max_num_seqs:
        raise PlanRefused(
            f"max_num_batched_tokens ({settings.max_num_batched_tokens:,}) must be at least "
            f"max_num_seqs ({settings.max_num_seqs:,}): raise the one or lower the other"
        )


def _drafting(options: VllmOptions, rules: Rules) -> None:
    speculative = options.speculative_config
    if speculative is None:
        return
    method = speculative.method
    since = DRAFTING_SINCE.get(method, 0)
    if not rules.since(since):
        raise PlanRefused(
            f"speculative_config: vLLM {rules.name} takes no {method} (0.{since} does): use ngram "
            "or eagle"
        )
    if method == "medusa" and rules.since(MEDUSA_LOST):
        raise PlanRefused(
            f"speculative_config: vLLM {rules.name} takes no medusa (0.{MEDUSA_LOST - 1} did): use "
            "ngram, eagle, eagle3 or mtp"
        )
    if method == "draft_model" and rules.since(DRAFTS_LOST) and not rules.since(DRAFTS_BACK):
        raise PlanRefused(
            f"speculative_config: vLLM {rules.name} takes no draft model (0.{DRAFTS_BACK} does "
            "again): use ngram, eagle, eagle3 or mtp"
        )


def _block(options: VllmOptions, rules: Rules) -> None:
    size = options.block_size
    if size is None:
        return
    known = (*BLOCKS, 256) if rules.since(BLOCK_256_SINCE) else BLOCKS
    free = rules.since(ANY_BLOCK_SINCE)
    if size % BLOCKS[0] or (not free and size not in known):
        kinds = "a multiple of 16" if free else f"one of {', '.join(map(str, known))}"
        raise PlanRefused(
            f"block_size {size}: vLLM {rules.name} on CUDA takes {kinds} tokens a block"
        )
