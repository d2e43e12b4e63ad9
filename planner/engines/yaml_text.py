"""YAML of plain data: mappings, lists, text, numbers and booleans, in block style.

Text is quoted like JSON, which YAML reads alike, unless no reader could take it for something else.
"""

import json
import re
from typing import Any

PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*\Z")
RESERVED = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def yaml_text(*documents: dict[str, Any]) -> str:
    """One or more documents, each ending in a line break."""
    return "---\n".join("\n".join(_lines(document)) + "\n" for document in documents)


def _lines(value: Any, indent: str = "") -> list[str]:
    lines = []
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, (dict, list)) and item:
                lines += [f"{indent}{_scalar(key)}:", *_lines(item, indent + "  ")]
            else:
                lines.append(f"{indent}{_scalar(key)}: {_scalar(item)}")
        return lines
    for item in value:
        if isinstance(item, (dict, list)) and item:
            first, *rest = _lines(item, indent + "  ")
            lines += [f"{indent}- {first[len(indent) + 2 :]}", *rest]
        else:
            lines.append(f"{indent}- {_scalar(item)}")
    return lines


def _scalar(value: Any) -> str:
    if isinstance(value, str) and PLAIN.match(value) and value.lower() not in RESERVED:
        return value
    return json.dumps(value, ensure_ascii=False)
