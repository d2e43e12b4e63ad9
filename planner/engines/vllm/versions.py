"""How versions of vLLM differ in what this planner computes.

    rules = rules_of("0.19.1")
    rules.gpu_memory_utilization  # 0.9

Read from the published packages 0.6.0 to 0.33.0; those of the pool from every minor version from
0.9 but 0.15. Elsewhere a rule that changed between two that were read is dated to the later one
unless a start-up log of a version in between shows it earlier; the comments say which.
"""

import re
from dataclasses import dataclass

from planner.errors import PlanRefused

OLDEST, NEWEST = (0, 6, 0), (0, 33, 0)
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
    def first_engine(self) -> bool:
        """The V0 engine by default: whole prompts up to 32,768 tokens, one pool of blocks (0.7.3;
        0.8.5: V1 wherever the card has compute capability 8.0)."""
        return not self.since(8)

    @property
    def reads_free_memory(self) -> bool:
        """What is spent before the cache is the fall of free memory, which also sees what PyTorch
        keeps reserved (0.26.0: weights and growth outside PyTorch; 0.27.1)."""
        return self.since(27, 1)

    @property
    def second_runner_counts_graphs(self) -> bool:
        """The second model runner estimates its graphs (0.28.0: as 0; 0.29.0)."""
        return self.since(29)

    @property
    def second_runner_profiles_sampling(self) -> bool:
        """Its profiling run samples with every parameter set (0.32.0: with none; 0.33.0)."""
        return self.since(33)

    @property
    def keeps_expert_workspace(self) -> bool:
        """Expert kernels keep their workspaces from layer to layer, alive under the sampler
        (0.13.0: freed with each layer; 0.14.1)."""
        return self.since(14)

    @property
    def absorbs_latent_projections(self) -> bool:
        """Decoding over latents multiplies its up-projections into those of queries and outputs
        (0.7.1, the first with latents, to 0.7.3; 0.8.5: copies of the up-projections)."""
        return self.since(7, 1) and not self.since(8)

    @property
    def samples_with_flashinfer(self) -> bool:
        """Wherever it is installed (V0: only when asked for; so again from 0.12.0)."""
        return not self.first_engine and not self.since(12)

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
        """Pages that do not divide are padded (0.23.0: refused; 0.24.0: done)."""
        return self.since(24)

    @property
    def pads_states(self) -> bool:
        """So is a state's page smaller than another layer's (0.25.1: refused; 0.26.0: done)."""
        return self.since(26)

    @property
    def may_promote_windows(self) -> bool:
        """Windows beside latent layers are held whole where no common page exists (0.27.1)."""
        return self.since(27)

    @property
    def merges_windows(self) -> bool:
        """Full layers that differ only in a window share a bucket (0.26.0: no; 0.27.1)."""
        return self.since(27)

    @property
    def group_ratio(self) -> float:
        """The largest bucket sets the group size when it is below this multiple of the smallest:
        no such rule in 0.11.0, 1.25 from 0.12.0, 1.5 from 0.18.1 (0.17.1: 1.25)."""
        if not self.since(12):
            return 0.0
        return 1.5 if self.since(18) else 1.25

    @property
    def counts_batches_in_flight(self) -> bool:
        """Windows keep blocks for every batch in flight (0.25.1: for one; 0.26.0)."""
        return self.since(26)

    @property
    def check_keeps_null_block(self) -> bool:
        """The fit check sets aside the block that is never handed out (0.28.0: no; 0.29.0)."""
        return self.since(29)

    @property
    def check_counts_groups(self) -> bool:
        """The fit check counts whole groups with their padding (0.13.0 sums layers before it
        groups them; 0.14.0)."""
        return self.since(14)

    @property
    def check_counts_every_group(self) -> bool:
        """It adds up all groups' blocks (0.18.1: those of the first group alone; 0.19.1)."""
        return self.since(19)

    @property
    def check_is_of_one_stage(self) -> bool:
        """It compares a pipeline stage's own layers with its budget (0.14.0 to 0.16.0: those of
        the whole model)."""
        return self.since(17)

    @property
    def check_follows_override(self) -> bool:
        """num_gpu_blocks_override replaces the budget in the fit check too (0.19.1: no; 0.20.2)."""
        return self.since(20)

    @property
    def stage_pays_own_layers(self) -> bool:
        """A block of layers of different sizes costs a pipeline stage its own layers only (0.16.0:
        those of the whole model; 0.17.1)."""
        return self.since(17)

    @property
    def tokens_from_concurrency(self) -> bool:
        """The printed tokens are concurrency x max_model_len (0.19.1: blocks // groups)."""
        return self.since(20)

    @property
    def aligns_to_block_size(self) -> bool:
        """Attention blocks of hybrids grow in steps of the block size (0.19.1: of 16 or, with
        latent attention, 64; 0.20.2)."""
        return self.since(20)

    @property
    def prefix_caches_states(self) -> bool:
        """Prefix caching is on by default for hybrids with recurrent layers, which then hold a
        second state per request (0.27.1: off; 0.28.0: on)."""
        return self.since(28)

    @property
    def lets_states_be_cached(self) -> bool:
        """Hybrids may keep states for prefix caching, one more a request (0.14.0: Mamba's alone,
        at every block; 0.16.0)."""
        return self.since(16)

    @property
    def caches_every_mamba_state(self) -> bool:
        """With prefix caching Mamba layers keep a state at every block (0.12.0 to 0.27.1)."""
        return self.since(12) and not self.since(28)

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
            f"vLLM {version} is outside {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}, which "
            "are known: choose the nearest of these"
        )
    return Rules(parsed)
