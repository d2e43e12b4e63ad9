"""Where a widget keeps its value: in the link, and for the session where it leaves the page."""

from typing import Any

BOUND: dict[str, Any] = {"bind": "query-params"}
KEPT: dict[str, Any] = {**BOUND, "persist_state": "session"}
