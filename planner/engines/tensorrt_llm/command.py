"""TensorRT-LLM's launch command, and the file that it reads."""

import shlex
from typing import Any

from planner.deployment import Deployment
from planner.engines.engine import CONFIG_NAME
from planner.engines.tensorrt_llm.options import TensorrtLlmOptions
from planner.engines.yaml_text import yaml_text
from planner.formats.dtypes import kv_format


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
