"""How long a pass takes: operations and bytes of each part against what a card can do."""
