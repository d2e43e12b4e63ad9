"""What an engine's options ask to be drafted, by whichever name they have for it.

asked = drafting_asked(options)
asked.method, asked.draft_tokens, asked.lookahead
"""

from dataclasses import dataclass

from planner.engines.sglang.options import METHODS, SglangOptions
from planner.engines.vllm.options import VllmOptions
from planner.frozen import Frozen


@dataclass(frozen=True, slots=True)
class Asked:
    """method: by vLLM's name. lookahead: slots that a request is given beyond its own tokens."""

    method: str
    draft_tokens: int
    lookahead: int


def drafting_asked(options: Frozen) -> Asked | None:
    """What is to be drafted; None where nothing is, or the engine's drafting is not described."""
    if isinstance(options, VllmOptions) and options.speculative_config is not None:
        config = options.speculative_config
        return Asked(config.method, config.num_speculative_tokens, config.lookahead_tokens)
    if isinstance(options, SglangOptions) and options.speculative_algorithm is not None:
        tokens = options.speculative_num_draft_tokens or 0
        named = METHODS.get(options.speculative_algorithm, "ngram")
        method = "mtp" if options.drafts_itself else named
        return Asked(method, tokens, tokens) if tokens else None
    return None
