"""transformers: its caches and what a program writes."""
