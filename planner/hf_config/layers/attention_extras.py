"""What attention may hold beside its projections: sinks, and gates of its output."""

from planner.kinds.attention import Attention
from planner.tensors import Weight, linear


def sinks(attention: Attention, hidden_size: int) -> tuple[Weight, ...]:
    """One learned logit per head."""
    return (Weight("sinks", (attention.num_attention_heads,), "vector", "column"),)


def gate(attention: Attention, hidden_size: int) -> tuple[Weight, ...]:
    """A projection whose sigmoid scales the attention's output."""
    width = attention.num_attention_heads * attention.head_dim
    return linear("gate_proj", width, hidden_size, "column")


def biased_gate(attention: Attention, hidden_size: int) -> tuple[Weight, ...]:
    """Such a projection, and a bias per head."""
    bias = Weight("gate_bias", (attention.num_attention_heads,), "vector", "column")
    return (*gate(attention, hidden_size), bias)


def head_gate(attention: Attention, hidden_size: int) -> tuple[Weight, ...]:
    """A projection to one gate per head."""
    heads = attention.num_attention_heads
    return linear("g_proj", heads, hidden_size, "column", bias=attention.qkv_bias)
