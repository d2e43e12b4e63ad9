"""Flags of SGLang, TensorRT-LLM, llama.cpp and transformers on `plan`, by the engines' own names.

Listed here and not read from the options, so that nothing of planner.engines is imported before
--engine is given; a test compares both.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cli.deployment_flags import tokens
from cli.source import named, read_draft
from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.hardware import Gpu
from planner.model import Model
from planner.workload import Workload

if TYPE_CHECKING:
    from planner.engines.engine import EngineFigures

FLAGS: dict[str, dict[str, type]] = {
    "sglang": {
        "mem_fraction_static": float,
        "context_length": int,
        "max_running_requests": int,
        "max_total_tokens": int,
        "chunked_prefill_size": int,
        "page_size": int,
        "swa_full_tokens_ratio": float,
        "disable_hybrid_swa_memory": bool,
        "mamba_full_memory_ratio": float,
        "disable_radix_cache": bool,
        "disable_cuda_graph": bool,
        "cuda_graph_max_bs": int,
        "speculative_algorithm": str,
        "speculative_num_draft_tokens": int,
        "speculative_draft_model_path": str,
    },
    "tensorrt-llm": {
        "free_gpu_memory_fraction": float,
        "max_batch_size": int,
        "max_num_tokens": int,
        "max_seq_len": int,
        "max_tokens": int,
        "tokens_per_block": int,
        "enable_block_reuse": bool,
        "host_cache_size": int,
        "disable_cuda_graph": bool,
    },
    "llama.cpp": {
        "n_gpu_layers": int,
        "n_cpu_moe": int,
        "cpu_moe": bool,
        "ctx_size": int,
        "parallel": int,
        "kv_unified": bool,
        "cache_type_k": str,
        "cache_type_v": str,
        "no_kv_offload": bool,
        "flash_attn": bool,
        "batch_size": int,
        "ubatch_size": int,
        "swa_full": bool,
        "mla_cache": str,
    },
    "transformers": {
        "cache_implementation": str,
        "max_cache_len": int,
        "prefill_chunk_size": int,
        "attn_implementation": str,
        "nbits": int,
    },
}
SHORT = {
    "n_gpu_layers": "-ngl",
    "n_cpu_moe": "-ncmoe",
    "cpu_moe": "-cmoe",
    "ctx_size": "-c",
    "parallel": "-np",
    "cache_type_k": "-ctk",
    "cache_type_v": "-ctv",
    "ubatch_size": "-ub",
    "free_gpu_memory_fraction": "--kv-cache-free-gpu-memory-fraction",
    "mem_fraction_static": "--mem-fraction",
}
LENGTHS = (
    "context_length", "max_total_tokens", "chunked_prefill_size", "max_num_tokens", "max_seq_len",
    "max_tokens", "ctx_size", "max_cache_len", "prefill_chunk_size",
)  # fmt: skip
"""Flags that count tokens: 32k will do."""
ON_BY_DEFAULT = ("enable_block_reuse", "flash_attn")


def add_to(parser: ArgumentParser) -> None:
    """Register the flags, a group for each engine; one that two engines know is listed once."""
    seen: set[str] = set()
    for engine, flags in FLAGS.items():
        group = parser.add_argument_group(f"with --engine {engine}")
        for name, kind in flags.items():
            if name in seen:
                continue
            seen.add(name)
            words = [f"--{name.replace('_', '-')}", *([SHORT[name]] if name in SHORT else [])]
            if kind is not bool:
                read = tokens if name in LENGTHS else kind
                group.add_argument(*words, dest=name, type=read, metavar=kind.__name__.upper())
                continue
            group.add_argument(*words, dest=name, action="store_true", default=None)
            if name in ON_BY_DEFAULT or name == "kv_unified":
                group.add_argument(f"--no-{words[0][2:]}", dest=name, action="store_false")


def given(arguments: Namespace) -> dict[str, Any]:
    """The flags that were given, by field."""
    names = {name for flags in FLAGS.values() for name in flags}
    found = {name: getattr(arguments, name, None) for name in sorted(names)}
    return {name: value for name, value in found.items() if value is not None}


def check_engine(values: Mapping[str, Any], engine: str | None) -> None:
    """Refuse flags of an engine that was not chosen, naming the one they belong to."""
    for name in values:
        if name not in FLAGS.get(engine or "", {}):
            owner = next(owner for owner, flags in FLAGS.items() if name in flags)
            raise PlanRefused(f"--{name.replace('_', '-')} is a flag of --engine {owner}")


def figures_of(
    arguments: Namespace,
    model: Model,
    gpu: Gpu,
    deployment: Deployment,
    workload: Workload,
    config: Mapping[str, Any],
) -> "EngineFigures":
    """What the chosen engine of this module does with the deployment."""
    from planner.engines.registry import ENGINES, options_of
    from planner.engines.room import with_room
    from planner.engines.sglang.options import METHODS

    values = given(arguments)
    check_engine(values, arguments.engine)
    draft = None
    if path := values.get("speculative_draft_model_path"):
        draft = read_draft(
            path, METHODS.get(str(values.get("speculative_algorithm")), "draft_model")
        )
        values["speculative_draft_model_path"] = named(path)
    if arguments.engine_version:
        values["version"] = arguments.engine_version
    if arguments.engine == "tensorrt-llm" and arguments.max_num_batched_tokens:
        values.setdefault("max_num_tokens", arguments.max_num_batched_tokens)
    if arguments.enforce_eager and arguments.engine in ("sglang", "tensorrt-llm"):
        values["disable_cuda_graph"] = True
    options = options_of(arguments.engine, values)
    figures = ENGINES[arguments.engine].figures
    return with_room(
        arguments.engine, options, deployment, workload, model, gpu,
        lambda changed, spread: figures(
            model, gpu, spread, changed, workload,
            config=config, draft=draft, name=named(arguments.model),
        ),
    )  # fmt: skip
