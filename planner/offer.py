"""A GPU at a price, and what an hour of some of them is charged: whole lots, everywhere."""

from pydantic import Field

from planner.frozen import Frozen
from planner.hardware import Gpu
from planner.units import round_up


class Offer(Frozen):
    """A GPU and what an hour of one costs, sold in lots of so many; note says whose price."""

    gpu: Gpu
    usd_per_gpu_hour: float = Field(gt=0)
    lot: int = Field(default=1, ge=1)
    note: str = ""

    def charged(self, gpus: int) -> int:
        """How many are paid for where `gpus` are used."""
        return round_up(gpus, self.lot)

    def usd_per_hour(self, gpus: int) -> float:
        """What `gpus` of them cost, whole lots."""
        return self.usd_per_gpu_hour * self.charged(gpus)

    def words(self, gpus: int | None = None) -> str:
        """'$1.99 per GPU-hour, sold 8 at a time, Lambda, 2026-09-20'.

        Of `gpus` also how many are paid for, where those are more.
        """
        said = f"${self.usd_per_gpu_hour:,.2f} per GPU-hour"
        if self.lot > 1:
            said += f", sold {self.lot} at a time"
        if gpus is not None and self.charged(gpus) > gpus:
            said += f" ({self.charged(gpus)} paid for, {gpus} used)"
        return f"{said}, {self.note}" if self.note else said
