"""Number formats: what a tensor or a cache entry takes, and which tensor is stored in which."""
