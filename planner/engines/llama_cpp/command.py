"""llama-server's command line."""

import shlex
from collections.abc import Sequence

from planner.deployment import Deployment
from planner.engines.checkpoint import gguf_file
from planner.engines.llama_cpp.options import CACHE_TYPES, LlamaCppOptions, cache_types
from planner.model import Model
from planner.rope.extension import Extension


def server_command(
    name: str,
    model: Model,
    deployment: Deployment,
    options: LlamaCppOptions,
    scaling: Sequence[str] = (),
) -> str:
    """A command line ready for a shell; a `name` that is no GGUF file is given one. scaling: the
    words that stretch positions."""
    words = ["llama-server", "-m", gguf_file(name, model, deployment.weights_dtype)]
    defaults = LlamaCppOptions()
    keys, values = cache_types(deployment, options)
    flags: dict[str, object] = {
        "-ngl": options.n_gpu_layers,
        "--n-cpu-moe": options.n_cpu_moe or None,
        "-c": options.ctx_size,
        "-np": options.parallel,
        "-ctk": None if keys.name == "fp16" else CACHE_TYPES[keys.name],
        "-ctv": None if values.name == "fp16" else CACHE_TYPES[values.name],
        "-b": None if options.batch_size == defaults.batch_size else options.batch_size,
        "-ub": None if options.ubatch_size == defaults.ubatch_size else options.ubatch_size,
        "-fa": None if options.flash_attn else "off",
        "--cpu-moe": "" if options.cpu_moe else None,
        "--no-kv-offload": "" if options.no_kv_offload else None,
        "--swa-full": "" if options.swa_full else None,
        "--kv-unified": "" if options.kv_unified else None,
        "--no-kv-unified": "" if options.kv_unified is False else None,
    }
    for flag, value in flags.items():
        if value is not None:
            words += [flag, str(value)] if value != "" else [flag]
    words += scaling
    return shlex.join(words)


def scaling_flags(found: Extension) -> list[str]:
    """Words for llama-server, beside -c: YaRN or linear."""
    words = ["--rope-scaling", found.method, "--rope-scale", f"{found.factor:.10g}"]
    return [*words, *(["--yarn-orig-ctx", str(found.original_tokens)] * (found.method == "yarn"))]


def length_cap(found: Extension) -> str:
    """When llama-server cuts slots at the length in the file all the same, and what to add."""
    which = "Builds before llama.cpp#28030 (August 2026) cap"
    if found.method != "yarn":
        which = "llama-server caps"
    return (
        f"{which} each slot at the length in the file all the same: add --override-kv "
        f"ARCH.context_length=int:{found.context_tokens}, with the file's own name for ARCH."
    )
