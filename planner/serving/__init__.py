"""Serving under traffic: continuous batching, paging and prefix reuse, simulated event by event.

replica = replica_of(model, gpu, deployment, speed)
found = simulate(synthetic(rate=2.0, count=2000, ...), replica)
found.ttft.quantile(0.95), found.goodput_per_s
"""
