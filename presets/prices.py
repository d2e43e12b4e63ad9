"""What a GPU-hour costs: prices.json, list prices by provider, each with its date and source."""

import json
from datetime import date
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from planner.frozen import Frozen

_FILE = Path(__file__).with_name("prices.json")


class Price(Frozen):
    """One provider's list price without a commitment, as of `date`. Taxes and egress apart."""

    provider: str
    gpu_id: str
    usd_per_gpu_hour: PositiveFloat
    kind: Literal["on-demand", "marketplace"]
    """Marketplace: other people's machines through the provider, so supply and price move."""
    offer: str
    """What the provider calls it."""
    region: str | None = None
    min_gpus: PositiveInt = 1
    """The fewest GPUs that this price can be had with."""
    machine_gpus: PositiveInt | None = None
    """How many GPUs the machine of this offer has, where it says so: a "1x" has one."""
    date: date
    source: str
    url: str

    @property
    def label(self) -> str:
        """Whose price, and of when."""
        return f"{self.provider}, {self.date.isoformat()}"


@cache
def all_prices() -> tuple[Price, ...]:
    """Every price, in the order of the file."""
    document = json.loads(_FILE.read_text(encoding="utf-8"))
    sources = document["sources"]
    return tuple(
        Price(
            **entry
            | {
                "date": date.fromisoformat(entry["date"]),
                "source": sources[entry["source"]]["title"],
                "url": sources[entry["source"]]["url"],
            }
        )
        for entry in document["prices"]
    )


@cache
def prices_of(gpu_id: str) -> tuple[Price, ...]:
    """The prices of one GPU, cheapest first; empty when none was found."""
    wanted = gpu_id.lower()
    found = [price for price in all_prices() if price.gpu_id == wanted]
    return tuple(sorted(found, key=lambda price: price.usd_per_gpu_hour))
