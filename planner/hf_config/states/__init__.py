"""Layers that carry a state instead of a cache, between layers of attention or without any."""
