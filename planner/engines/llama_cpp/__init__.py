"""llama.cpp's server: its buffers, its command and what it prints."""
