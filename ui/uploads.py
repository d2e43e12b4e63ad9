"""An uploaded file as text, or one sentence about why not."""

from typing import Any

from planner.errors import PlanRefused
from planner.hf_config.document import WEIGHTS
from planner.units import format_bytes

MAX_UPLOAD_MIB = 10
MAX_UPLOAD_BYTES = MAX_UPLOAD_MIB * 2**20


def text_of(file: Any) -> str:
    """The content of a file of at most MAX_UPLOAD_BYTES in UTF-8. Raises PlanRefused."""
    if file.size > MAX_UPLOAD_BYTES:
        raise PlanRefused(
            f"{file.name} has {format_bytes(file.size)}; files up to "
            f"{format_bytes(MAX_UPLOAD_BYTES)} can be opened, and a config.json has a few KiB."
        )
    if file.name.lower().endswith(WEIGHTS):
        raise PlanRefused(f"{file.name} holds weights: give the config.json beside it.")
    try:
        text = str(file.getvalue().decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise PlanRefused(f"{file.name} is not UTF-8 text: open another file.") from None
    if not text.strip():
        raise PlanRefused(f"{file.name} is empty: open another file.")
    return text
