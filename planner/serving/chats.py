"""Chats of varying length through one memory: blocks against contiguous room, fragments counted.

Every chat that runs grows by one token a round; a chat that is done leaves, and the next one in
line starts as soon as there is room for it. No time model: only memory decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from planner.units import ceil_div


@dataclass(frozen=True, slots=True)
class Fragments:
    """Means over rounds, in shares of the memory; rounds until all chats are done.

    reserved: room taken for tokens that are not there yet or never come; scattered: free room that
    the next chat could not use because no hole is large enough; at_once: chats running.
    """

    rounds: int
    at_once: float
    stored: float
    reserved: float
    scattered: float


class FirstFit:
    """Contiguous room, given in the first hole that is large enough. Holes are (start, size)."""

    def __init__(self, size: int) -> None:
        self.holes = [(0, size)]

    @property
    def free(self) -> int:
        return sum(size for _, size in self.holes)

    def take(self, size: int) -> int | None:
        """Where the room begins, or None."""
        for i, (start, length) in enumerate(self.holes):
            if length >= size:
                self.holes[i : i + 1] = [(start + size, length - size)] if length > size else []
                return start
        return None

    def give_back(self, start: int, size: int) -> None:
        """Room is free again and joins the holes beside it."""
        found: list[tuple[int, int]] = []
        for hole in sorted([*self.holes, (start, size)]):
            if found and found[-1][0] + found[-1][1] == hole[0]:
                found[-1] = (found[-1][0], found[-1][1] + hole[1])
            else:
                found.append(hole)
        self.holes = found


def contiguous(
    chats: Sequence[tuple[int, int]], memory_tokens: int, room: Sequence[int]
) -> Fragments:
    """Chats of (prompt, answer) tokens, each given `room` tokens in one piece for life."""
    memory = FirstFit(memory_tokens)
    running: list[tuple[int, int, int]] = []  # end, chat, start of its room
    began: dict[int, int] = {}
    waiting = 0
    now = 0
    sums = [0.0, 0.0, 0.0, 0.0]
    while waiting < len(chats) or running:
        scattered = 0
        while waiting < len(chats):
            start = memory.take(room[waiting])
            if start is None:
                scattered = memory.free if memory.free >= room[waiting] else 0
                break
            heappush(running, (now + chats[waiting][1], waiting, start))
            began[waiting] = now
            waiting += 1
        end = running[0][0]
        steps = end - now
        taken = memory_tokens - memory.free
        stored = sum(chats[c][0] + now - began[c] + (steps + 1) / 2 for _, c, _ in running)
        for i, value in enumerate((len(running), stored, taken - stored, scattered)):
            sums[i] += value * steps
        now = end
        while running and running[0][0] == now:
            _, chat, start = heappop(running)
            memory.give_back(start, room[chat])
            del began[chat]
    at_once, held, reserved, lost = (value / now for value in sums)
    return Fragments(
        now, at_once, held / memory_tokens, reserved / memory_tokens, lost / memory_tokens
    )


def paged(chats: Sequence[tuple[int, int]], memory_tokens: int, block_size: int) -> Fragments:
    """The same with blocks on demand; a chat starts when its prompt fits, and one that finds no
    block gives up all of its own and starts again later (the last to start goes first)."""
    total = memory_tokens // block_size
    waiting = [(prompt, answer) for prompt, answer in reversed(chats)]
    running: list[list[int]] = []  # tokens now, answer left
    now = 0
    sums = [0.0, 0.0, 0.0]
    while waiting or running:
        free = total - sum(ceil_div(tokens, block_size) for tokens, _ in running)
        needed = sum(tokens % block_size == 0 for tokens, _ in running)
        while needed > free:
            tokens, left = running.pop()
            waiting.append((tokens, left))
            free += ceil_div(tokens, block_size)
            needed -= tokens % block_size == 0
        while waiting and ceil_div(waiting[-1][0] + 1, block_size) <= free - needed:
            tokens, left = waiting.pop()
            running.append([tokens, left])
            free -= ceil_div(tokens, block_size)
            needed += tokens % block_size == 0
        for chat in running:
            chat[0] += 1
            chat[1] -= 1
        used = sum(ceil_div(tokens, block_size) for tokens, _ in running) * block_size
        stored = sum(tokens for tokens, _ in running)
        for i, value in enumerate((len(running), stored, used - stored)):
            sums[i] += value
        now += 1
        running = [chat for chat in running if chat[1]]
    at_once, held, reserved = (value / now for value in sums)
    return Fragments(now, at_once, held / memory_tokens, reserved / memory_tokens, 0.0)
