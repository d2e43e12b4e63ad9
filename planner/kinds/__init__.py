"""What a layer is made of, one kind a class: which weights, which cache, which state."""
