"""Recount recurrent states with transformers, by hand.

    cd tests/planner/hf_config && python make_counted_states.py data/counted_states.json

Every entry of "cases" holds a small "config" and a "dtype". This runs the model of transformers
5.24 on the CPU (a prompt of "tokens", then one token more where there are states to carry on) and
notes the bytes of every layer's states in whatever the class keeps them: convolution states and
recurrent states of a cache, lists of its own, or attributes of its modules. Keys and values are
left out, except for DeepSeek-V4, whose caches are all noted. Nothing here imports the planner.
transformers is needed to make the file, not to run the tests.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STATES = ("conv_states", "recurrent_states", "conv1d_state")
COMPRESSED = (
    "keys", "buffer_kv", "buffer_gate", "compressed_kv", "overlap_kv", "overlap_gate",
)  # fmt: skip


def tensors(found: Any) -> Iterator[Any]:
    """Every tensor in nested lists and dictionaries."""
    if hasattr(found, "element_size"):
        yield found
    elif isinstance(found, dict):
        yield from tensors(list(found.values()))
    elif isinstance(found, (list, tuple)):
        for one in found:
            yield from tensors(one)


def count(config: dict[str, Any], dtype: str, tokens: int) -> dict[str, int]:
    """Bytes of each layer's states for one sequence."""
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    text = CONFIG_MAPPING[config["model_type"]].from_dict(dict(config))
    text.pad_token_id = None
    model = AutoModelForCausalLM.from_config(
        text, attn_implementation="eager", dtype=getattr(torch, dtype)
    ).eval()
    prompt = torch.ones((1, tokens), dtype=torch.long)
    compressed = config["model_type"] == "deepseek_v4"
    with torch.no_grad():
        out = model(input_ids=prompt, use_cache=True)
        names = ("past_key_values", "cache_params", "state")
        name = next((n for n in names if getattr(out, n, None) is not None), None)
        if name is not None and not compressed:
            past = {name: getattr(out, name)}
            out = model(input_ids=prompt[:, -1:], use_cache=True, **past)
    found: dict[str, int] = {}

    def add(layer: int, kept: Any) -> None:
        size = sum(t.element_size() * t.numel() for t in tensors(kept))
        if size:
            found[str(layer)] = found.get(str(layer), 0) + size

    if name is None:
        for path, module in model.named_modules():
            for state in STATES:
                if ".layers." in path:
                    add(int(path.split(".layers.")[1].split(".")[0]), getattr(module, state, None))
        return found
    cache = getattr(out, name)
    if name == "state":
        for kept in cache:
            for layer in range(kept.shape[-1]):
                add(layer, kept[..., layer])
    for layer, kept in getattr(cache, "rnn_state", {}).items():
        add(layer, kept)
    for layer, kept in enumerate(getattr(cache, "linear_cache", [])):
        add(layer, kept)
    for layer, one in enumerate(getattr(cache, "layers", [])):
        for state in COMPRESSED if compressed else STATES:
            add(layer, getattr(one, state, None))
    return found


def main(path: Path) -> None:
    import transformers

    data = json.loads(path.read_text())
    for case in data["cases"]:
        case["state_bytes"] = count(case["config"], case["dtype"], case["tokens"])
    data["made_with"] = f"transformers {transformers.__version__} on the CPU"
    lines = ",\n".join(json.dumps(case) for case in data["cases"])
    head = json.dumps({k: v for k, v in data.items() if k != "cases"})[:-1]
    path.write_text(f'{head}, "cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main(Path(sys.argv[1]))
