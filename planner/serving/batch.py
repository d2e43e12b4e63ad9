"""Who runs in a replica, and the blocks they hold: as they start, grow, wait for others, leave."""

from planner.serving.blocks import BlockPool
from planner.serving.growth import Growth
from planner.serving.job import Job, needed_blocks
from planner.serving.replica import Replica


class Batch:
    """What a replica holds, without time.

    running: in the order in which they started; computing: those of them whose prompts are not
    done; growth: the others, which answer. padding: places of a static batch that are done, whose
    blocks it holds to its end; batch_open: whether more may join it.
    """

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.pool = BlockPool(replica.num_blocks)
        self.growth = Growth(replica.block_size, replica.lookahead)
        self.running: dict[int, Job] = {}
        self.computing: dict[int, Job] = {}
        self.prompt_tokens_stored = 0
        self.padding = 0
        self.batch_open = True
        self._held: list[tuple[Job, int]] = []
        self._paged = replica.reserve == "paged"
        self._static = replica.batching == "static"
        self._yield = 1

    @property
    def stored_tokens(self) -> int:
        """Tokens in the block tables, what is shared counted for each that names it."""
        return self.growth.tokens + self.prompt_tokens_stored

    def _more(self, job: Job, tokens: int) -> int:
        """New blocks for the next `tokens` of a prompt."""
        replica = self.replica
        total = job.computed + tokens + replica.lookahead
        return needed_blocks(total, job.blocks - replica.fixed_blocks, replica.block_size)

    def _spare(self) -> int:
        """Free blocks beyond those that the answers take in this step."""
        return self.pool.free - (self._next_blocks if self.growth.count else 0)

    @property
    def _next_blocks(self) -> int:
        """What the answers take in a step."""
        return self.growth.blocks(self._yield)

    @property
    def _budget(self) -> int:
        """Tokens of a step that answers and their drafts leave."""
        replica = self.replica
        return replica.max_num_batched_tokens - self.growth.count * (1 + replica.draft_tokens)

    def _take(self, job: Job, blocks: int) -> None:
        self.pool.take(blocks)
        job.private += blocks

    def _enter(self, job: Job, blocks: int, shared: int, own: int) -> None:
        """A request starts with so many new blocks beside those that it found."""
        block_size = self.replica.block_size
        if self.replica.prefix_caching:
            job.join(self.pool, shared, own, block_size)
        self._take(job, blocks)
        self.running[job.number] = self.computing[job.number] = job
        self.prompt_tokens_stored += (shared + own) * block_size

    def _fill_early(self, job: Job, tokens: int) -> None:
        """What a step computes can be found by requests that start in the same step."""
        job.computed += tokens
        job.fill(self.replica.block_size)
        job.computed -= tokens

    def _drop_last(self) -> Job:
        """The request that started last gives up its blocks, to be computed again."""
        number, job = self.running.popitem()
        stored = job.computed
        if self.computing.pop(number, None) is None:
            stored = self.growth.remove(job)
            job.generated += self.growth.steps - job.joined_at
            self._settle(job, stored)
        else:
            self.prompt_tokens_stored -= stored
        self._release(job, stored)
        job.target = job.request.prompt_tokens + job.generated
        job.computed, job.finish_at = 0, -1
        job.preemptions += 1
        return job

    def _settle(self, job: Job, stored: int) -> None:
        """Blocks that it took while it answered are its own."""
        if self._paged:
            job.private = self.replica.blocks(stored) - job.shared - job.own

    def _release(self, job: Job, stored: int) -> None:
        job.release(
            self.pool, stored, self.replica.block_size, findable=self.replica.prefix_caching
        )

    def _hold(self, job: Job, stored: int) -> None:
        """It is done before the static batch that it is part of."""
        self.padding += 1
        self._held.append((job, stored))

    def _open_batch(self) -> None:
        """The whole batch is done: its places and blocks are free."""
        self.batch_open, self.padding = True, 0
        for job, stored in self._held:
            self._release(job, stored)
        self._held.clear()
