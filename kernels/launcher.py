"""Launch a kernel again without Triton's look at every argument.

That look takes longer than a short prompt takes the GPU. It decides what to compile, so who calls
here vouches that nothing it decides by has changed.
"""

from collections.abc import Hashable, Iterator
from functools import cache
from typing import Any

import torch

_compiled: dict[tuple[Hashable, ...], Any] = {}


class Launcher:
    """A kernel with its grid and its constants, in the order of its parameters.

    `kind` tells apart everything that Triton would compile differently (the device among it), but
    for the pointers given at each call: whether each is there, and aligned to 16 bytes. `options`
    are the compiler's: warps, stages.
    """

    def __init__(
        self,
        kernel: Any,
        grid: tuple[int, int, int],
        constants: dict[str, Any],
        kind: Hashable,
        **options: Any,
    ) -> None:
        self._kernel, self._grid, self._constants = kernel, grid, constants
        self._options = {"num_warps": 4} | options
        self._kind = (kernel, kind, *constants.values(), *self._options.values())
        self._own: dict[tuple[bool | None, ...], Any] = {}

    def __call__(
        self, arguments: tuple[Any, ...], pointers: tuple[torch.Tensor | None, ...]
    ) -> None:
        """Launch on the current device and stream with all arguments but the constants."""
        given = tuple([None if p is None else p.data_ptr() % 16 == 0 for p in pointers])
        compiled = self._own.get(given) or _compiled.get((*self._kind, given))
        if compiled is None:
            compiled = self._kernel[self._grid](*arguments, **self._constants, **self._options)
            if len(_compiled) >= 1024:  # a kind may hold sizes: Triton finds its own again
                _compiled.clear()
            _compiled[(*self._kind, given)] = compiled
        else:
            compiled[self._grid](*arguments, *self._constants.values())
        self._own[given] = compiled


_COUNTERS = 256
_zeroed: dict[tuple[torch.device, int], Iterator[torch.Tensor]] = {}


def zeroed_counter(device: torch.device) -> torch.Tensor:
    """An int32 that is 0 for the next kernel on the current stream, and used by nobody else.

    Many are zeroed at once, for a launch takes longer than a counter is worth. A CUDA graph has to
    zero its own, at every replay.
    """
    if torch.cuda.is_current_stream_capturing():
        return torch.zeros(1, dtype=torch.int32, device=device)
    key = device, torch.cuda.current_stream(device).cuda_stream
    counter = next(_zeroed.get(key, iter(())), None)
    if counter is None:
        aligned = torch.zeros(_COUNTERS, 4, dtype=torch.int32, device=device)
        _zeroed[key] = counters = iter(aligned)
        counter = next(counters)
    return counter


@cache
def checked_descriptor() -> Any:
    """Gluon's TMA descriptor for tensors checked already: its own checks are slow."""
    from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

    class Checked(TensorDescriptor):  # type: ignore[misc, unused-ignore]
        def __post_init__(self) -> None:
            pass

    return Checked
