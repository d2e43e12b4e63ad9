"""A plan is a pure function of (model, hardware, deployment, workload)."""
