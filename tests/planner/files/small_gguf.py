"""Small models in GGUF, written by hand.

Tensors as llama.cpp's src/models/*.cpp create them, keys as its conversion/*.py writes them (2026).
"""

from collections.abc import Callable
from typing import Any

from planner.files.gguf_config import config_of
from planner.files.gguf_header import read_header
from planner.hf_config import parse
from planner.model import Model

Shape = tuple[int, ...]
SMALL = {
    "num_hidden_layers": 2, "hidden_size": 256, "intermediate_size": 512,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 1024,
    "max_position_embeddings": 4096, "rope_theta": 1e4,
}  # fmt: skip


def typed(shapes: dict[str, Shape], kind: str = "q8_0") -> dict[str, tuple[str, Shape]]:
    """Matrices of one type, vectors in fp32."""
    return {name: ("f32" if len(shape) == 1 else kind, shape) for name, shape in shapes.items()}


def outside(config: dict[str, Any], *, tied: bool = False) -> dict[str, Shape]:
    vocab, hidden = config["vocab_size"], config["hidden_size"]
    found: dict[str, Shape] = {
        "token_embd.weight": (vocab, hidden),
        "output_norm.weight": (hidden,),
    }
    return found if tied else {**found, "output.weight": (vocab, hidden)}


def attention(config: dict[str, Any]) -> dict[str, Shape]:
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    width = config.get("head_dim") or hidden // heads
    keys = config["num_key_value_heads"] * width
    return {
        "attn_norm.weight": (hidden,), "ffn_norm.weight": (hidden,),
        "attn_q.weight": (heads * width, hidden), "attn_k.weight": (keys, hidden),
        "attn_v.weight": (keys, hidden), "attn_output.weight": (hidden, heads * width),
    }  # fmt: skip


def dense(config: dict[str, Any], name: str = "") -> dict[str, Shape]:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    return {
        "ffn_gate.weight": (inner, hidden), "ffn_up.weight": (inner, hidden),
        "ffn_down.weight": (hidden, inner),
    }  # fmt: skip


def experts(config: dict[str, Any], count: int, inner: int) -> dict[str, Shape]:
    hidden = config["hidden_size"]
    return {
        "ffn_gate_inp.weight": (count, hidden), "ffn_gate_exps.weight": (count, inner, hidden),
        "ffn_up_exps.weight": (count, inner, hidden),
        "ffn_down_exps.weight": (count, hidden, inner),
    }  # fmt: skip


def blocks(count: int, layer: Callable[[int], dict[str, Shape]]) -> dict[str, Shape]:
    return {f"blk.{i}.{name}": shape for i in range(count) for name, shape in layer(i).items()}


def keys(architecture: str, config: dict[str, Any], **others: Any) -> dict[str, Any]:
    """What conversion/base.py writes of every model, and `others`, whose __ are dots."""
    found = {
        "block_count": config["num_hidden_layers"],
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": config["num_attention_heads"],
        "attention.head_count_kv": config["num_key_value_heads"],
        "attention.layer_norm_rms_epsilon": 1e-6,
        **{name.replace("__", "."): value for name, value in others.items()},
    }
    if "rope_theta" in config:
        found["rope.freq_base"] = float(config["rope_theta"])
    return {
        "general.architecture": architecture,
        "general.file_type": 7,
        **{f"{architecture}.{name}": value for name, value in found.items()},
        "tokenizer.ggml.model": "gpt2",
    }


def model(data: bytes) -> Model:
    return parse(config_of([read_header(data)]))


def small(**others: Any) -> tuple[dict[str, Any], dict[str, tuple[str, Shape]]]:
    """A Llama of two layers: metadata and tensors."""
    shapes = outside(SMALL) | blocks(2, lambda _: {**attention(SMALL), **dense(SMALL)})
    return keys("llama", SMALL, **others), typed(shapes)
