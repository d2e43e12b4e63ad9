"""The command line: `python -m planner plan` and its siblings, one module each.

Answers go to stdout; an error is one line on stderr and exit status 2.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from planner.errors import SizewellError

COMMANDS = {
    "inspect": "parameters and cache of model configurations",
    "plan": "does it fit, how many users, how long a context",
    "latency": "TTFT, TPOT, throughput and cost of a deployment",
    "extend": "a longer context by scaled rotary positions, and what sets it",
    "search": "the cheapest hardware for a load and speed",
    "serve": "traffic on the plan's replicas, simulated",
    "train": "memory, time and cost of training and fine-tuning",
    "list": "names of models, GPUs and formats",
}
"""Each is a module `cli.<name>_command`, imported only when it is asked for."""


class Parser(argparse.ArgumentParser):
    """argparse, with errors in one line and no guessing at shortened flags."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "allow_abbrev": False})

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"{self.prog}: {message}\n")
        sys.exit(2)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = Parser(
        prog="python -m planner",
        description="Memory plans for LLM inference, in exact bytes.",
    )
    commands = parser.add_subparsers(dest="command", parser_class=Parser)
    words = sys.argv[1:] if argv is None else argv
    for name, help_text in COMMANDS.items():
        command = commands.add_parser(name, help=help_text)
        if name in words[:1]:
            import_module(f"cli.{name}_command").add_to(command)
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.error(f"choose one of {', '.join(commands.choices)}; --help says what each does")
    try:
        sys.stdout.write(arguments.run(arguments))
        sys.stdout.flush()
    except SizewellError as error:
        sys.stderr.write(f"{parser.prog} {arguments.command}: {' '.join(str(error).split())}\n")
        return 2
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    return int(getattr(arguments, "status", 0))
