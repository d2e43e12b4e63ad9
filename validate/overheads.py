"""Memory that no tensor has: the CUDA context, and what matrix libraries take at first use."""

from collections.abc import Iterator

import torch

from planner.overheads import CONTEXT, LIBRARIES
from validate.bench import DTYPES, Bench
from validate.record import Case, measured, skipped

SIDE = 1024


def overhead_cases(bench: Bench) -> Iterator[Case]:
    """Both are estimates of plans, and from here on measured for this card."""
    context = _case("context", "CUDA context", CONTEXT.bytes, CONTEXT.source)
    libraries = _case("libraries", "Matrix libraries", LIBRARIES.bytes, LIBRARIES.source)
    if bench.rehearsal:
        yield skipped(context, "only a GPU has one")
        yield skipped(libraries, "only a GPU has them")
        return
    first = torch.ones(1, device=bench.device)
    taken = _outside_bytes(bench)
    bench.facts["context_bytes"] = taken
    yield measured(context, [taken])
    before = torch.cuda.memory_allocated(bench.device)
    a, b = (bench.random(SIDE, SIDE, dtype=DTYPES["bf16"]) for _ in range(2))
    product = a @ b
    bench.synchronize()
    del a, b, product
    workspace = torch.cuda.memory_allocated(bench.device) - before
    taken = _outside_bytes(bench) - taken + workspace
    bench.facts["libraries_bytes"] = taken
    yield measured(libraries, [taken], workspace_bytes=workspace)
    del first


def _outside_bytes(bench: Bench) -> int:
    """In use on the card and not held by torch's allocator."""
    bench.synchronize()
    free, total = torch.cuda.mem_get_info(bench.device)
    return total - free - torch.cuda.memory_reserved(bench.device)


def _case(name: str, title: str, predicted: int, source: str) -> Case:
    return Case(f"card/{name}", "card", title, "bytes", source, predicted)
