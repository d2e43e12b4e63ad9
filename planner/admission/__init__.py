"""How many sequences an engine admits on many GPUs at once: its own budget rule as arrays."""
