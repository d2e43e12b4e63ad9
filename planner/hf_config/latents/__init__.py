"""Attention that keeps latents or compressed keys, with indexers that choose among them."""
