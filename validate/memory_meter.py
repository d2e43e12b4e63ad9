"""What tensors take while a block of code runs, as the allocator counts it.

On a GPU the counts are torch's own. A rehearsal on the CPU has no allocator to ask, so storages are
watched as they come and go and fed to the predicted one: the flow is the same, the figure is not a
measurement.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

from validate.allocator import Allocator, Block
from validate.bench import Bench


class Found:
    """Filled in when the block of code ends: bytes above where it began."""

    held_bytes = 0
    peak_bytes = 0


@contextmanager
def meter(bench: Bench) -> Iterator[Found]:
    """Bytes held at the end of the block, and at its peak, above what was allocated before."""
    found = Found()
    if bench.rehearsal:
        with _Watch() as watch, _launches_unseen():
            yield found
            watch.release_dead()
        found.held_bytes = watch.allocator.allocated_bytes
        found.peak_bytes = watch.allocator.peak_allocated_bytes
        return
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(bench.device)
    before = torch.cuda.memory_allocated(bench.device)
    yield found
    bench.synchronize()
    found.held_bytes = torch.cuda.memory_allocated(bench.device) - before
    found.peak_bytes = torch.cuda.max_memory_allocated(bench.device) - before


@contextmanager
def _launches_unseen() -> Iterator[None]:
    """The interpreter copies a launch's tensors to and fro, which no GPU does, and holds them in
    cycles of references afterwards. What was there before is frozen, so that collecting them does
    not go through it every time."""
    from triton.runtime.interpreter import GridExecutor

    launch = GridExecutor.__call__

    def unseen(*args: Any, **kwargs: Any) -> Any:
        with _disable_current_modes():
            result = launch(*args, **kwargs)
        gc.collect()
        return result

    gc.collect()
    gc.freeze()
    GridExecutor.__call__ = unseen
    try:
        yield
    finally:
        GridExecutor.__call__ = launch
        gc.unfreeze()


class _Watch(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.allocator = Allocator()
        self._live: dict[int, tuple[StorageWeakRef, Block | None]] = {}

    def release_dead(self) -> None:
        """Before every allocation: nothing else moves the peak. A weak reference keeps a dead
        storage's address from being used again until then."""
        expired = torch.UntypedStorage._expired
        dead = [key for key, (storage, _) in self._live.items() if expired(storage.cdata)]
        for key in dead:
            self.allocator.release(self._live.pop(key)[1])

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        given = {
            t.untyped_storage()._cdata for t in tree_leaves(args) if isinstance(t, torch.Tensor)
        }
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                key = storage._cdata
                if key not in self._live and key not in given:
                    self.release_dead()
                    block = self.allocator.allocate(storage.nbytes())
                    self._live[key] = (StorageWeakRef(storage), block)
        return result
