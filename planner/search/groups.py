"""Offers that one compilation serves, and the engines and formats that their cards run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from planner.deployment import Deployment
from planner.engines.platforms import not_on, not_run
from planner.errors import PlanRefused
from planner.formats.dtypes import NAME_OF_DTYPE, kv_format
from planner.formats.format_support import missing
from planner.formats.quantization import assign
from planner.hardware import Gpu
from planner.model import Model
from planner.offer import Offer
from planner.parallelism import joined_gpus
from planner.run_dtype import plain_dtype
from planner.timing.speed import Speed
from planner.timing.speed_grid import GpuGrid

LLAMA_CPP = "llama.cpp"


@dataclass(frozen=True)
class Group:
    """Offers whose GPUs share efficiencies and overheads.

    rows: for every engine the offers whose cards it runs on. weights, cache: the formats that
    most weights, and the cache, are stored in. speeds: of each card.
    """

    model: Model
    offers: tuple[Offer, ...]
    grid: GpuGrid
    weights: str
    cache: str
    speeds: tuple[Speed, ...]
    rows: dict[str, NDArray[np.intp]]

    def within(self, deployment: Deployment) -> "Group":
        """Only the offers whose machines hold a tensor parallel group, or that need no other."""
        ranks = deployment.tensor_parallel_size
        joined = joined_gpus(self.model, deployment) > 1
        held = np.asarray(
            [
                offer.gpu.joined_gpus >= ranks and not (joined and offer.gpu.stands_alone)
                for offer in self.offers
            ]
        )
        return replace(self, rows={name: rows[held[rows]] for name, rows in self.rows.items()})

    def gpus(self, engine: str) -> tuple[Gpu, ...]:
        """The cards of rows[engine]."""
        return tuple(self.offers[i].gpu for i in self.rows[engine])


class Formats:
    """The groups that have kernels for a deployment's formats; unsupported: why others have none.

    Formats follow the names of weights and cache, whatever the layout.
    """

    def __init__(
        self, model: Model, offers: Sequence[Offer], speed: Callable[[Gpu], Speed],
        engines: Sequence[str],
    ) -> None:  # fmt: skip
        self.model, self.offers, self.speed, self.engines = model, offers, speed, engines
        self.unsupported: set[str] = set()
        self._known: dict[tuple[str, str], list[Group]] = {}
        self._grids: dict[tuple[int, ...], GpuGrid] = {}

    def groups(self, deployment: Deployment) -> list[Group]:
        """Raises PlanRefused for a name that is no format, or does not suit the model."""
        names = (deployment.weights_dtype, deployment.kv_cache_dtype)
        if names not in self._known:
            weights = tuple(assign(self.model, names[0]).bytes_by_format())
            cache = kv_format(names[1], self.model.own_cache).name
            local = LLAMA_CPP in self.engines
            reasons = {
                o.gpu.id: missing(o.gpu, weights, cache, llama_cpp=local) for o in self.offers
            }
            self.unsupported |= {reason for reason in reasons.values() if reason is not None}
            able = [offer for offer in self.offers if reasons[offer.gpu.id] is None]
            self._known[names] = self._grouped(able, names[0], weights, cache)
        return self._known[names]

    def _grouped(
        self, offers: Sequence[Offer], asked: str, weights: tuple[str, ...], cache: str
    ) -> list[Group]:
        alike: dict[tuple[int, int], list[tuple[Offer, Speed]]] = {}
        numbers = NAME_OF_DTYPE[plain_dtype(asked) or self.model.dtype]
        for offer in offers:
            try:
                found = self.speed(offer.gpu)
            except PlanRefused as error:
                self.unsupported.add(str(error))
                continue
            if numbers == "fp32" and found.roofs.fp32_flops_per_s is None:
                self.unsupported.add(f"{offer.gpu.name}: no 32-bit arithmetic rate is published")
                continue
            key = (id(found.efficiencies.table), id(offer.gpu.calibration))
            alike.setdefault(key, []).append((offer, found))
        return [
            Group(
                self.model,
                tuple(offer for offer, _ in pairs),
                self._grid(pairs),
                assign(self.model, asked).commonest,
                cache,
                tuple(found for _, found in pairs),
                self._rows([offer.gpu for offer, _ in pairs], asked, weights, cache),
            )
            for pairs in alike.values()
        ]

    def _grid(self, pairs: Sequence[tuple[Offer, Speed]]) -> GpuGrid:
        """The same object for the same offers, so that its times are computed once."""
        key = tuple(id(offer) for offer, _ in pairs)
        if key not in self._grids:
            gpus, speeds = [offer.gpu for offer, _ in pairs], [found for _, found in pairs]
            self._grids[key] = GpuGrid(gpus, speeds)
        return self._grids[key]

    def _rows(
        self, gpus: Sequence[Gpu], asked: str, weights: tuple[str, ...], cache: str
    ) -> dict[str, NDArray[np.intp]]:
        found = {}
        for engine in self.engines:
            reasons = [
                not_on(engine, gpu)
                or not_run(engine, self.model, asked, gpu)
                or missing(gpu, weights, cache, llama_cpp=engine == LLAMA_CPP)
                for gpu in gpus
            ]
            self.unsupported |= {reason for reason in reasons if reason is not None}
            able = [i for i, reason in enumerate(reasons) if reason is None]
            found[engine] = np.asarray(able, dtype=np.intp)
        return found
