"""Rotary positions: their frequencies, what scaling does to them, and how far it extends a model."""
