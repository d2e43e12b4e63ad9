"""A configuration as text -> its JSON object, or one sentence about what is wrong with it."""

import json
from typing import Any

from planner.errors import ConfigRefused
from planner.json_names import named_once

MAX_BYTES = 4 * 2**20
MAX_INDEX_BYTES = 64 * 2**20
"""Of an index, which names every tensor."""
INDEX = "model.safetensors.index.json"
WEIGHTS = (".safetensors", ".gguf", ".bin", ".pt", ".pth")
"""How files end that hold tensors."""


def read_document(text: str | bytes, most: int = MAX_BYTES) -> dict[str, Any]:
    """The JSON object in `text`. Raises ConfigRefused for anything else, however broken."""
    if len(text) > most:
        raise ConfigRefused(
            f"this has more than {most:,} bytes, and a model configuration a few thousand: "
            "give the config.json, not the weights or the tokenizer"
        )
    try:
        found = json.loads(text, object_pairs_hook=named_once)
        json.dumps(found, ensure_ascii=False).encode()
    except RecursionError:
        raise ConfigRefused("this is nested too deeply to be a model configuration") from None
    except UnicodeEncodeError:
        raise ConfigRefused("this escapes half of a character (\\ud800 to \\udfff alone)") from None
    except UnicodeDecodeError:
        raise ConfigRefused("this is not text, so it is no config.json") from None
    except json.JSONDecodeError as error:
        what = error.msg.lower().removesuffix(" at")
        raise ConfigRefused(
            f"this is not valid JSON: {what} at line {error.lineno}, column {error.colno}"
        ) from None
    except ValueError:
        raise ConfigRefused("this holds a number too long to be one") from None
    if not isinstance(found, dict):
        raise ConfigRefused("this holds no JSON object, so it is no model configuration")
    return found
