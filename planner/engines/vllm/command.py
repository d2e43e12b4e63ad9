"""The `vllm serve` command of a deployment, with the flags that differ from the defaults."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from planner.deployment import Deployment
from planner.engines.cache_dtypes import cache_name
from planner.engines.checkpoint import Checkpoint
from planner.engines.extended import overrides, text_name
from planner.engines.vllm.options import VllmOptions
from planner.engines.vllm.versions import rules_of
from planner.errors import PlanRefused
from planner.formats.dtypes import kv_format
from planner.model import Model
from planner.rope.extension import Extension
from planner.units import format_tokens

PARALLEL = (
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
    "decode_context_parallel_size",
)
VALUES = (
    "gpu_memory_utilization",
    "max_model_len",
    "max_num_seqs",
    "max_num_batched_tokens",
    "block_size",
    "kv_cache_memory_bytes",
    "num_gpu_blocks_override",
    "kv_offloading_size",
    "cpu_offload_gb",
)
QUANTISED_ON_LOAD = {"fp8": "fp8", "nf4": "bitsandbytes"}
"""Formats that vLLM makes of a 16-bit checkpoint; others need a checkpoint of their own, as 8-bit
bitsandbytes does: while loading vLLM makes 4 bits (vllm#8799, vllm#11655)."""
MTP_SINCE = 11
OWN_MTP = {"qwen3_next": "qwen3_next_mtp", "ernie4_5_moe": "ernie_mtp"}
"""What 0.9 and 0.10 call multi-token prediction, by model type; deepseek_mtp for the others."""
PARAMETERS_SINCE = 12
"""vLLM's minor version that reads `rope_parameters`; `rope_scaling` before."""
CACHE_DTYPES = {
    "bf16": "bfloat16", "fp16": "float16", "tq_k8v4": "turboquant_k8v4",
    "tq_4bit_nc": "turboquant_4bit_nc", "tq_k3v4_nc": "turboquant_k3v4_nc",
    "tq_3bit_nc": "turboquant_3bit_nc",
}  # fmt: skip


def serve_command(
    checkpoint: Checkpoint,
    model: Model,
    deployment: Deployment,
    options: VllmOptions,
    *,
    half: bool = False,
    scaling: Sequence[str] = (),
) -> str:
    """A command line ready for a shell. half: bfloat16 runs as float16, as the card has none.
    scaling: the words that stretch positions."""
    words = ["vllm", "serve", checkpoint.name]
    for field in PARALLEL:
        if getattr(deployment, field) > 1:
            words += [_flag(field), str(getattr(deployment, field))]
    if deployment.enable_expert_parallel:
        words.append("--enable-expert-parallel")
    if checkpoint.on_load is not None:
        words += ["--quantization", checkpoint.on_load]
    dtype = "half" if half else checkpoint.dtype
    if dtype is not None:
        words += ["--dtype", dtype]
    cache = cache_name(model, deployment)
    if cache != kv_format("auto", model.own_cache).name:
        words += ["--kv-cache-dtype", CACHE_DTYPES.get(cache, cache)]
    for field in VALUES:
        value = getattr(options, field)
        if value is not None:
            words += [_flag(field), f"{value:g}" if isinstance(value, float) else str(value)]
    words += scaling
    if options.enable_prefix_caching is not None:
        words.append(_switch("enable_prefix_caching", options.enable_prefix_caching))
    if options.disable_hybrid_kv_cache_manager:
        words.append("--disable-hybrid-kv-cache-manager")
    for field in ("mamba_cache_dtype", "mamba_ssm_cache_dtype"):
        if getattr(options, field) != "auto":
            words += [_flag(field), getattr(options, field)]
    if options.runner != "auto":
        words += ["--runner", options.runner]
    if options.enforce_eager or deployment.enforce_eager:
        words.append("--enforce-eager")
    if options.max_loras is not None:
        words += ["--enable-lora", "--max-loras", str(options.max_loras)]
        words += ["--max-lora-rank", str(options.max_lora_rank or 16)]
    if options.speculative_config is not None:
        found = options.speculative_config.model_dump(exclude_none=True)
        if found["method"] == "mtp" and not rules_of(options.version).since(MTP_SINCE):
            found["method"] = OWN_MTP.get(model.model_type, "deepseek_mtp")
        words += ["--speculative-config", json.dumps(found, separators=(",", ":"))]
    return shlex.join(words)


def scaling_flags(found: Extension, config: Mapping[str, Any] | None, version: str) -> list[str]:
    """Words for `vllm serve`, beside --max-model-len. vLLM multiplies the original length itself,
    where layer types do not differ."""
    new = rules_of(version).since(PARAMETERS_SINCE)
    if not new and text_name(config) is not None:
        raise PlanRefused(
            f"vLLM {version} overrides no fields inside {text_name(config)}: choose 0."
            f"{PARAMETERS_SINCE} or later for more than {format_tokens(found.stated_tokens)} tokens"
        )
    fields = overrides(found, config, new=new, longest=found.local is not None)
    return ["--hf-overrides", json.dumps(fields)]


def _flag(field: str) -> str:
    return "--" + field.replace("_", "-")


def _switch(field: str, on: bool) -> str:
    return _flag(field) if on else "--no-" + field.replace("_", "-")
