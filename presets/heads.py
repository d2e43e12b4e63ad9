"""Published EAGLE heads of heads.json: what drafts for a well-known model, by its Hub id.

    head_config("yuhuili/EAGLE3-LLaMA3.1-Instruct-8B")   # as drafter() takes it
    head_ids("eagle3", (4096, 128256))                   # those for Llama 3.1 8B

A head's configuration does not say that it is one: the layers alone would be sized as a model.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_name("heads.json")


def head_config(hub_id: str) -> dict[str, Any] | None:
    """The configuration of a head, by its Hub id in any case, as a new dict; None if unknown."""
    found = _find(hub_id)
    return None if found is None else dict(found["config"])


def head_id(name: str) -> str | None:
    """The Hub id of a head as its repository spells it; None if unknown."""
    found = _find(name)
    return None if found is None else str(found["hub_id"])


def head_ids(method: str | None = None, target: tuple[int, int] | None = None) -> tuple[str, ...]:
    """Hub ids of the heads that draft by `method`, for a target of that width and vocabulary."""
    return tuple(
        head["hub_id"]
        for head in _heads()
        if method in (None, head["method"])
        and target in (None, (head["config"]["hidden_size"], head["config"]["vocab_size"]))
    )


def _find(name: str) -> dict[str, Any] | None:
    wanted = name.strip().lower()
    return next((head for head in _heads() if head["hub_id"].lower() == wanted), None)


@cache
def _heads() -> tuple[dict[str, Any], ...]:
    return tuple(json.loads(_FILE.read_text(encoding="utf-8"))["heads"])
