"""SGLang's launch command."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from planner.deployment import Deployment
from planner.engines.cache_dtypes import cache_name
from planner.engines.checkpoint import Checkpoint
from planner.engines.extended import overrides
from planner.engines.sglang.options import SglangOptions
from planner.model import Model
from planner.rope.extension import Extension

VALUES = (
    "mem_fraction_static",
    "context_length",
    "max_running_requests",
    "max_total_tokens",
    "chunked_prefill_size",
    "swa_full_tokens_ratio",
    "mamba_full_memory_ratio",
    "cuda_graph_max_bs",
    "speculative_algorithm",
    "speculative_num_draft_tokens",
    "speculative_draft_model_path",
)
SWITCHES = ("disable_hybrid_swa_memory", "disable_radix_cache", "disable_cuda_graph")
QUANTISED_ON_LOAD = {"fp8": "fp8"}
"""Formats that SGLang makes of a 16-bit checkpoint."""
CACHE_DTYPES = {"fp8": "fp8_e4m3", "bf16": "bfloat16"}
NAMES_SINCE = {
    "cuda_graph_max_bs": (14, "cuda_graph_max_bs_decode"),
    "nvfp4": (18, "nvfp4"),
    "dp_attention": (22, "attn_dp_size"),
}
"""What has another name since that patch of 0.5. Read from 0.5.10, 0.5.14 and 0.5.18 to 0.5.23: the
first's old name is gone in 0.5.20, the second's in 0.5.21, the third's is deprecated."""
OLD_NAMES = {"cuda_graph_max_bs": "cuda_graph_max_bs", "nvfp4": "fp4_e2m1"}


def launch_command(
    checkpoint: Checkpoint,
    model: Model,
    deployment: Deployment,
    options: SglangOptions,
    scaling: Sequence[str] = (),
) -> str:
    """A command line ready for a shell. --tp counts all GPUs of a stage, as SGLang does.
    scaling: the words that stretch positions."""
    words = ["python", "-m", "sglang.launch_server", "--model-path", checkpoint.name]
    dp = deployment.data_parallel_size
    ranks = deployment.tensor_parallel_size * dp
    if ranks > 1:
        words += ["--tp-size", str(ranks)]
    if deployment.pipeline_parallel_size > 1:
        words += ["--pp-size", str(deployment.pipeline_parallel_size)]
    if dp > 1 and _is_new("dp_attention", options):
        words += ["--attn-dp-size", str(dp)]
    elif dp > 1:
        words += ["--dp-size", str(dp), "--enable-dp-attention"]
    if deployment.enable_expert_parallel:
        words += ["--ep-size", str(ranks)]
    if checkpoint.on_load is not None:
        words += ["--quantization", checkpoint.on_load]
    if checkpoint.dtype is not None:
        words += ["--dtype", checkpoint.dtype]
    cache = deployment.kv_cache_dtype
    if cache != "auto" or model.declared_cache:
        cache = cache_name(model, deployment)
        words += ["--kv-cache-dtype", CACHE_DTYPES.get(cache, _named(cache, options))]
    if options.page_size > 1:
        words += ["--page-size", str(options.page_size)]
    for field in VALUES:
        value = getattr(options, field)
        if value is not None:
            text = f"{value:g}" if isinstance(value, float) else str(value)
            words += ["--" + _named(field, options).replace("_", "-"), text]
    words += scaling
    words += ["--" + field.replace("_", "-") for field in SWITCHES if getattr(options, field)]
    return shlex.join(words)


def scaling_flags(found: Extension, config: Mapping[str, Any] | None) -> list[str]:
    """Words for SGLang, beside --context-length."""
    return ["--json-model-override-args", json.dumps(overrides(found, config))]


def _is_new(name: str, options: SglangOptions) -> bool:
    """Whether that version has the newer name; one without a patch is the newest."""
    patch = re.match(r"0\.5\.(\d+)", options.version)
    return patch is None or int(patch[1]) >= NAMES_SINCE[name][0]


def _named(name: str, options: SglangOptions) -> str:
    if name not in OLD_NAMES:
        return name
    return NAMES_SINCE[name][1] if _is_new(name, options) else OLD_NAMES[name]
