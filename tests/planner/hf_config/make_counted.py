"""Recount the cases of a golden file with transformers on the meta device, by hand.

    cd tests/planner/hf_config && python make_counted.py data/counted_dense.json

Every entry of "cases" holds a "config". This adds what transformers 5.23 makes of it: unique
parameters of the text decoder and its head (tied weights once, buffers left out), those that work
on one token, the embedding's, and the bytes of one sequence's cache at four lengths (bf16: shapes
from a forward pass on the meta device, windows as the cache layers state them). Nothing here
imports the planner. transformers is needed to make the files, not to run the tests.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

LENGTHS = (1024, 8192, 32768, 131072)
PROBE = 5


SMALL = 50_000_000


def text_model(config: dict[str, Any], device: str = "meta") -> tuple[Any, Any, bool]:
    """The decoder of `config` in bfloat16, its own config, and whether it has its head."""
    import torch
    from transformers import CONFIG_MAPPING, AutoModel, AutoModelForCausalLM

    whole = CONFIG_MAPPING[config["model_type"]].from_dict(dict(config))
    text = whole.get_text_config(decoder=True)
    text.pad_token_id = None
    for switch in ("num_mtp_layers", "num_nextn_predict_layers"):
        if getattr(text, switch, None):
            setattr(text, switch, 0)
    options = {"attn_implementation": "eager", "dtype": torch.bfloat16}
    with torch.device(device):
        try:
            return AutoModelForCausalLM.from_config(text, **options), text, True
        except ValueError as error:
            if "Unrecognized configuration class" not in str(error):
                raise
            return AutoModel.from_config(text, **options), text, False


def count(config: dict[str, Any]) -> dict[str, Any]:
    """Parameters and cache bytes of one configuration."""
    model, text, has_head = text_model(config)
    embedding = model.get_input_embeddings().weight
    total = sum(p.numel() for p in {id(p): p for p in model.parameters()}.values())
    idle = idle_experts(model, text)
    if not has_head and not getattr(text, "tie_word_embeddings", False):
        total += embedding.numel()
    return {
        "parameters": {
            "total": total,
            "active": total - idle,
            "embedding": embedding.numel(),
        },
        "kv_cache_bytes": cache_bytes(config, model, text, total),
    }


def idle_experts(model: Any, text: Any) -> int:
    """Parameters of routed experts that one token does not visit."""
    fused = re.compile(r"\.experts\.(gate_up_proj|down_proj|gate_proj|up_proj)(_bias)?$")
    per_token = next(
        (n for f in PER_TOKEN if isinstance(n := getattr(text, f, None), int)),
        0,
    )
    idle = 0
    for name, weight in model.named_parameters():
        if fused.search(name):
            idle += weight.numel() // weight.shape[0] * (weight.shape[0] - per_token)
    return idle


PER_TOKEN = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k_experts")


def cache_bytes(config: dict[str, Any], model: Any, text: Any, total: int) -> dict[str, int]:
    """Bytes of keys and values at each length: bf16, one sequence, windows used.

    A model whose code looks at values is run on the CPU, if it is small.
    """
    import torch
    from transformers import DynamicCache

    cache = DynamicCache(config=text)
    tokens = torch.ones((1, PROBE), dtype=torch.long)
    try:
        model(input_ids=tokens.to("meta"), past_key_values=cache, use_cache=True)
    except RuntimeError as error:
        if "item()" not in str(error) or total > SMALL:
            raise
        model, text, _ = text_model(config, "cpu")
        cache = DynamicCache(config=text)
        model(input_ids=tokens, past_key_values=cache, use_cache=True)
    found = dict.fromkeys(LENGTHS, 0)
    for layer in cache.layers:
        if getattr(layer, "keys", None) is None:
            continue
        window = getattr(layer, "sliding_window", None)
        elements = sum(t.shape[1] * t.shape[3] for t in (layer.keys, layer.values) if t.numel())
        if text.model_type == "falcon" and text.new_decoder_architecture:
            elements = elements // text.num_attention_heads * text.num_kv_heads
        for n in LENGTHS:
            found[n] += 2 * elements * (n if window is None else min(n, window))
    return {str(n): size for n, size in found.items()}


def main(path: Path) -> None:
    import transformers

    data = json.loads(path.read_text())
    for case in data["cases"]:
        try:
            case |= count(case["config"])
        except Exception as error:
            raise SystemExit(f"{case.get('name')}: {type(error).__name__}: {error}") from error
    data["made_with"] = f"transformers {transformers.__version__} on the meta device"
    lines = ",\n".join(json.dumps(case) for case in data["cases"])
    head = json.dumps({k: v for k, v in data.items() if k != "cases"})[:-1]
    path.write_text(f'{head}, "cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main(Path(sys.argv[1]))
