"""The Explain page: one module for each topic, and what they draw with."""
