"""Lookahead decoding: the tokens of a pass as three implementations lay them out, and its price."""

import pytest

from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.hf_config import parse
from planner.timing.latency import Latency, Request, latency
from planner.timing.lookahead import Lookahead, needed, pass_s
from presets.gpus import load_gpu
from presets.models import load_model_config
from presets.speed import speed_of

MODEL = parse(load_model_config("llama-2-7b-hf"))


def at(gpu_id: str) -> Latency:
    gpu = load_gpu(gpu_id)
    asked = Request(prompt_tokens=200, output_tokens=200)
    return latency(MODEL, gpu, Deployment(), speed_of(gpu), asked, 1)


@pytest.mark.parametrize(("w", "n", "g"), [(4, 3, 4), (7, 5, 7), (15, 5, 15), (5, 4, 5), (9, 2, 3)])
def test_a_pass_has_what_llama_cpp_and_tensorrt_llm_put_into_it(w: int, n: int, g: int) -> None:
    found = Lookahead(w, n, g).tokens
    # llama.cpp: the last token, candidates, the first row of the window without it, later rows
    assert found == 1 + g * (n - 1) + (w - 1) + (n - 2) * w
    # TensorRT-LLM: drafts of the path, of other places and of candidates, and the last token
    assert found == (n - 2) + (w - 1 + g) * (n - 1) + 1


def test_one_user_of_an_a100_pays_what_the_roofline_says() -> None:
    """Llama-2-7B: 6.6e9 parameters without the embedding. 120 tokens are below the 156 FLOPs a byte
    of an A100, so that a pass of them reads the weights as one of a single token does."""
    now, wide = at("a100-sxm4-80gb"), Lookahead(15, 5, 15)
    one = pass_s(now, MODEL, 1, 1)
    assert one == pytest.approx(now.tpot.seconds, rel=0.02)
    assert 1 < needed(now, MODEL, wide, 1) < 1.5
    # 8 users carry 960 tokens: 2 x 6.6e9 x 960 FLOPs at 312 TFLOP/s at best
    eight = pass_s(now, MODEL, wide.tokens, 8)
    assert eight > 2 * 6.6e9 * 960 / 312e12
    assert needed(now, MODEL, wide, 64) > wide.most


def test_narrow_windows_cost_less() -> None:
    now = at("rtx-4090")
    found = [needed(now, MODEL, Lookahead(w, 5, w), 4) for w in (2, 4, 8, 16)]
    assert found == sorted(found)


def test_settings_that_guess_nothing_are_refused() -> None:
    with pytest.raises(PlanRefused, match="n-grams of 2 or more"):
        Lookahead(4, 1, 4)
