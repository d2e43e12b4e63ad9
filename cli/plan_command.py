"""`plan`: what a deployment needs, whether it fits, and the arithmetic."""

import json
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from cli import engine_flags
from cli.source import read_model
from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.export import as_data, first_error
from planner.hardware import Gpu, custom_gpu, gpu_with_memory
from planner.hf_config import parse
from planner.model import Model
from planner.plan import make_plan
from planner.workload import Workload
from presets.gpus import load_gpu

Inputs = TypeVar("Inputs", Deployment, Workload)

CONTEXT_HELP = "tokens a sequence, such as 32768 or 32k; 8192, or the model's own if shorter"
PREFIX_HELP = "tokens that all sequences begin with"
DEFAULT_CONTEXT = 8192
FORMATS = ("text", "json", "markdown", "html", "csv")
SIZES = (
    ("--tensor-parallel-size", "-tp", "GPUs that share each layer"),
    ("--pipeline-parallel-size", "-pp", "stages of layers"),
    ("--data-parallel-size", "-dp", "replicas of attention; routed experts are spread over them"),
    ("--decode-context-parallel-size", "-dcp", "parts of each sequence within tensor parallel"),
    ("--context-parallel-size", "-cp", "ranks of a prefill ring"),
)


def add_to(parser: ArgumentParser) -> None:
    """The command's flags."""
    parser.add_argument("--model", required=True, metavar="ID|PATH", help="preset, Hub id or file")
    parser.add_argument("--gpu", required=True, metavar="ID", help="such as h100-sxm5-80gb")
    parser.add_argument("--gpus", type=int, metavar="N", help="GPUs in all")
    parser.add_argument("--gpu-memory-bytes", type=int, metavar="N", help="of each GPU, as read")
    parser.add_argument("--calibration", metavar="RECORD", help="of this GPU, from validate")
    for name, short, help_text in SIZES:
        parser.add_argument(name, short, type=int, metavar="N", help=help_text)
    parser.add_argument("--enable-expert-parallel", action="store_true")
    parser.add_argument("--enforce-eager", action="store_true", help="no CUDA graphs")
    parser.add_argument("--context", type=tokens, metavar="N", help=CONTEXT_HELP)
    parser.add_argument("--concurrency", type=int, default=1, metavar="N", help="sequences at once")
    parser.add_argument(
        "--shared-prefix-tokens", type=tokens, default=0, metavar="N", help=PREFIX_HELP
    )
    parser.add_argument("--beam-width", type=int, default=1, metavar="N", help="beams a sequence")
    parser.add_argument("--prompt-tokens", type=tokens, metavar="N", help="shared by the beams")
    parser.add_argument("--weights-dtype", default="auto", metavar="NAME", help="see list formats")
    parser.add_argument("--kv-cache-dtype", default="auto", metavar="NAME", help="see list formats")
    parser.add_argument("--block-size", type=int, metavar="N", help="16, or the engine's")
    parser.add_argument("--max-num-batched-tokens", type=int, metavar="N", help="or the engine's")
    engine_flags.add_to(parser)
    parser.add_argument("--format", choices=FORMATS, default="text")
    parser.add_argument(
        "--exit-code", action="store_true", help="status 1 when it does not fit or start"
    )
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> str:
    """The plan in the chosen format."""
    config = read_model(arguments.model)
    model, gpu = parse(config, arguments.model), chosen_gpu(arguments)
    deployment, workload = chosen_deployment(arguments), chosen_workload(arguments, model)
    engine = engine_flags.figures_of(arguments, model, gpu, deployment, workload, config)
    if engine is not None:
        deployment = deployment.replace(
            block_size=engine.block_size,
            max_num_batched_tokens=engine.settings["max_num_batched_tokens"],
        )
    plan = make_plan(model, gpu, deployment, workload)
    starts = engine is None or engine.refused is None
    arguments.status = int(arguments.exit_code and not (plan.fits and starts))
    if arguments.format == "json":
        if engine is None:
            data = as_data(plan, config)
        else:
            from planner.engines.answer import plan_data

            data = plan_data(plan, config, engine)
        return json.dumps(data, indent=1, allow_nan=False) + "\n"
    if arguments.format == "html":
        from ui.report_html import as_html

        return as_html(plan, config, engine=engine)
    if arguments.format == "markdown":
        from ui.report_markdown import as_markdown

        return as_markdown(plan, engine)
    if arguments.format == "csv":
        from ui.report_csv import as_csv

        return as_csv(plan, engine)
    from ui.report_text import as_text

    return as_text(plan, engine)


def chosen_gpu(arguments: Namespace) -> Gpu:
    """The preset, with the memory the user read on it; `custom` needs that memory.

    A record of the card replaces estimates by what was measured.
    """
    gpu = _named_gpu(arguments)
    if arguments.calibration is None:
        return gpu
    from validate.calibration import calibrated_gpu
    from validate.record import read

    return calibrated_gpu(gpu, read(Path(arguments.calibration)))


def _named_gpu(arguments: Namespace) -> Gpu:
    memory_bytes = arguments.gpu_memory_bytes
    if arguments.gpu == "custom":
        if memory_bytes is None:
            raise PlanRefused("--gpu custom needs --gpu-memory-bytes")
        return custom_gpu(memory_bytes)
    gpu = load_gpu(arguments.gpu)
    return gpu if memory_bytes is None else gpu_with_memory(gpu, memory_bytes)


def chosen_deployment(arguments: Namespace) -> Deployment:
    """The deployment of the flags. --gpus alone means tensor parallelism over all of them."""
    sizes = {
        name: getattr(arguments, name)
        for name in (flag.removeprefix("--").replace("-", "_") for flag, _, _ in SIZES)
        if getattr(arguments, name) is not None
    }
    gpus = arguments.gpus
    rest = 1
    for name, size in sizes.items():
        if name not in ("tensor_parallel_size", "decode_context_parallel_size"):
            rest *= size
    if gpus is not None and "tensor_parallel_size" not in sizes:
        if gpus < 1 or rest < 1 or gpus % rest:
            raise PlanRefused(f"--gpus {gpus} cannot be split into {rest} equal parts")
        sizes["tensor_parallel_size"] = gpus // rest
    given = {
        name: getattr(arguments, name)
        for name in ("block_size", "max_num_batched_tokens")
        if getattr(arguments, name) is not None
    }
    deployment = checked(
        Deployment,
        **sizes,
        enable_expert_parallel=arguments.enable_expert_parallel,
        enforce_eager=arguments.enforce_eager,
        weights_dtype=arguments.weights_dtype,
        kv_cache_dtype=arguments.kv_cache_dtype,
        **given,
    )
    if gpus is not None and deployment.gpus != gpus:
        raise PlanRefused(
            f"--gpus {gpus} contradicts the parallel sizes, which use {deployment.gpus}"
            f"{_rest(gpus, deployment)}"
        )
    return deployment


def _rest(gpus: int, deployment: Deployment) -> str:
    """Which flag would use the GPUs that the sizes leave over."""
    replicas, over = divmod(gpus, deployment.gpus)
    if over or replicas < 2:
        return ""
    more = replicas * deployment.data_parallel_size
    return f"; --data-parallel-size {more} would use them all"


def chosen_workload(arguments: Namespace, model: Model) -> Workload:
    """The workload of the flags; without a context, one that the model can take."""
    stated = model.max_position_embeddings or DEFAULT_CONTEXT
    context = arguments.context
    return checked(
        Workload,
        context=min(DEFAULT_CONTEXT, stated) if context is None else context,
        concurrency=arguments.concurrency,
        shared_prefix_tokens=arguments.shared_prefix_tokens,
        beam_width=arguments.beam_width,
        prompt_tokens=arguments.prompt_tokens,
    )


def tokens(text: str) -> int:
    """A token count: 32768, or 32k and 1m in units of 1024. For argparse."""
    scale = {"k": 1024, "m": 1024**2}.get(text[-1:].lower(), 1)
    digits = text[:-1] if scale > 1 else text
    try:
        return int(digits) * scale
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no number of tokens") from None


def checked(kind: type[Inputs], **values: Any) -> Inputs:
    """kind(**values), its complaint as one sentence."""
    try:
        return kind(**values)
    except ValidationError as error:
        raise PlanRefused(first_error(error)) from None
