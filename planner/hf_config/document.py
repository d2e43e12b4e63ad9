"""A configuration as text -> its JSON object, or one sentence about what is wrong with it."""

import json
from typing import Any

from planner.errors import ConfigRefused

MAX_BYTES = 4 * 2**20


def read_document(text: str | bytes) -> dict[str, Any]:
    """The JSON object in `text`. Raises ConfigRefused for anything else, however broken."""
    if len(text) > MAX_BYTES:
        raise ConfigRefused(
            f"the file has {len(text):,} bytes, and a model configuration has a few thousand: "
            "give the config.json, not the weights or the tokenizer"
        )
    try:
        found = json.loads(text)
    except RecursionError:
        raise ConfigRefused("the file is nested too deeply to be a model configuration") from None
    except UnicodeDecodeError:
        raise ConfigRefused("the file is not text, so it is no config.json") from None
    except json.JSONDecodeError as error:
        raise ConfigRefused(
            f"the file is not valid JSON: {error.msg.lower()} at line {error.lineno}, "
            f"column {error.colno}"
        ) from None
    except ValueError:
        raise ConfigRefused("the file holds a number too long to be one") from None
    if not isinstance(found, dict):
        raise ConfigRefused("the file holds no JSON object, so it is no model configuration")
    return found
