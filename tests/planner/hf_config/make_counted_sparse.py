"""Recount the cases of counted_sparse.json with transformers, by hand.

    cd tests/planner/hf_config && python make_counted_sparse.py data/counted_sparse.json

Every entry of "cases" holds a "config". This adds what transformers 5.24 makes of it: unique
parameters of the text decoder and its head (tied weights once, buffers left out), those that work
on one token, the embedding's, and, from two runs of the model on the CPU in bfloat16, the bytes of
one sequence's cache at four lengths (windows as the cache layers state them) and of its recurrent
state. "without" holds total and active parameters where one field is left out and its class has a
value for it. Positions that a cache keeps (copies of an input) are left out. Nothing here imports
the planner. transformers makes the file; tests do not need it.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModel, AutoModelForCausalLM, DynamicCache

LENGTHS = (1024, 8192, 32768, 131072)
SHORT, LONG = 40, 72
PER_TOKEN = ("num_experts_per_tok", "moe_topk", "moe_k", "top_k_experts")
# Types whose caches these two runs cannot measure: their keys are held twice, or never run.
COUNTED_ONLY = {"deepseek_v4"}


def decoder(config: dict[str, Any], device: str) -> tuple[Any, Any, bool]:
    """The decoder of `config`, its own configuration, and whether it has its head."""
    whole = CONFIG_MAPPING[config["model_type"]].from_dict(dict(config))
    text = whole.get_text_config(decoder=True)
    with torch.device(device):
        try:
            model = AutoModelForCausalLM.from_config(text, attn_implementation="eager")
        except ValueError as error:
            if "Unrecognized configuration class" not in str(error):
                raise
            return AutoModel.from_config(text, attn_implementation="eager"), text, False
    return model, text, True


def parameters(config: dict[str, Any]) -> dict[str, int]:
    """Unique parameters, those that work on one token, and the input embedding's."""
    model, text, has_head = decoder(config, "meta")
    model.tie_weights()
    unique = {id(weight): (name, weight) for name, weight in model.named_parameters()}
    total = sum(weight.numel() for _, weight in unique.values())
    embedding = model.get_input_embeddings().weight.numel()
    if not has_head and not getattr(text, "tie_word_embeddings", False):
        total += embedding
    routed = r"(input|output)_linear" if text.model_type == "jetmoe" else r"\.experts\."
    experts = text.ffn_config.moe_num_experts if text.model_type == "dbrx" else None
    active = next((getattr(text, n) for n in PER_TOKEN if getattr(text, n, None)), 0)
    if text.model_type == "dbrx":
        active = text.ffn_config.moe_top_k
    idle = 0
    for name, weight in unique.values():
        if re.search(routed, name) and "shared" not in name and "norm" not in name:
            count = experts or weight.shape[0]
            idle += weight.numel() // count * (count - active)
    return {"total": total, "active": total - idle, "embedding": embedding}


def without(config: dict[str, Any]) -> dict[str, list[int]]:
    """Total and active parameters where one field is left out, as far as the class allows it."""
    found = {}
    for name in config:
        try:
            counted = parameters({k: value for k, value in config.items() if k != name})
        except Exception:  # whatever the class says where it cannot do without
            continue
        found[name] = [counted["total"], counted["active"]]
    return found


def tensors(value: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor under `value`, whatever holds it."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from tensors(item, f"{name}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from tensors(item, f"{name}.{index}")


def held(model: Any, text: Any, tokens: int) -> list[tuple[str, int | None, torch.Tensor]]:
    """Name, window and tensor of everything one sequence of `tokens` tokens leaves behind."""
    ids = torch.randint(3, min(text.vocab_size, 200), (1, tokens))
    griffin = text.model_type == "recurrent_gemma"
    kept = {}
    if griffin:
        model.model._setup_cache(text, 1, ids.device, torch.bfloat16)
        kept["past_key_values"] = DynamicCache(config=text)
    with torch.no_grad():
        output = model(ids, use_cache=True, **kept)
    names = ("past_key_values", "cache_params", "state")
    cache = kept.get("past_key_values") or next(
        getattr(output, name) for name in names if getattr(output, name, None) is not None
    )
    found: list[tuple[str, int | None, torch.Tensor]] = []
    for layer in getattr(cache, "layers", [cache]):
        window = layer.sliding_window if getattr(layer, "is_sliding", False) else None
        content = layer if isinstance(layer, list) else vars(layer)
        found += [
            (name, window, t)
            for name, t in tensors(content)
            if t.ndim >= 2 and t.numel() and "position_ids" not in name
        ]
    found += [("linear", None, t) for _, t in tensors(getattr(cache, "linear_cache", []))]
    if griffin:
        for block in (layer.temporal_block for layer in model.model.layers):
            if hasattr(block, "rg_lru"):
                found.append(("conv", None, block.conv1d_state))
                found.append(("recurrent", None, block.rg_lru.recurrent_states))
    return found


def memory(config: dict[str, Any]) -> dict[str, Any]:
    """Bytes of one sequence's cache at each length, and of its state."""
    model, text, _ = decoder(config, "cpu")
    model = model.to(torch.bfloat16).eval()
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if "inv_freq" in name:
                setattr(module, name, buffer.float())
    cache = dict.fromkeys(LENGTHS, 0)
    state = 0
    pairs = zip(held(model, text, SHORT), held(model, text, LONG), strict=True)
    for (name, window, short), (_, _, long) in pairs:
        if window is not None and name.strip(".") in ("keys", "values"):
            per_token = short.numel() // short.shape[2]
            for n in LENGTHS:
                cache[n] += 2 * per_token * min(n, window)
        elif short.numel() != long.numel():
            per_token, rest = divmod(long.numel() - short.numel(), LONG - SHORT)
            if rest or per_token * SHORT != short.numel():
                raise ValueError(f"{name} does not grow with the tokens")
            for n in LENGTHS:
                cache[n] += 2 * per_token * n
        else:
            state += short.numel() * short.element_size()
    return {"kv_cache_bytes": {str(n): size for n, size in cache.items()}, "state_bytes": state}


def main(path: Path) -> None:
    import transformers

    data = json.loads(path.read_text())
    for case in data["cases"]:
        case["parameters"] = parameters(case["config"])
        case["without"] = without(case["config"])
        if case["config"]["model_type"] not in COUNTED_ONLY:
            case |= memory(case["config"])
    data["made_with"] = f"transformers {transformers.__version__}"
    lines = ",\n".join(json.dumps(case) for case in data["cases"])
    head = json.dumps({key: value for key, value in data.items() if key != "cases"})[:-1]
    path.write_text(f'{head}, "cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main(Path(sys.argv[1]))
