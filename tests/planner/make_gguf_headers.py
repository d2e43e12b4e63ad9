"""Headers as llama.cpp's converter and transformers write them, for tests/planner/files, by hand.

    python tests/planner/make_gguf_headers.py LLAMA_CPP tests/planner/data/gguf_headers.json

Every line of the file has a model's configuration, or the id of a preset. This adds the metadata
and tensors of its Q8_0 file, made by the converter in the checkout LLAMA_CPP (commit 0c1e5709) of
a checkpoint without data that has the names and shapes of transformers 5.24. Prediction layers,
which transformers leaves out, are the last layer again. Nothing here imports the planner.
transformers, torch, safetensors and gguf's requirements are needed to make the file, not to run
the tests.
"""

import json
import re
import struct
import sys
import tempfile
from math import prod
from pathlib import Path
from typing import Any

Tensors = dict[str, tuple[str, tuple[int, ...]]]
SIZES = {"BF16": 2, "F32": 4}
PREDICTORS = ("deepseek_v32", "exaone_moe", "glm4_moe", "glm_moe_dsa")
OWN_TABLES = ("glm4_moe",)
"""Model types whose checkpoints repeat embedding and head in a prediction layer."""
PRESETS = Path(__file__).parents[2] / "presets" / "models"


def checkpoint(config: dict[str, Any], folder: Path, *, predicts: bool = True) -> Tensors:
    """Names, dtypes and shapes that transformers saves a model of `config` with, and those of its
    prediction layers."""
    import torch
    import transformers
    from transformers.core_model_loading import revert_weight_conversion

    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    read: Any = transformers.AutoConfig.from_pretrained(folder)
    name = (config.get("architectures") or [""])[0]
    with torch.device("meta"):
        if hasattr(transformers, name):
            model = getattr(transformers, name)._from_config(read, dtype=torch.bfloat16)
        else:
            model = transformers.AutoModelForCausalLM.from_config(read, dtype=torch.bfloat16)
    tied = set(model.all_tied_weights_keys or {})
    held = {name: t for name, t in model.state_dict().items() if name not in tied}
    config["architectures"] = config.get("architectures") or [type(model).__name__]
    saved = revert_weight_conversion(model, held)
    if config["model_type"] == "kimi_linear":  # whose dense layer it names like the others
        dense = "model.layers.0.block_sparse_moe."
        saved = {name.replace(dense, "model.layers.0.mlp."): t for name, t in saved.items()}
    found: Tensors = {
        name: ("F32" if t.dtype == torch.float32 else "BF16", tuple(t.shape))
        for name, t in saved.items()
    }
    more = prediction_layers(config.get("text_config", config), found) if predicts else {}
    return found | more


def prediction_layers(config: dict[str, Any], tensors: Tensors) -> Tensors:
    """The tensors that a published checkpoint has for prediction layers."""
    kind, hidden = str(config.get("model_type")), config.get("hidden_size")
    last = config.get("num_hidden_layers", 0) - 1
    own = {n.split(f"layers.{last}.")[1]: t for n, t in tensors.items() if f"layers.{last}." in n}
    norm, joined = ("BF16", (hidden,)), ("BF16", (hidden, 2 * (hidden or 0)))
    if kind.startswith(("qwen3_next", "qwen3_5")):
        found = {f"mtp.layers.0.{name}": tensor for name, tensor in own.items()}
        norms = ("pre_fc_norm_embedding", "pre_fc_norm_hidden", "norm")
        return found | {"mtp.fc.weight": joined} | {f"mtp.{n}.weight": norm for n in norms}
    found = {}
    for index in range(config.get("num_nextn_predict_layers") or 0):
        if kind in PREDICTORS:
            prefix = f"model.layers.{last + 1 + index}."
            found |= {prefix + name: tensor for name, tensor in own.items()}
            norms = ("enorm", "hnorm", "shared_head.norm")
            found |= {f"{prefix}{name}.weight": norm for name in norms}
            found[f"{prefix}eh_proj.weight"] = joined
            if kind in OWN_TABLES:
                table = ("BF16", (config["vocab_size"], hidden))
                found[f"{prefix}embed_tokens.weight"] = table
                found[f"{prefix}shared_head.head.weight"] = table
    return found


def write_empty(path: Path, tensors: Tensors) -> None:
    """A safetensors file of these tensors that takes no space."""
    entries, at = {}, 0
    for name, (dtype, shape) in tensors.items():
        end = at + prod(shape) * SIZES[dtype]
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(entries).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + at)


def converted(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Metadata and tensors that the converter writes, the tokenizer's left out."""
    import gguf
    from conversion import get_model_class
    from conversion.base import ModelBase, ModelType, get_model_architecture

    tensors = checkpoint(config, folder)
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    tables = [shape[0] for name, (_, shape) in tensors.items() if name.endswith("tokens.weight")]
    vocabulary = {"model": {"vocab": [0] * max(tables, default=0)}, "added_tokens": []}
    (folder / "tokenizer.json").write_text(json.dumps(vocabulary), "utf-8")
    write_empty(folder / "model.safetensors", tensors)
    read = ModelBase.load_hparams(folder, False)
    architectures = read.get("architectures") or config["architectures"]
    # The converter knows layer types by their older names, which transformers 5.24 changes.
    kept = {name: config[name] for name in ("layer_types",) if name in config}
    fields = {**config, **read, **kept, "architectures": architectures}
    own = get_model_class(get_model_architecture(fields, ModelType.TEXT), mmproj=False)
    kind = type(own.__name__, (own,), {"model_arch": own.model_arch, "set_vocab": lambda _: None})
    model: Any = kind(
        folder, gguf.LlamaFileType.MOSTLY_Q8_0, folder / "out.gguf", dry_run=True, hparams=fields
    )
    model = getattr(model, "impl", model)
    model.set_vocab = lambda: None
    model.prepare_tensors()
    model.prepare_metadata(vocab_only=False)
    pairs = [pair for part in model.gguf_writer.kv_data for pair in part.items()]
    listed: dict[str, dict[str, list[int]]] = {}
    for part in model.gguf_writer.tensors:
        for name, info in part.items():
            layer = re.fullmatch(r"blk\.(\d+)\.(.+)", name)
            stem = f"blk.*.{layer[2]}" if layer else name
            kind_and_shape = f"{info.dtype.name.lower()} {'x'.join(map(str, info.shape))}"
            held = listed.setdefault(stem, {}).setdefault(kind_and_shape, [])
            held += [int(layer[1])] if layer else []
    metadata = {
        key: entry.value
        for key, entry in pairs
        if key == "general.architecture" or not key.startswith(("general.", "tokenizer."))
    }
    named = {stem: {k: spans(at) for k, at in kinds.items()} for stem, kinds in listed.items()}
    return {"metadata": metadata, "tensors": named}


def spans(layers: list[int]) -> str:
    """Numbers as "0-3,7"; '' for none."""
    found: list[list[int]] = []
    for index in sorted(layers):
        if found and index == found[-1][1] + 1:
            found[-1][1] = index
        else:
            found.append([index, index])
    return ",".join(f"{a}-{b}" if a != b else f"{a}" for a, b in found)


def main() -> None:
    """Convert every model of the file again."""
    source, path = Path(sys.argv[1]), Path(sys.argv[2])
    sys.path[:0] = [str(source), str(source / "gguf-py")]
    lines = []
    for case in json.loads(path.read_text("utf-8")):
        config = case["config"]
        if isinstance(config, str):
            config = json.loads((PRESETS / f"{config}.json").read_text("utf-8"))["config"]
        with tempfile.TemporaryDirectory() as folder:
            made = converted(dict(config), Path(folder))
        given = {name: case[name] for name in ("name", "config") if name in case}
        lines.append(json.dumps({**given, **made}))
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", "utf-8")


if __name__ == "__main__":
    main()
