"""Softmax attention with KV heads, one feed-forward part a layer; Gemma 4 may add experts."""
