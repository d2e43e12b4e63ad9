"""The command line: `python -m planner plan` and its siblings, one module each.

Answers go to stdout; an error is one line on stderr and exit status 2.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from planner.errors import SizewellError


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
    from cli import (
        inspect_command,
        latency_command,
        list_command,
        plan_command,
        search_command,
        serve_command,
        train_command,
    )

    inspect_command.add_to(commands)
    plan_command.add_to(commands)
    latency_command.add_to(commands)
    search_command.add_to(commands)
    serve_command.add_to(commands)
    train_command.add_to(commands)
    list_command.add_to(commands)
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
