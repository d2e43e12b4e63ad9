"""The block pool of one replica, counted: blocks in use, kept for their content, and empty.

The rules are those of kernels.block_allocator, whose counts a test holds equal: blocks whose
content can be found again outlive their owners; empty blocks are handed out first, then kept ones,
least recently used first, the end of a prefix before its beginning. Blocks of one prefix are
counted together in a Chain, so that an event costs the same whatever its length.
"""

from collections import OrderedDict
from collections.abc import Hashable


class Chain:
    """The cached blocks of one prefix, from its beginning.

    users: running requests whose tables name them. filler: the request that is computing the rest.
    """

    __slots__ = ("blocks", "filler", "users")

    def __init__(self) -> None:
        self.blocks = 0
        self.users = 0
        self.filler: object | None = None


class BlockPool:
    """Counts of `total` blocks: used + kept + empty == total.

    references: entries in all block tables, what would be used if nothing were shared.
    """

    __slots__ = ("chains", "empty", "kept", "kept_chains", "references", "total")

    def __init__(self, total: int) -> None:
        self.total = total
        self.empty = total
        self.kept = 0
        self.references = 0
        self.chains: dict[Hashable, Chain] = {}
        self.kept_chains: OrderedDict[Hashable, None] = OrderedDict()

    @property
    def free(self) -> int:
        """Blocks that can be handed out, kept ones included."""
        return self.empty + self.kept

    @property
    def used(self) -> int:
        return self.total - self.empty - self.kept

    def take(self, blocks: int) -> None:
        """Hand out blocks that one request names; kept content makes room, oldest first."""
        self.references += blocks
        if blocks <= self.empty:
            self.empty -= blocks
            return
        missing = blocks - self.empty
        assert missing <= self.kept, "the scheduler asked for more blocks than are free"
        self.empty = 0
        self.kept -= missing
        while missing:
            key = next(iter(self.kept_chains))
            chain = self.chains[key]
            if chain.blocks > missing:
                chain.blocks -= missing
                return
            missing -= chain.blocks
            del self.chains[key]
            del self.kept_chains[key]

    def give_back(self, blocks: int) -> None:
        """Blocks of one request whose content nobody can find."""
        self.empty += blocks
        self.references -= blocks

    def revivable(self, key: Hashable) -> int:
        """Blocks that leave the free ones if this chain comes back into use."""
        chain = self.chains.get(key)
        return chain.blocks if chain is not None and not chain.users else 0

    def found(self, key: Hashable) -> int:
        """Cached blocks of the chain, used or kept."""
        chain = self.chains.get(key)
        return 0 if chain is None else chain.blocks

    def join(self, key: Hashable, blocks: int) -> Chain:
        """Point at the first `blocks` of a chain, which is made if it is not there."""
        chain = self.chains.get(key)
        if chain is None:
            chain = self.chains[key] = Chain()
        elif not chain.users and chain.blocks:
            del self.kept_chains[key]
            self.kept -= chain.blocks
        chain.users += 1
        self.references += blocks
        return chain

    def leave(self, key: Hashable, chain: Chain, blocks: int) -> None:
        """Point at its `blocks` no more; the last to leave keeps the content findable."""
        chain.users -= 1
        self.references -= blocks
        if chain.users:
            return
        if chain.blocks:
            self.kept += chain.blocks
            self.kept_chains[key] = None
        else:
            del self.chains[key]

    def forget(self) -> None:
        """Kept content makes room, all of it."""
        for key in self.kept_chains:
            del self.chains[key]
        self.kept_chains.clear()
        self.empty += self.kept
        self.kept = 0
