"""The flags that name a model, a GPU and how the model lies on several, shared by commands."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.export import first_error
from planner.hardware import Gpu, custom_gpu, gpu_with_memory
from planner.units import parse_tokens
from planner.workload import Workload
from presets.gpus import load_gpu

Inputs = TypeVar("Inputs", Deployment, Workload)
SIZES = (
    ("--tensor-parallel-size", "-tp", "GPUs that share each layer"),
    ("--pipeline-parallel-size", "-pp", "stages of layers"),
    ("--data-parallel-size", "-dp", "replicas of attention; routed experts are spread over them"),
    ("--decode-context-parallel-size", "-dcp", "parts of each sequence within tensor parallel"),
    ("--context-parallel-size", "-cp", "ranks of a prefill ring"),
)


def add_to(parser: ArgumentParser) -> None:
    """Model, GPU, sizes and number formats. Defaults of batches are the command's or engine's."""
    parser.add_argument(
        "--model",
        required=True,
        metavar="ID|PATH",
        help="a preset's id or Hub id, a file or a folder",
    )
    parser.add_argument("--gpu", required=True, metavar="ID", help="such as h100-sxm5-80gb")
    parser.add_argument("--gpus", type=int, metavar="N", help="GPUs in all")
    parser.add_argument(
        "--gpu-memory-bytes", type=int, metavar="N", help="that a program can allocate on each"
    )
    parser.add_argument("--calibration", metavar="RECORD", help="of this GPU, from validate")
    for name, short, help_text in SIZES:
        parser.add_argument(name, short, type=int, metavar="N", help=help_text)
    parser.add_argument("--enable-expert-parallel", action="store_true")
    parser.add_argument("--enforce-eager", action="store_true", help="no CUDA graphs")
    parser.add_argument("--weights-dtype", default="auto", metavar="NAME", help="see list formats")
    parser.add_argument("--kv-cache-dtype", default="auto", metavar="NAME", help="see list formats")
    parser.add_argument("--block-size", type=int, metavar="N", help="tokens; 16, or the engine's")
    parser.add_argument(
        "--max-num-batched-tokens",
        type=tokens,
        metavar="N",
        help="of a step; 8192, or the engine's",
    )


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
    """The deployment of the flags. --gpus alone means tensor parallelism over all of them, with
    llama.cpp stages of layers."""
    sizes = {
        name: getattr(arguments, name)
        for name in (flag.removeprefix("--").replace("-", "_") for flag, _, _ in SIZES)
        if getattr(arguments, name) is not None
    }
    gpus = arguments.gpus
    by_layers = getattr(arguments, "engine", None) == "llama.cpp"
    filled = "pipeline_parallel_size" if by_layers else "tensor_parallel_size"
    rest = 1
    for name, size in sizes.items():
        if name not in (filled, "decode_context_parallel_size"):
            rest *= size
    if gpus is not None and filled not in sizes:
        if gpus < 1:
            raise PlanRefused(f"--gpus {gpus}: give at least 1")
        if rest < 1 or gpus % rest:
            raise PlanRefused(f"--gpus {gpus} cannot be split into {rest} equal parts")
        sizes[filled] = gpus // rest
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


def checked(kind: type[Inputs], **values: Any) -> Inputs:
    """kind(**values), its complaint as one sentence."""
    try:
        return kind(**values)
    except ValidationError as error:
        raise PlanRefused(first_error(error)) from None


def tokens(text: str) -> int:
    """parse_tokens() as argparse wants it."""
    try:
        return parse_tokens(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None
