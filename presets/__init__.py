"""Models, GPUs, prices and workloads: data files with their sources, and what loads them."""
