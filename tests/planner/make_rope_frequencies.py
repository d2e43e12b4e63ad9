"""Rotary frequencies as transformers computes them, for tests/planner/rope, by hand.

    python tests/planner/make_rope_frequencies.py tests/planner/data/rope_frequencies.json

Every case holds rope_parameters, rotated dimensions, max_position_embeddings and a text's length;
this adds what ROPE_INIT_FUNCTIONS of transformers 5.23 makes of them. Nothing here imports the
planner. transformers and torch are needed to make the file, not to run the tests.
"""

import json
import sys
from pathlib import Path
from typing import Any


def measured(case: dict[str, Any]) -> dict[str, Any]:
    """The case with inverse frequencies and attention factor."""
    from transformers import PretrainedConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    rope, width = case["rope"], case["width"]
    config: Any = PretrainedConfig()
    config.hidden_size, config.num_attention_heads, config.head_dim = 4 * width, 4, width
    config.max_position_embeddings = case["longest"]
    config.rope_parameters = dict(rope)
    found, factor = ROPE_INIT_FUNCTIONS[rope["rope_type"]](config, "cpu", seq_len=case["length"])
    turns = [float(f"{turn:.9g}") for turn in found.tolist()]
    return {**case, "inverse": turns, "attention_factor": float(factor)}


def main() -> None:
    """Recount every case of the file."""
    path = Path(sys.argv[1])
    cases = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps([measured(case) for case in cases], indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
