"""What the Explain pages show, computed: one module for each idea."""
