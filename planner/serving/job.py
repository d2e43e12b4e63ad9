"""A request inside a replica: how far it is, and which blocks its table names."""

from collections.abc import Hashable

from planner.serving.blocks import BlockPool, Chain
from planner.serving.requests import Request
from planner.units import ceil_div


class Job:
    """target: tokens to compute before it answers on (its prompt, after a preemption also what it
    had answered); computed: of those in the cache; generated: answer tokens given to the user.

    private: blocks only it names; shared: blocks of its group's chain in its table; own: of its
    session's chain.
    """

    __slots__ = (
        "computed", "finish_at", "first_s", "generated", "group", "joined_at", "number", "own",
        "own_chain", "preemptions", "private", "request", "shared", "target",
    )  # fmt: skip

    def __init__(self, request: Request, number: int) -> None:
        self.request = request
        self.number = number
        self.target = request.prompt_tokens
        self.computed = 0
        self.generated = 0
        self.first_s = -1.0
        self.preemptions = 0
        self.finish_at = -1
        self.joined_at = 0
        self.private = self.shared = self.own = 0
        self.group: Chain | None = None
        self.own_chain: Chain | None = None

    @property
    def blocks(self) -> int:
        """Entries of its block table."""
        return self.private + self.shared + self.own

    @property
    def own_key(self) -> Hashable:
        """Under which what follows the common beginning is kept."""
        session = self.request.session
        return ("request", self.number) if session is None else ("session", session)

    @property
    def group_key(self) -> Hashable:
        return ("group", self.request.group)

    def look_up(self, pool: BlockPool, block_size: int) -> tuple[int, int, int]:
        """Cached blocks that it can use, of its group and its own, and how many are in no use.

        At least one token is left to compute.
        """
        most = (self.target - 1) // block_size
        whole = min(self.request.shared_tokens // block_size, most)
        shared = min(pool.found(self.group_key), whole) if whole else 0
        revived = pool.revivable(self.group_key) if shared else 0
        own = 0
        if shared == self.request.shared_tokens // block_size:
            own = min(pool.found(self.own_key), most - shared)
            if own:
                revived += pool.revivable(self.own_key)
        return shared, own, revived

    def join(self, pool: BlockPool, shared: int, own: int, block_size: int) -> None:
        """Point at what `look_up` found, and compute the rest of the common beginning if nobody
        else does."""
        if self.request.shared_tokens >= block_size:
            chain = self.group = pool.join(self.group_key, shared)
            if chain.filler is None and shared == chain.blocks:
                chain.filler = self
        if own:
            self.own_chain = pool.join(self.own_key, own)
        self.shared, self.own = shared, own
        self.computed = (shared + own) * block_size

    def fill(self, block_size: int) -> None:
        """Blocks of the common beginning that it has filled can be found by others."""
        chain = self.group
        if chain is None or chain.filler is not self:
            return
        new = min(self.computed, self.request.shared_tokens) // block_size - chain.blocks
        if new > 0:
            chain.blocks += new
            self.shared += new
            self.private -= new

    def release(self, pool: BlockPool, stored: int, block_size: int, *, findable: bool) -> None:
        """Give up all blocks; with prefix caching, full ones of `stored` tokens stay findable."""
        first = self.request.shared_tokens // block_size
        new = 0
        if findable and self.shared == min(first, stored // block_size):
            chain = self.own_chain
            known = chain.blocks if chain is not None else pool.found(self.own_key)
            full = stored // block_size - self.shared - self.own
            if known == self.own:
                new = max(0, min(full, self.private))
        pool.give_back(self.private - new)
        if new:
            if self.own_chain is None:
                self.own_chain = pool.join(self.own_key, 0)
            self.own_chain.blocks += new
            self.own += new
        if self.own_chain is not None:
            pool.leave(self.own_key, self.own_chain, self.own)
        if self.group is not None:
            if self.group.filler is self:
                self.group.filler = None
            pool.leave(self.group_key, self.group, self.shared)
        self.private = self.shared = self.own = 0
        self.group = self.own_chain = None


def needed_blocks(total: int, held: int, block_size: int) -> int:
    """More blocks for `total` tokens."""
    return ceil_div(total, block_size) - held
