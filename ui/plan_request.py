"""One request of a plan: how much of its context is prompt, and how much answer. Pure."""

from planner.timing.latency import Request
from planner.workload import Workload

ANSWER = 1024
"""Tokens of an answer, where a quarter of the context is not less."""


def request_of(work: Workload) -> Request:
    """A request of the plan's context: its prompt, or all but an answer of ANSWER tokens."""
    answer = max(1, min(ANSWER, work.context // 4))
    prompt = work.prompt_tokens or work.context - answer
    prompt = max(1, min(prompt, work.context - 1))
    return Request(prompt_tokens=prompt, output_tokens=max(1, work.context - prompt))
