"""Ask transformers which multimodal classes share their head with the embedding, by hand.

    cd tests/planner/hf_config && python make_wrapper_ties.py data/wrapper_ties.json

Builds the class of every wrapper in the file on the meta device for nine files: its own
tie_word_embeddings absent, true, false, and for each the text model's absent, true, false. Writes
T or F for each, in that order, and the text model's own default. Nothing here imports the planner;
tests do not need transformers.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING
from transformers.models.auto import modeling_auto

MAPPINGS = (
    "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING", "MODEL_FOR_MULTIMODAL_LM_MAPPING",
    "MODEL_FOR_CAUSAL_LM_MAPPING", "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING",
)  # fmt: skip
VALUES = (None, True, False)


def whole_class(config: type) -> Any:
    """The class that generates text from files of this configuration."""
    for name in MAPPINGS:
        mapping = getattr(modeling_auto, name)
        if config in mapping:
            return mapping[config]
    raise LookupError(f"no class for {config.__name__}")


def shared(wrapper: str, text_type: str, outer: bool | None, inner: bool | None) -> str:
    """T if the head is the embedding's tensor."""
    kind = CONFIG_MAPPING[wrapper]
    text: dict[str, Any] = {"model_type": text_type}
    config: dict[str, Any] = {"model_type": wrapper, "text_config": text}
    for holder, value in ((config, outer), (text, inner)):
        if value is not None:
            holder["tie_word_embeddings"] = value
    with torch.device("meta"):
        model = whole_class(kind)._from_config(kind.from_dict(config))
    head = model.get_output_embeddings()
    if head is None:
        head = next(m for name, m in model.named_modules() if name.endswith("lm_head"))
    return "T" if head.weight is model.get_input_embeddings().weight else "F"


def main(path: Path) -> None:
    import transformers

    data = json.loads(path.read_text())
    for wrapper, row in data["wrappers"].items():
        row["ties"] = "".join(shared(wrapper, row["text"], o, i) for o in VALUES for i in VALUES)
        text = CONFIG_MAPPING[wrapper]().get_text_config(decoder=True)
        row["default"] = bool(getattr(text, "tie_word_embeddings", False))
    data["made_with"] = f"transformers {transformers.__version__} on the meta device"
    rows = ",\n".join(
        f"{json.dumps(name)}: {json.dumps(r)}" for name, r in data["wrappers"].items()
    )
    head = json.dumps({key: value for key, value in data.items() if key != "wrappers"})[:-1]
    path.write_text(f'{head}, "wrappers": {{\n{rows}\n}}}}\n')


if __name__ == "__main__":
    main(Path(sys.argv[1]))
