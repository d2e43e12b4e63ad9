"""Which pairs of layouts an engine joins for prompts and answers apart."""

import pytest

from planner.deployment import Deployment
from planner.search.engine import commands
from planner.search.hand_over import hands_over
from planner.search.search import search
from planner.search.space import Space, Target
from planner.timing.latency import Request
from presets.speed import speed_of
from tests.planner.models import preset
from tests.planner.search.cases import OFFERS

ONE = Deployment()
WIDE = Deployment(tensor_parallel_size=2)
STAGED = Deployment(pipeline_parallel_size=2)
FOUR = Deployment(pipeline_parallel_size=4)


@pytest.mark.parametrize(
    ("engine", "prompts", "answers", "joined"),
    [
        ("vllm", ONE, WIDE, True),
        ("vllm", WIDE, ONE, True),
        ("vllm", STAGED, ONE, False),
        ("vllm", ONE, STAGED, False),
        ("vllm", STAGED, STAGED, False),
        ("sglang", STAGED, ONE, True),
        ("sglang", STAGED, STAGED, True),
        ("sglang", ONE, STAGED, False),
        ("sglang", FOUR, STAGED, False),
        ("ideal", FOUR, STAGED, True),
    ],
)
def test_stages(engine: str, prompts: Deployment, answers: Deployment, joined: bool) -> None:
    assert hands_over(engine, preset("llama-3.1-8b"), prompts, answers) is joined


@pytest.mark.parametrize(
    ("model", "vllm", "sglang"),
    [
        ("llama-3.1-8b", True, True),
        ("deepseek-v3", True, True),
        ("qwen3-next-80b-a3b-thinking", False, True),
        ("gpt-oss-20b", True, False),
    ],
)
def test_ranks_of_states_and_windows(model: str, vllm: bool, sglang: bool) -> None:
    """Any may differ from prompts to answers but recurrent states' in vLLM, windows' in SGLang."""
    found = preset(model)
    assert hands_over("vllm", found, ONE, WIDE) is vllm
    assert hands_over("sglang", found, ONE, WIDE) is sglang
    for engine in ("vllm", "sglang"):
        assert hands_over(engine, found, WIDE, WIDE)


def test_no_answer_of_a_search_joins_stages_in_vllm() -> None:
    """By bytes alone some of the best pairs have stages."""
    heavy = Target(
        request=Request(prompt_tokens=4000, output_tokens=500), concurrency=50, ttft_p95_s=2.0,
        tpot_s=0.04,
    )  # fmt: skip
    model, offers = preset("llama-3.1-70b"), OFFERS[:4]
    staged = {}
    for engine in ("ideal", "vllm"):
        found = search(
            model, offers, speed_of, heavy, Space(max_gpus=16, engines=(engine,), apart=True)
        )
        pairs = [c for c in (*found.winners, *found.losers) if c.prompts is not None]
        assert pairs
        staged[engine] = [
            c for c in pairs
            if c.prompts is not None
            and (c.deployment.pipeline_parallel_size, c.prompts.pipeline_parallel_size) != (1, 1)
        ]  # fmt: skip
        for pair in pairs if engine == "vllm" else ():
            said = " ".join(command for _, command in commands(pair, heavy, model))
            assert "NixlConnector" in said
            assert "--pipeline-parallel-size" not in said
    assert staged["ideal"]
    assert not staged["vllm"]
