"""GPUs with the prices they can be had at, as a search takes them."""

from collections.abc import Iterable, Mapping
from math import inf

from planner.errors import PlanRefused
from planner.hardware import Gpu
from planner.offer import Offer
from presets.gpus import gpu_ids as all_gpu_ids
from presets.gpus import load_gpu
from presets.prices import Price, all_prices, prices_of

GIVEN = "as given"
"""Whose price one is that the user gave."""


def offers(
    gpu_ids: Iterable[str] = (),
    *,
    own_usd: Mapping[str, float] | None = None,
    marketplace: bool = False,
) -> tuple[Offer, ...]:
    """The GPUs named, or all with a price, each at its cheapest price for every lot it is sold in.

    own_usd: prices per GPU-hour by id that replace the listed ones. Raises PlanRefused for an id
    that no GPU has.
    """
    own = {gpu_id.lower(): usd for gpu_id, usd in (own_usd or {}).items()}
    wanted = [gpu_id.lower() for gpu_id in gpu_ids]
    wanted = wanted or sorted({price.gpu_id for price in all_prices()} | set(own))
    found: list[Offer] = []
    for gpu_id in wanted:
        gpu = load_gpu(gpu_id)
        if gpu_id in own:
            found.append(Offer(gpu=gpu, usd_per_gpu_hour=own[gpu_id], note=GIVEN))
        else:
            found += _listed(gpu, marketplace)
    return tuple(found)


def cheapest_offer(gpu: Gpu, gpus: int, own_usd: float | None = None) -> Offer | None:
    """What so many of them are charged at: own_usd for each, or the list's cheapest whole lots.

    None where nobody's list has the GPU; marketplaces are left out, as in offers(). Raises
    PlanRefused for a price of its own that is no dollars above 0.
    """
    if own_usd is not None:
        if not 0 < own_usd < inf:
            raise PlanRefused(f"--usd-per-gpu-hour must be dollars above 0, not {own_usd:g}")
        return Offer(gpu=gpu, usd_per_gpu_hour=own_usd, note=GIVEN)
    return min(_listed(gpu, marketplace=False), key=lambda o: o.usd_per_hour(gpus), default=None)


def own_price(text: str) -> tuple[str, float]:
    """'h200-sxm-141gb=2.5' as an id and dollars a GPU-hour. Raises PlanRefused."""
    gpu_id, equals, usd = (part.strip() for part in text.partition("="))
    try:
        if equals and 0 < float(usd) < inf:
            return gpu_id, float(usd)
    except ValueError:
        pass
    raise PlanRefused(f"{text!r} is no price: write a GPU's id, = and dollars above 0")


def unpriced(gpu_ids: Iterable[str], found: Iterable[Offer]) -> tuple[str, ...]:
    """Of the GPUs named, or of all, those that no offer has."""
    priced = {offer.gpu.id for offer in found}
    wanted = tuple(gpu_ids) or all_gpu_ids()
    return tuple(gpu_id for gpu_id in wanted if gpu_id.lower() not in priced)


def _listed(gpu: Gpu, marketplace: bool) -> list[Offer]:
    """A price is left out where a cheaper one comes in no larger lots nor smaller machines."""
    kept: list[Offer] = []
    prices = [p for p in prices_of(gpu.id) if marketplace or p.kind == "on-demand"]
    for price in sorted(prices, key=lambda p: (p.usd_per_gpu_hour, p.min_gpus)):
        mine = _offer(gpu, price)
        if not any(
            other.lot <= mine.lot and other.gpu.joined_gpus >= mine.gpu.joined_gpus
            for other in kept
        ):
            kept.append(mine)
    return sorted(kept, key=lambda offer: offer.lot)


def _offer(gpu: Gpu, price: Price) -> Offer:
    note = f"{price.label}: {price.source}"
    if price.machine_gpus is not None:
        fewest = min(price.machine_gpus, gpu.joined_gpus)
        gpu = gpu.model_copy(update={"machine_gpus": fewest, "link_domain_gpus": None})
    return Offer(gpu=gpu, usd_per_gpu_hour=price.usd_per_gpu_hour, lot=price.min_gpus, note=note)
