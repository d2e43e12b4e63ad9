"""Softmax attention with KV heads, and routed experts."""
