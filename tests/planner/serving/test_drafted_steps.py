"""A replica that drafts: tokens a step, their time, and what the scheduler makes of them."""

import pytest

from planner.deployment import Deployment
from planner.engines.drafting_asked import drafting_asked
from planner.engines.registry import options_of
from planner.hf_config import parse
from planner.serving.clock import Chunk
from planner.serving.drafted_steps import DraftedSteps, Drafting
from planner.serving.replica import replica_of
from planner.serving.requests import Request
from planner.serving.simulator import simulate
from planner.timing.drafting import drafter_for, eagle_like, speculated
from planner.timing.latency import Request as Asked
from planner.timing.latency import latency
from presets.gpus import load_gpu
from presets.models import load_model_config
from presets.speed import speed_of
from tests.planner.serving.worlds import Plain, replica

MODEL = parse(load_model_config("llama-3.1-8b"))
GPU = load_gpu("h100-sxm5-80gb")


def test_an_answer_takes_its_tokens_over_those_of_a_step() -> None:
    """One prompt of one step, then 100 tokens in steps of 2.5."""
    one = replica(clock=Plain(1.0), tokens_per_step=2.5, draft_tokens=4)
    found = simulate([Request(0.0, 10, 101)], one)
    assert found.ttft.largest == 1
    assert found.tpot.largest == pytest.approx(1 / 2.5)
    assert found.steps == 1 + 100 / 2.5


def test_steps_with_prompts_yield_whole_tokens_and_lose_none() -> None:
    """A prompt in 8 chunks beside an answer, which takes 2.5 tokens a step, 2 and 3 in turn."""
    one = replica(clock=Plain(1.0), tokens_per_step=2.5, draft_tokens=4,
                  max_num_batched_tokens=105, max_num_seqs=4)  # fmt: skip
    first, second = [], []
    simulate(
        [Request(0.0, 100, 21), Request(0.0, 800, 1)], one,
        each=lambda s: (first if s.output_tokens > 1 else second).append(s),
    )  # fmt: skip
    # The first step takes the prompt of 100 and 5 of the other; 795 are left at 100 a step.
    assert second[0].ttft_s == 1 + 8
    assert first[0].e2e_s == 1 + 20 / 2.5


def test_drafts_take_their_part_of_the_batch() -> None:
    plain = replica(clock=Plain(1.0), max_num_batched_tokens=104, max_num_seqs=4)
    work = [Request(0.0, 100, 200), Request(0.0, 204, 1)]
    # The first step leaves 4 for the second prompt; then 103 a step, or 100 beside 1 + 3 tokens.
    assert simulate(work, plain).ttft.largest == 1 + 2
    drafts = plain.changed(draft_tokens=3, tokens_per_step=2.0)
    assert simulate(work, drafts).ttft.largest == 1 + 2
    more = [Request(0.0, 100, 200), Request(0.0, 206, 1)]
    assert simulate(more, plain).ttft.largest == 1 + 2
    assert simulate(more, drafts).ttft.largest == 1 + 3


class Told:
    """A clock that says what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, ...]] = []

    def decode_s(self, sequences: int, context: float) -> float:
        self.asked.append((sequences, context))
        return 1.0

    def mixed_s(self, sequences: int, context: float, chunks: list[Chunk]) -> float:  # type: ignore[override]
        self.asked.append((sequences, context, sum(tokens for tokens, _ in chunks)))
        return 10.0


def test_a_step_is_the_check_and_the_drafters_passes() -> None:
    target, draft = Told(), Told()
    both = DraftedSteps(target, draft, passes=3, reads_prompts=True)  # type: ignore[arg-type]
    assert both.decode_s(4, 100) == 1 + 3 * 1
    # A prompt's chunk goes through the drafter once; its answer is drafted with the others.
    assert both.mixed_s(4, 100, [(50, 200)]) == 10 + 10 + 2 * 1
    assert draft.asked[-1] == (5, (4 * 100 + 200) / 5)
    heads = DraftedSteps(target, draft, passes=1, reads_prompts=False)  # type: ignore[arg-type]
    assert heads.mixed_s(4, 100, [(50, 200)]) == 10 + 1 * 1


def test_one_user_at_a_time_gains_what_latency_says() -> None:
    speed, work = speed_of(GPU), Asked(prompt_tokens=1000, output_tokens=200)
    now = latency(MODEL, GPU, Deployment(), speed, work, 1)
    expected = speculated(now, MODEL, eagle_like(MODEL), 3, 0.7)
    drafting = Drafting(eagle_like(MODEL), 3, 0.7, 3)
    one = replica_of(
        MODEL, GPU, Deployment(), speed, max_num_seqs=64, max_model_len=4096, drafting=drafting
    )
    found = simulate([Request(100.0 * i, 1000, 200) for i in range(5)], one)
    assert found.tpot.mean == pytest.approx(expected.tpot_s, rel=0.01)
    assert one.lookahead == 3
    # The drafter reads the prompt as well: one layer more than 32, and its projections.
    without = replica_of(MODEL, GPU, Deployment(), speed, max_num_seqs=64, max_model_len=4096)
    alone = simulate([Request(0.0, 1000, 200)], without).ttft.mean
    assert 1.02 < found.ttft.mean / alone < 1.2


def test_full_batches_lose_on_a_card_that_computes_slowly() -> None:
    gpu = load_gpu("l4")
    work = [Request(0.0, 100, 100) for _ in range(256)]
    rates = []
    for drafting in (None, Drafting(drafter_for(MODEL, "ngram"), 4, 0.3, 0)):
        one = replica_of(
            MODEL, gpu, Deployment(weights_dtype="fp8"), speed_of(gpu), max_num_seqs=128,
            max_model_len=1024, drafting=drafting,
        )  # fmt: skip
        rates.append(simulate(work, one).requests_per_s)
    assert rates[1] < rates[0]


def test_engines_name_what_they_draft_with() -> None:
    asked = drafting_asked(
        options_of("vllm", {"speculative_config": {"method": "dflash", "num_speculative_tokens": 7,
                                                   "model": "d"}})
    )  # fmt: skip
    assert asked is not None
    assert (asked.method, asked.draft_tokens, asked.lookahead) == ("dflash", 7, 8)
    own = drafting_asked(
        options_of("sglang", {"speculative_algorithm": "NEXTN", "speculative_num_draft_tokens": 2})
    )
    assert own is not None
    assert own.method == "mtp"
    assert drafting_asked(options_of("sglang", {})) is None
    assert drafting_asked(options_of("llama.cpp", {})) is None
