"""Rotary positions: their frequencies, and what scaling makes of them and of a model's reach."""
