"""TensorRT-LLM's flags as inputs, and its launch command."""

import shlex
from typing import Any

from pydantic import Field

from planner.deployment import Deployment
from planner.engines.engine import CONFIG_NAME
from planner.engines.yaml_text import yaml_text
from planner.formats.dtypes import kv_format
from planner.frozen import Frozen

VERSION = "1.2"
FRACTION, BLOCK_TOKENS = 0.9, 32
BATCHED_TOKENS, BATCH = 8192, 2048
COUNT: Any = Field(default=None, ge=1, le=2**40)


class TensorrtLlmOptions(Frozen):
    """Flags of `trtllm-serve`; None leaves its default. tokens_per_block and host_cache_size are
    fields of kv_cache_config."""

    version: str = VERSION
    free_gpu_memory_fraction: float = Field(default=FRACTION, gt=0, lt=1)
    max_batch_size: int = Field(default=BATCH, ge=1)
    max_num_tokens: int = Field(default=BATCHED_TOKENS, ge=1)
    max_seq_len: int | None = COUNT
    max_tokens: int | None = COUNT
    tokens_per_block: int = Field(default=BLOCK_TOKENS, ge=1, le=1024)
    enable_block_reuse: bool = True
    host_cache_size: int = Field(default=0, ge=0)
    disable_cuda_graph: bool = False


def serve_command(name: str, deployment: Deployment, options: TensorrtLlmOptions) -> str:
    """A command line ready for a shell."""
    tp, dp = deployment.tensor_parallel_size, deployment.data_parallel_size
    words = ["trtllm-serve", name]
    flags = {
        "tp_size": tp * dp if tp * dp > 1 else None,
        "pp_size": deployment.pipeline_parallel_size if deployment.gpus > tp * dp else None,
        "ep_size": tp * dp if deployment.enable_expert_parallel else None,
        "max_batch_size": options.max_batch_size,
        "max_num_tokens": options.max_num_tokens,
        "max_seq_len": options.max_seq_len,
        "kv_cache_free_gpu_memory_fraction": f"{options.free_gpu_memory_fraction:g}",
    }
    for flag, value in flags.items():
        if value is not None:
            words += [f"--{flag}", str(value)]
    if config_file(deployment, options):
        words += ["--extra_llm_api_options", CONFIG_NAME]
    return shlex.join(words)


def config_file(deployment: Deployment, options: TensorrtLlmOptions) -> str:
    """The file that the command reads, because no flag says what is in it; empty for defaults."""
    defaults, cache = TensorrtLlmOptions(), {}
    for field in ("max_tokens", "tokens_per_block", "enable_block_reuse", "host_cache_size"):
        if getattr(options, field) != getattr(defaults, field):
            cache[field] = getattr(options, field)
    if deployment.kv_cache_dtype != "auto":
        cache["dtype"] = kv_format(deployment.kv_cache_dtype).name
    found: dict[str, Any] = {"kv_cache_config": cache} if cache else {}
    if deployment.data_parallel_size > 1:
        found["enable_attention_dp"] = True
    if options.disable_cuda_graph:
        found["cuda_graph_config"] = None
    return yaml_text(found) if found else ""
