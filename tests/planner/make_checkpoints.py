"""Names, dtypes and shapes that transformers saves models with, for tests/planner/files, by hand.

    python tests/planner/make_checkpoints.py tests/planner/data/checkpoints.json

Every line of the file names a preset. This adds the tensors of its checkpoint as make_gguf_headers
makes them, without prediction layers. Numbers within a name are stars, with their ranges beside.
transformers 5.24 and torch are needed to make the file, not to run the tests.
"""

import json
import re
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from make_gguf_headers import PRESETS, checkpoint, spans

NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


def patterns(tensors: dict[str, tuple[str, tuple[int, ...]]]) -> list[list[str]]:
    """Names with stars, dtype and shape, ranges of layers, ranges of experts."""
    held: dict[tuple[str, str], dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for name, (dtype, shape) in tensors.items():
        layer, expert = [*map(int, NUMBER.findall(name)), 0, 0][:2]
        kind = f"{dtype} {'x'.join(map(str, shape))}"
        held[NUMBER.sub("*", name), kind][layer].append(expert)
    found = []
    for (name, kind), layers in held.items():
        alike = defaultdict(list)
        for layer, experts in layers.items():
            alike[spans(experts)].append(layer)
        found += [[name, kind, spans(at), experts] for experts, at in alike.items()]
    return found


def main() -> None:
    """Make every checkpoint of the file again."""
    path = Path(sys.argv[1])
    lines = []
    for name in (case["name"] for case in json.loads(path.read_text("utf-8"))):
        preset = json.loads((PRESETS / f"{name}.json").read_text("utf-8"))
        config: dict[str, Any] = preset["config"]
        with tempfile.TemporaryDirectory() as folder:
            tensors = checkpoint(config, Path(folder), predicts=False)
        lines.append(json.dumps({"name": name, "tensors": patterns(tensors)}))
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", "utf-8")


if __name__ == "__main__":
    main()
