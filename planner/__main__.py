"""`python -m planner`: the entry to the command line, which lives in `cli`."""

import gc
import os
import signal
import sys
from io import TextIOWrapper

FEW_COLLECTIONS = 200_000
"""New objects between two of them; an import makes many and leaves none behind."""


def start() -> int:
    """Run the command line without what only delays its answer; returns the exit status."""
    gc.set_threshold(FEW_COLLECTIONS)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    # Looking for plugins means reading the entry points of every package that is installed.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from cli import main

    return main()


sys.exit(start())
