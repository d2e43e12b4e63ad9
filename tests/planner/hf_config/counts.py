"""What transformers counted for the configurations in data/, and the same of a parsed one."""

import json
from pathlib import Path
from typing import Any

from planner.model import Model
from planner.parameters import count
from tests.planner.models import cache_bytes

DATA = Path(__file__).parent / "data"


def cases(name: str) -> list[dict[str, Any]]:
    """The cases of data/counted_<name>.json; the make_counted files beside it wrote them."""
    found: list[dict[str, Any]] = json.loads((DATA / f"counted_{name}.json").read_text())["cases"]
    return found


def parameters(model: Model) -> dict[str, int]:
    """As a case names them."""
    found = count(model)
    return {"total": found.total, "active": found.active, "embedding": found.embedding}


def cache(model: Model, case: dict[str, Any]) -> dict[str, int]:
    """Bytes of the cache at the lengths of a case."""
    return {tokens: cache_bytes(model, int(tokens)) for tokens in case["kv_cache_bytes"]}
