"""vLLM: its budget, its pool of blocks, its command and what it prints, by version."""
