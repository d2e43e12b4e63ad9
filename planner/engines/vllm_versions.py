"""How versions of vLLM differ in what this planner computes.

    rules = rules_of("0.19.1")
    rules.gpu_memory_utilization  # 0.9

Read from the published packages 0.8.5, 0.11.0, 0.15.1, 0.19.1, 0.20.2, 0.24.0, 0.28.0 and 0.33.0.
A rule that changed between two of them is dated to the later one unless a start-up log of a
version in between shows it earlier; the tables below say which.
"""

import re
from dataclasses import dataclass

from planner.errors import PlanRefused

OLDEST, NEWEST = (0, 8, 0), (0, 33, 0)
NEWEST_NAME = "0.33.0"

Version = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Rules:
    """One version's behaviour. Comments name the first version that has it."""

    version: Version

    def since(self, minor: int, patch: int = 0) -> bool:
        """Whether this version is 0.`minor`.`patch` or later."""
        return self.version >= (0, minor, patch)

    @property
    def name(self) -> str:
        return ".".join(str(part) for part in self.version)

    @property
    def gpu_memory_utilization(self) -> float:
        """Default share of the GPU: 0.90, and 0.92 from 0.20 (0.19.1: 0.90, 0.20.2: 0.92)."""
        return 0.92 if self.since(20) else 0.90

    @property
    def hybrid_groups(self) -> bool:
        """Several groups of layers; 0.8.5 has one, later versions the hybrid manager (0.9.1)."""
        return self.since(9, 1)

    @property
    def scales_pages(self) -> bool:
        """Unequal pages are evened out by larger blocks (0.11.0: refused; 0.15.1: done)."""
        return self.since(12)

    @property
    def pads_attention_pages(self) -> bool:
        """Pages that do not divide are padded (0.20.2: refused; 0.24.0: done)."""
        return self.since(24)

    @property
    def merges_windows(self) -> bool:
        """Full layers that differ only in a window share a bucket (0.33.0; 0.20.2 does not)."""
        return self.since(33)

    @property
    def group_ratio(self) -> float:
        """The largest bucket sets the group size when it is below this multiple of the smallest:
        no such rule in 0.11.0, 1.25 in 0.15.1, 1.5 from 0.19.1."""
        if not self.since(12):
            return 0.0
        return 1.5 if self.since(16) else 1.25

    @property
    def in_flight_batches(self) -> int:
        """Batches in flight at pp = 1: 2 with asynchronous scheduling (0.24.0: 1; 0.28.0: 2)."""
        return 2 if self.since(28) else 1

    @property
    def check_keeps_null_block(self) -> bool:
        """The fit check sets aside the block that is never handed out (0.33.0)."""
        return self.since(33)

    @property
    def check_counts_groups(self) -> bool:
        """The fit check counts whole groups with their padding (0.11.0 sums layers; 0.20.2 and
        0.15.1 count groups)."""
        return self.since(14)

    @property
    def tokens_from_concurrency(self) -> bool:
        """The printed tokens are concurrency x max_model_len (0.19.1: blocks // groups)."""
        return self.since(20)

    @property
    def aligns_to_block_size(self) -> bool:
        """Attention blocks of hybrids grow in steps of the block size (0.11.0: of 16)."""
        return self.since(12)

    @property
    def prefix_caches_states(self) -> bool:
        """Prefix caching is on by default for hybrids with recurrent layers, which then hold a
        second state per request (0.23.0: off; 0.28.0: on)."""
        return self.since(28)

    @property
    def graphs_in_budget(self) -> bool:
        """An estimate of the CUDA graphs is taken off the budget (opt-in in 0.19.1; 0.20.2)."""
        return self.since(20)


def rules_of(version: str) -> Rules:
    """Rules of "0.19.1", "v0.11.0rc2" or "0.10.1.dev3". Raises PlanRefused for others."""
    found = re.fullmatch(r"v?(\d+)\.(\d+)(?:\.(\d+))?\S*", version.strip())
    if found is None:
        raise PlanRefused(f"engine version {version!r} is not a version such as {NEWEST_NAME}")
    parsed = (int(found[1]), int(found[2]), int(found[3] or 0))
    if not OLDEST <= parsed < (0, NEWEST[1] + 1, 0):
        raise PlanRefused(
            f"vLLM {version} is outside 0.8 to {NEWEST[0]}.{NEWEST[1]}, which are known: give "
            "--engine-version the nearest of these"
        )
    return Rules(parsed)
