"""The command line: `python -m planner plan` and its siblings, one module each.

Answers go to stdout; an error is one line on stderr and exit status 2.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper

from cli.parser import Parser
from planner.errors import SizewellError

COMMANDS = {
    "inspect": "parameters and cache of model configurations",
    "plan": "does it fit, how many users, how long a context",
    "latency": "TTFT, TPOT, throughput and cost of a deployment",
    "extend": "a longer context by scaled rotary positions, and what sets it",
    "search": "the cheapest hardware for a load and speed",
    "serve": "traffic on the plan's replicas, simulated",
    "train": "memory, time and cost of training and fine-tuning",
    "list": "names of models, heads, GPUs and formats",
}
"""Each is a module `cli.<name>_command`, imported only when it is asked for."""


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
    arguments, unknown = parser.parse_known_args(argv)
    if arguments.command is None:
        parser.error(f"choose one of {', '.join(commands.choices)}; --help says what each does")
    if unknown:
        commands.choices[arguments.command].refuse(unknown[0])
    try:
        answer = arguments.run(arguments)
    except SizewellError as error:
        sys.stderr.write(f"{parser.prog} {arguments.command}: {' '.join(str(error).split())}\n")
        return 2
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        print(answer, end="", flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 1
        why = (error.strerror or "no reason given").lower()
        sys.stderr.write(f"{parser.prog} {arguments.command}: the answer was not written: {why}\n")
        return 2
    return int(getattr(arguments, "status", 0))
