"""What every engine answers: where a GPU's memory goes, how many tokens it caches, what it says.

An engine takes a model, a GPU, a Deployment and its own options, and gives EngineFigures. Options
are frozen inputs named as the engine's flags; None means the engine's own default.
"""

from dataclasses import dataclass, field

from planner.estimate import Estimate


def exactly(size: int, source: str) -> Estimate:
    """A figure without a range."""
    return Estimate(size, size, size, source)


def within(size: float, low: float, high: float, source: str) -> Estimate:
    """An estimate with its range, which always holds the value itself."""
    value = int(size)
    return Estimate(value, min(value, int(low)), max(value, int(high)), source)


WITHOUT_DRAFT = (
    "The engine's figures count what drafts, its weights and its cache; the ideal figures and "
    "those by bytes alone leave both out."
)


CONFIG_NAME = "config.yaml"


@dataclass(frozen=True, slots=True)
class EngineFigures:
    """One engine's plan of a deployment, in bytes of one GPU: the rank that binds.

    components: the budget taken apart, each with range and source, in the order that it is spent:
    weights, activation, non_torch, cuda_graphs. kv_cache: what is left for the pool.
    max_concurrency: sequences of max_model_len as the engine prints it, requests: sequences of the
    workload's context that run at once. refused: the sentence with which it would not start;
    the pool's figures are then 0; doubtful: at the other end of the estimates it would start where
    it is refused, or be refused where it starts; remedies: single changes that lift a refusal, or
    that make room where the workload does not fit; remedies_hold: sequences of the workload that
    each of a refusal's then holds; serving: where those are too few, single changes that hold all.
    host_bytes: cache and weights in CPU memory, all ranks together. outside_budget: what a GPU
    holds besides. replicas: servers to start, of which all figures are one's. drafts: a model or
    layers draft, with weights and a cache; mtp_bytes: of `weights`, the drafting layers.
    config_file: text of the CONFIG_NAME that the command reads, where it reads one. on_cpu: what of
    the model computes there, in words.
    """

    name: str
    version: str
    budget_bytes: int
    components: dict[str, Estimate]
    kv_cache: Estimate
    block_size: int
    num_blocks: int
    kv_cache_tokens: int
    max_concurrency: float
    blocks_per_request: int
    requests: int
    settings: dict[str, int | float | bool | str | None]
    command: str
    refused: str | None = None
    doubtful: bool = False
    log_lines: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    host_bytes: int = 0
    binding_stage: int = 0
    outside_budget: dict[str, Estimate] = field(default_factory=dict)
    remedies: tuple[str, ...] = ()
    remedies_hold: tuple[int, ...] = ()
    serving: tuple[str, ...] = ()
    replicas: int = 1
    drafts: bool = False
    mtp_bytes: int = 0
    config_file: str = ""
    on_cpu: str = ""

    @property
    def start(self) -> str:
        """What a shell runs: the command, after what writes the file that it reads."""
        if not self.config_file:
            return self.command
        return f"cat > {CONFIG_NAME} <<'EOF'\n{self.config_file}EOF\n{self.command}"

    @property
    def blocks(self) -> str:
        """The pool's blocks in words; with their size where it holds for all of them."""
        size = self.block_size
        of_size = f" of {size}" if self.num_blocks * size == self.kv_cache_tokens else ""
        return f"{self.num_blocks:,} blocks{of_size}"

    def length_served(self, context: int) -> int:
        """Tokens of the sequences that `requests` counts: `context`, or its own limit where it
        takes any."""
        limit = self.settings.get("max_model_len")
        return min(context, limit) if isinstance(limit, int) and self.requests else context

    def bytes_of(self, component: str) -> int:
        """Bytes of one component; 0 where the engine has none of that name."""
        found = self.components.get(component) or self.outside_budget.get(component)
        return 0 if found is None else found.bytes
