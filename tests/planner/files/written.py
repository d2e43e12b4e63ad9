"""Weight files written by hand from their formats' descriptions, without the tensors' data.

Sources: safetensors' README.md; ggml's docs/gguf.md.
"""

import json
import struct
from collections.abc import Mapping
from math import prod
from typing import Any

BYTES = {"F32": 4, "BF16": 2, "F16": 2, "F8_E4M3": 1, "I64": 8}
Shapes = Mapping[str, tuple[str, tuple[int, ...]]]
"""dtype and shape by name of a tensor."""


def safetensors(tensors: Shapes) -> bytes:
    """The header of a file with these tensors, one after another."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (dtype, shape) in tensors.items():
        size = prod(shape) * BYTES[dtype]
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


TYPE_NUMBERS = {"f32": 0, "f16": 1, "q8_0": 8, "q4_k": 12, "q6_k": 14, "bf16": 30, "mxfp4": 39}
BLOCKS = {
    "f32": (1, 4), "f16": (1, 2), "bf16": (1, 2), "q8_0": (32, 2 + 32),
    "q4_k": (256, 2 + 2 + 128 + 12), "q6_k": (256, 2 + 128 + 64 + 16), "mxfp4": (32, 1 + 16),
}  # fmt: skip


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def pair(key: str, value: Any) -> bytes:
    """One pair of metadata: whole numbers as uint32, lists by their first entry."""
    return text(key) + _typed(value)


def _typed(value: Any) -> bytes:
    if isinstance(value, list):
        inner = [_typed(item) for item in value]
        return struct.pack("<I", 9) + inner[0][:4] + struct.pack("<Q", len(value)) + b"".join(
            item[4:] for item in inner
        )  # fmt: skip
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    return struct.pack("<I", 8) + text(value)


def gguf(metadata: Mapping[str, Any], tensors: Shapes, version: int = 3) -> bytes:
    """The header of a file with these tensors, shapes as PyTorch has them, aligned to 32."""
    found = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    found += b"".join(pair(key, value) for key, value in metadata.items())
    at = 0
    for name, (kind, shape) in tensors.items():
        block, size = BLOCKS[kind]
        found += text(name) + struct.pack("<I", len(shape))
        found += b"".join(struct.pack("<Q", n) for n in reversed(shape))
        found += struct.pack("<IQ", TYPE_NUMBERS[kind], at)
        at += -(-prod(shape) // block * size // 32) * 32
    return found + b"\0" * (-len(found) % 32)


def llama_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The tensors of a Llama checkpoint as Hugging Face names them."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    width = config.get("head_dim") or hidden // config["num_attention_heads"]
    queries = config["num_attention_heads"] * width
    keys = config["num_key_value_heads"] * width
    found = {"model.embed_tokens.weight": (config["vocab_size"], hidden)}
    for index in range(config["num_hidden_layers"]):
        found |= {
            f"model.layers.{index}.{name}.weight": shape
            for name, shape in {
                "self_attn.q_proj": (queries, hidden), "self_attn.k_proj": (keys, hidden),
                "self_attn.v_proj": (keys, hidden), "self_attn.o_proj": (hidden, queries),
                "mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden),
                "mlp.down_proj": (hidden, inner), "input_layernorm": (hidden,),
                "post_attention_layernorm": (hidden,),
            }.items()
        }  # fmt: skip
    return found | {
        "model.norm.weight": (hidden,), "lm_head.weight": (config["vocab_size"], hidden),
    }  # fmt: skip


GGUF_NAMES = {
    "model.embed_tokens": "token_embd", "lm_head": "output", "model.norm": "output_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm", "model.layers": "blk",
}  # fmt: skip


def gguf_name(name: str) -> str:
    """A tensor's name as llama.cpp has it."""
    for ours, theirs in GGUF_NAMES.items():
        name = name.replace(ours, theirs)
    return name
