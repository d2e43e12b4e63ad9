"""`train`: what training or fine-tuning takes, whether it fits, how long and for how much."""

import csv
import io
import json
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import Any, get_args

from cli.deployment_flags import tokens
from cli.source import read_model
from planner.errors import PlanRefused, SizewellError
from planner.training.recipe import USUAL, Lora, Recipe

FORMATS = ("text", "json", "markdown", "csv")
SIZES = (
    ("--sequence-length", "tokens a sequence"),
    ("--micro-batch-size", "sequences a GPU takes at once"),
    ("--gradient-accumulation-steps", "micro-batches a step"),
    ("--data-parallel-size", "replicas, over which states are sharded"),
    ("--tensor-parallel-size", "GPUs that share each layer"),
    ("--context-parallel-size", "GPUs that share each sequence"),
    ("--pipeline-parallel-size", "stages of layers"),
    ("--virtual-stages", "chunks of a stage, interleaved"),
    ("--expert-parallel-size", "GPUs that share the experts"),
    ("--gpus-per-node", "GPUs that share a host"),
    ("--stage3-max-live-parameters", "what ZeRO-3 keeps gathered"),
)
CHOICES = (
    "precision", "gradient_dtype", "reduce_dtype", "optimizer", "sharding",
    "reshard_after_forward", "offload_optimizer", "offload_parameters", "pipeline_schedule",
    "attention", "recomputation", "loss",
)  # fmt: skip
RATES = (
    ("--host-memory-gb-per-s", "host_memory_bytes_per_s",
     "what the optimizer reaches in a machine's host memory"),
    ("--nvme-gb-per-s", "nvme_bytes_per_s", "reads of a machine's NVMe; writes are taken as half"),
)  # fmt: skip
FSDP2_OFFLOADS = "fsdp2: both of optimizer and parameters to cpu, or neither "
HELP = {
    "offload_optimizer": FSDP2_OFFLOADS, "offload_parameters": FSDP2_OFFLOADS,
    "reduce_dtype": "what gradients are sent in; auto: the precision of training ",
    "reshard_after_forward": "fsdp2: default frees layers, not the root; in a pipeline nothing ",
}  # fmt: skip
METHODS = ("full", "lora", "qlora")
ON = ("dropout",)
OFF = ("master_weights", "sequence_parallel", "fused_kernels", "use_multi_rank_bucket_allreduce")


def add_to(parser: ArgumentParser) -> None:
    """The command's flags."""
    parser.add_argument(
        "--model",
        required=True,
        metavar="ID|PATH",
        help="a preset's id or Hub id, a file or a folder",
    )
    parser.add_argument("--gpu", required=True, metavar="ID", help="such as h100-sxm5-80gb")
    parser.add_argument("--gpus", type=int, metavar="N",
                        help="GPUs in all: replicas of what the other sizes take")  # fmt: skip
    parser.add_argument("--gpu-memory-bytes", type=int, metavar="N", help="of each GPU, as read")
    parser.add_argument("--calibration", metavar="RECORD", help="of this GPU, from validate")
    for name, help_text in SIZES:
        reader = tokens if name == "--sequence-length" else int
        usual = getattr(USUAL, name.removeprefix("--").replace("-", "_"))
        parser.add_argument(name, type=reader, metavar="N", help=f"{help_text} (default: {usual})")
    for name, _, help_text in RATES:
        parser.add_argument(name, type=float, metavar="GB/S", help=f"{help_text}; else assumed")
    for name in CHOICES:
        known = get_args(Recipe.model_fields[name].annotation)
        parser.add_argument(
            f"--{name.replace('_', '-')}", choices=known,
            help=f"{HELP.get(name, '')}(default: {getattr(USUAL, name)})",
        )  # fmt: skip
    for name in ON:
        parser.add_argument(f"--{name.replace('_', '-')}", action="store_true")
    for name in OFF:
        parser.add_argument(f"--no-{name.replace('_', '-')}", action="store_true")
    parser.add_argument("--method", choices=METHODS, help="full, lora (the default) or qlora")
    parser.add_argument("--lora-rank", type=int, metavar="N", help="adapters of this rank")
    for name in ("targets", "base"):
        known = get_args(Lora.model_fields[name].annotation)
        parser.add_argument(f"--lora-{name}", choices=known)
    parser.add_argument("--lora-quantize-moe-experts", action="store_true", default=None,
                        help="experts in the format of the base too")  # fmt: skip
    parser.add_argument("--usd-per-gpu-hour", "--price", dest="price", type=float, metavar="USD",
                        help="your price")  # fmt: skip
    parser.add_argument("--format", choices=FORMATS, default="text")
    parser.set_defaults(run=run)


def chosen_recipe(arguments: Namespace, usual: Recipe = USUAL) -> Any:
    """The Recipe of the flags; `usual` says what they leave open."""
    from pydantic import ValidationError

    from planner.export import first_error

    names = [flag.removeprefix("--").replace("-", "_") for flag, _ in SIZES]
    given = {
        name: getattr(arguments, name)
        for name in (*names, *CHOICES)
        if getattr(arguments, name) is not None
    }
    if arguments.gpus is not None:
        given["data_parallel_size"] = _replicas(arguments.gpus, given)
    for flag, name, _ in RATES:
        rate = getattr(arguments, flag.removeprefix("--").replace("-", "_"))
        if rate is not None and not rate > 0:
            raise PlanRefused(f"{flag} must be above 0, not {rate:g}")
        given |= {} if rate is None else {name: rate * 1e9}
    given |= {name: True for name in ON if getattr(arguments, name)}
    given |= {name: False for name in OFF if getattr(arguments, f"no_{name}")}
    lora = {
        name: getattr(arguments, f"lora_{name}")
        for name in ("rank", "targets", "base", "quantize_moe_experts")
        if getattr(arguments, f"lora_{name}") is not None
    }
    if lora and arguments.method == "full":
        raise PlanRefused("--lora flags are of adapters: leave them out, or --method full")
    if arguments.method == "qlora":
        lora.setdefault("base", "nf4")
    try:
        adapters = usual.lora
        if lora or arguments.method in ("lora", "qlora"):
            adapters = Lora(**{**dict(adapters or {}), **lora})
        return usual.replace(**given, lora=None if arguments.method == "full" else adapters)
    except ValidationError as error:
        raise PlanRefused(first_error(error)) from None


def _replicas(gpus: int, given: Mapping[str, Any]) -> int:
    """Replicas that fill so many GPUs. Raises PlanRefused where the sizes given do not."""
    each = 1
    for name in ("tensor_parallel_size", "context_parallel_size", "pipeline_parallel_size"):
        each *= given.get(name, 1)
    if gpus < 1 or each < 1 or gpus % each:
        raise PlanRefused(f"--gpus {gpus} cannot be replicas of {each} GPUs each")
    asked = given.get("data_parallel_size", gpus // each)
    if asked * each != gpus:
        raise PlanRefused(f"--gpus {gpus} contradicts the parallel sizes, which use {asked * each}")
    return gpus // each


def run(arguments: Namespace) -> str:
    """The training plan in the chosen format."""
    from cli.deployment_flags import chosen_gpu
    from planner.hf_config import parse
    from planner.training.capacity import limits
    from planner.training.export import as_data
    from planner.training.plan import plan_training
    from planner.training.recipe import usual
    from planner.training.speed import step_time
    from presets.offers import cheapest_offer
    from presets.speed import speed_of

    model = parse(read_model(arguments.model), arguments.model)
    gpu = chosen_gpu(arguments)
    own = usual(model).replace(gpus_per_node=gpu.gpus_of_machine)
    plan = plan_training(model, gpu, chosen_recipe(arguments, own))
    found = limits(plan)
    untimed = ""
    try:
        time = step_time(plan, speed_of(plan.gpu))
    except SizewellError as error:
        time, untimed = None, str(error)
    price = cheapest_offer(plan.gpu, plan.recipe.gpus, arguments.price)
    if arguments.format == "json":
        data = as_data(plan, found, time, price, untimed)
        return json.dumps(data, indent=1, allow_nan=False) + "\n"
    if arguments.format == "csv":
        return as_csv(plan)
    from ui.train_report import as_markdown, as_text

    report = as_markdown if arguments.format == "markdown" else as_text
    return report(plan, found, time, price, untimed)


def as_csv(plan: Any) -> str:
    """The derivation, one line of the arithmetic a row."""
    from planner.training.explain import derivation

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("label", "formula", "substitution", "bytes", "in_total"))
    for s in derivation(plan):
        writer.writerow((s.label, s.formula, s.substitution, s.bytes, str(s.in_total).lower()))
    return out.getvalue()
