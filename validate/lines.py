"""Lines from a process, each as soon as it is there, and a limit to how long one waits for it."""

import os
import selectors
from typing import IO


class Lines:
    """Reads the descriptor itself: a buffered stream keeps lines that `select` cannot see."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream  # kept open
        self._descriptor = stream.fileno()
        self._pending = b""

    def next(self, seconds: float) -> str | None:
        """The next line; "" at the end of the stream, None when nothing came for that long."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._descriptor, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                if not selector.select(seconds):
                    return None
                piece = os.read(self._descriptor, 65536)
                if not piece:
                    return ""
                self._pending += piece
        line, self._pending = self._pending.split(b"\n", 1)
        return line.decode("utf-8") + "\n"
