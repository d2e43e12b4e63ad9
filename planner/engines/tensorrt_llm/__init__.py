"""TensorRT-LLM: its formats, its command and what it prints."""
