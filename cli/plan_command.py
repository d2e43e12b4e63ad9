"""`plan`: what a deployment needs, whether it fits, and the arithmetic."""

import json
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from cli import deployment_flags, engine_flags
from cli.deployment_flags import checked, chosen_deployment, chosen_gpu, tokens
from cli.source import read_model, title
from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.export import as_data
from planner.hf_config import parse
from planner.model import Model
from planner.plan import Plan, make_plan
from planner.verdict import hindrance
from planner.workload import Workload

if TYPE_CHECKING:
    from planner.engines.engine import EngineFigures

CONTEXT_HELP = "tokens a sequence, such as 32768 or 32k; 8192, or the model's own if shorter"
PREFIX_HELP = "tokens that all sequences begin with"
DEFAULT_CONTEXT = 8192
FORMATS = ("text", "json", "markdown", "html", "csv")


def add_to(parser: ArgumentParser) -> None:
    """The command's flags."""
    deployment_flags.add_to(parser)
    parser.add_argument("--context", type=tokens, metavar="N", help=CONTEXT_HELP)
    parser.add_argument("--concurrency", type=int, default=1, metavar="N", help="sequences at once")
    parser.add_argument(
        "--shared-prefix-tokens", type=tokens, default=0, metavar="N", help=PREFIX_HELP
    )
    parser.add_argument("--beam-width", type=int, default=1, metavar="N", help="beams a sequence")
    parser.add_argument("--prompt-tokens", type=tokens, metavar="N", help="shared by the beams")
    engine_flags.add_to(parser)
    parser.add_argument("--format", choices=FORMATS, default="text")
    parser.add_argument(
        "--exit-code", action="store_true", help="status 1 when it does not fit, start or serve"
    )
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> str:
    """The plan in the chosen format."""
    config = read_model(arguments.model)
    model, gpu = parse(config, title(arguments.model)), chosen_gpu(arguments)
    deployment, workload = chosen_deployment(arguments), chosen_workload(arguments, model)
    engine = engine_flags.figures_of(arguments, model, gpu, deployment, workload, config)
    if engine is not None:
        own = {
            "block_size": engine.block_size,
            "max_num_batched_tokens": engine.settings["max_num_batched_tokens"],
        }
        deployment = checked(Deployment, **{**deployment.model_dump(), **own})
    plan = make_plan(model, gpu, deployment, workload)
    arguments.status = int(arguments.exit_code and not _serves(plan, engine))
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


def _serves(plan: Plan, engine: "EngineFigures | None") -> bool:
    """Whether it fits, nothing else is against it, and the engine starts and holds a sequence."""
    starts = engine is None or (engine.refused is None and engine.requests > 0)
    return starts and plan.fits and hindrance(plan) is None


def chosen_workload(arguments: Namespace, model: Model) -> Workload:
    """The workload of the flags; without a context, one that the model can take."""
    stated = model.max_position_embeddings or DEFAULT_CONTEXT
    context = arguments.context
    if arguments.prompt_tokens is not None and arguments.beam_width == 1:
        raise PlanRefused("--prompt-tokens are what beams share: add --beam-width, or leave it out")
    return checked(
        Workload,
        context=min(DEFAULT_CONTEXT, stated) if context is None else context,
        concurrency=arguments.concurrency,
        shared_prefix_tokens=arguments.shared_prefix_tokens,
        beam_width=arguments.beam_width,
        prompt_tokens=arguments.prompt_tokens,
    )
