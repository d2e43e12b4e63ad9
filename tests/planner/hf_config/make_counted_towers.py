"""Recount whole models, towers and projectors included, with transformers on the meta device.

    cd tests/planner/hf_config && python make_counted_towers.py data/counted_towers.json

Every entry of "cases" holds a "config" as transformers saves it. This adds the unique parameters of
the class that its `model_type` names (tied weights once, buffers left out). Nothing here imports
the planner. transformers is needed to make the file, not to run the tests.
"""

import json
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

TASKS = (
    "MULTIMODAL_LM",
    "IMAGE_TEXT_TO_TEXT",
    "SPEECH_SEQ_2_SEQ",
    "SEQ_TO_SEQ_CAUSAL_LM",
    "CAUSAL_LM",
)


def class_of(model_type: str) -> Any:
    """The class with a language-model head."""
    import transformers
    from transformers.models.auto import modeling_auto

    for task in TASKS:
        name = getattr(modeling_auto, f"MODEL_FOR_{task}_MAPPING_NAMES").get(model_type)
        if name:
            return getattr(transformers, name if isinstance(name, str) else name[0])
    raise KeyError(model_type)


def plainly(config: Any) -> None:
    """Attention that needs no library, in every part."""
    config._attn_implementation = "eager"
    for name in getattr(config, "sub_configs", {}):
        part = getattr(config, name, None)
        if part is not None:
            plainly(part)


def count(config: dict[str, Any]) -> int:
    """Parameters of one configuration's whole class."""
    import torch
    from transformers import CONFIG_MAPPING

    whole = CONFIG_MAPPING[config["model_type"]].from_dict(deepcopy(config))
    plainly(whole)
    with torch.device("meta"):
        model = class_of(config["model_type"])(whole)
    model.tie_weights()
    return sum(p.numel() for p in {id(p): p for p in model.parameters()}.values())


def main(path: Path) -> None:
    import transformers

    data = json.loads(path.read_text())
    for case in data["cases"]:
        try:
            case["parameters"] = count(case["config"])
        except Exception as error:
            raise SystemExit(f"{case['config']['model_type']}: {error}") from error
    data["made_with"] = f"transformers {transformers.__version__} on the meta device"
    lines = ",\n".join(json.dumps(case) for case in data["cases"])
    head = json.dumps({k: v for k, v in data.items() if k != "cases"})[:-1]
    path.write_text(f'{head}, "cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main(Path(sys.argv[1]))
