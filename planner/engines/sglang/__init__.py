"""SGLang: its pools, its command and what it prints."""
