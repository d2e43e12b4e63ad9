"""The flags of an engine on `plan`, named as the engine's own, and its figures from them.

Nothing of planner.engines is imported until --engine is given.
"""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cli import other_engines
from cli.deployment_flags import tokens
from cli.other_names import engine
from cli.source import named, read_draft
from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.export import first_error
from planner.hardware import Gpu
from planner.model import Model
from planner.workload import Workload

if TYPE_CHECKING:
    from planner.engines.engine import EngineFigures
    from planner.engines.vllm.options import SpeculativeConfig

ENGINES = ("vllm", *other_engines.FLAGS)
NUMBERS = (
    ("--max-model-len", "tokens of the longest sequence; 8k is 8192 (vLLM takes it for 8000)"),
    ("--max-num-seqs", "sequences in a batch"),
    ("--kv-cache-memory-bytes", "pool of each GPU, whatever the budget"),
    ("--num-gpu-blocks-override", "blocks of the pool, whatever the budget"),
    ("--max-loras", "adapters in a batch, reserved up front"),
    ("--max-lora-rank", "of each adapter"),
)
OWN = (
    "engine_version", "gpu_memory_utilization", "enable_prefix_caching", "speculative_config",
    "kv_offloading_size", "cpu_offload_gb", "disable_hybrid_kv_cache_manager", "runner",
    "mamba_cache_dtype", "mamba_ssm_cache_dtype",
    *(flag.removeprefix("--").replace("-", "_") for flag, _ in NUMBERS),
)  # fmt: skip
"""Flags that mean nothing without --engine."""
SHARED = ("engine_version",)


def add_to(parser: ArgumentParser) -> None:
    """Register the flags."""
    group = parser.add_argument_group("what an engine will allocate")
    group.add_argument("--engine", type=engine, choices=ENGINES)
    group.add_argument("--engine-version", metavar="V", help="such as 0.19.1")
    group.add_argument("--gpu-memory-utilization", type=float, metavar="SHARE")
    for flag, help_text in NUMBERS:
        kind = tokens if flag == "--max-model-len" else int
        group.add_argument(flag, type=kind, metavar="N", help=help_text)
    group.add_argument(
        "--kv-offloading-size", type=float, metavar="GIB", help="cache in CPU memory"
    )
    group.add_argument(
        "--cpu-offload-gb", type=float, metavar="GIB", help="weights in CPU memory, of each GPU"
    )
    group.add_argument("--speculative-config", metavar="JSON", help="as the engine takes it")
    for name in ("enable-prefix-caching", "disable-hybrid-kv-cache-manager"):
        group.add_argument(f"--{name}", action="store_true", default=None)
    group.add_argument(
        "--no-enable-prefix-caching", dest="enable_prefix_caching", action="store_false"
    )
    group.add_argument("--runner", choices=("auto", "generate", "pooling"))
    for name in ("mamba-cache-dtype", "mamba-ssm-cache-dtype"):
        group.add_argument(f"--{name}", choices=("auto", "float32", "float16", "bfloat16"))
    other_engines.add_to(parser)


def figures_of(
    arguments: Namespace,
    model: Model,
    gpu: Gpu,
    deployment: Deployment,
    workload: Workload,
    config: Mapping[str, Any],
) -> "EngineFigures | None":
    """What the chosen engine does with this deployment; None without --engine."""
    given = {name: getattr(arguments, name) for name in OWN}
    given = {name: value for name, value in given.items() if value is not None}
    if arguments.engine is None:
        if given:
            flag = next(iter(given)).replace("_", "-")
            raise PlanRefused(f"--{flag} is an engine's flag: add --engine vllm")
        other_engines.check_engine(other_engines.given(arguments), None)
        return None
    if arguments.engine != "vllm":
        alien = next((name for name in given if name not in SHARED), None)
        if alien is not None:
            raise PlanRefused(f"--{alien.replace('_', '-')} is a flag of --engine vllm")
        return other_engines.figures_of(arguments, model, gpu, deployment, workload, config)
    other_engines.check_engine(other_engines.given(arguments), "vllm")
    from pydantic import ValidationError

    from planner.engines.registry import ENGINES
    from planner.engines.room import with_room
    from planner.engines.vllm.options import VllmOptions

    if "engine_version" in given:
        given["version"] = given.pop("engine_version")
    drafts = speculative_config(given.pop("speculative_config", None))
    try:
        options = VllmOptions(
            **given,
            speculative_config=_named(drafts),
            block_size=arguments.block_size,
            max_num_batched_tokens=arguments.max_num_batched_tokens,
            enforce_eager=arguments.enforce_eager,
        )
    except ValidationError as error:
        raise PlanRefused(first_error(error)) from None
    draft = draft_of(drafts)
    return with_room(
        "vllm", options, deployment, workload, model, gpu,
        lambda changed, spread: ENGINES["vllm"].figures(
            model, gpu, spread, changed, workload,
            config=config, draft=draft, name=named(arguments.model),
        ),
    )  # fmt: skip


def speculative_config(text: str | None) -> "SpeculativeConfig | None":
    """--speculative-config, read; None without it."""
    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise PlanRefused(
            "--speculative-config takes a JSON object such as "
            '\'{"method": "ngram", "num_speculative_tokens": 3}\''
        )
    from pydantic import ValidationError

    from planner.engines.vllm.options import SpeculativeConfig

    try:
        return SpeculativeConfig(**found)
    except ValidationError as error:
        raise PlanRefused(first_error(error)) from None


def draft_of(drafts: "SpeculativeConfig | None") -> Model | None:
    """The model or head that it names."""
    if drafts is None or drafts.model is None or not drafts.needs_draft:
        return None
    return read_draft(drafts.model, drafts.method, drafts.num_speculative_tokens)


def _named(drafts: "SpeculativeConfig | None") -> "SpeculativeConfig | None":
    """The same with the draft's name as the command needs it."""
    if drafts is None or drafts.model is None:
        return drafts
    return drafts.model_copy(update={"model": named(drafts.model)})
