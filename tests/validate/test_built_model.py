"""Built layers in the interpreter: decoding from the pool continues what prefill computed."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from planner.deployment import Deployment
from planner.hardware import custom_gpu
from planner.hf_config import parse
from planner.plan import make_plan
from planner.units import GIB
from planner.workload import Workload
from tests.validate.configs import GEMMA, LLAMA, MLA, MOE
from validate.bench import Bench
from validate.built_model import BuiltModel, runnable, scaled
from validate.inputs import model_of

CPU = torch.device("cpu")
if torch.cuda.is_available():
    pytest.skip("the interpreter is for machines without a GPU", allow_module_level=True)


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def built(config: dict[str, Any], context: int = 32, **deployment: Any) -> BuiltModel:
    torch.manual_seed(0)
    plan = make_plan(
        parse(config), custom_gpu(8 * GIB), Deployment(enforce_eager=True, **deployment),
        Workload(context=context, concurrency=2),
    )  # fmt: skip
    made = BuiltModel(Bench(CPU), plan)
    made.build_pools()
    return made


@pytest.mark.parametrize("config", [LLAMA, MOE, GEMMA, MLA], ids=["gqa", "moe", "window", "mla"])
def test_decoding_the_last_token_gives_what_prefill_gave(config: dict[str, Any]) -> None:
    tokens = 32
    model = built(config, tokens)
    prompt = model.step(tokens, decode=False)
    step = model.step(2, decode=True)
    for key in prompt.chosen:  # the same experts for every token, in both passes
        first = torch.arange(key[1])
        prompt.chosen[key] = first.repeat(tokens, 1)
        step.chosen[key] = first.repeat(2, 1)
    ids = model.random_ids(tokens)
    prompt_slots = model.step(tokens, decode=False)
    prompt_slots.chosen = prompt.chosen
    wanted = model.logits(ids, prompt_slots)
    chosen = step.chosen
    step = model.step(2, decode=True)
    step.chosen = chosen
    got = model.logits(torch.stack([ids[-1], ids[0]]), step)
    assert wanted.shape == (1, model.model.vocab_size)
    error = (got[0] - wanted[0]).float().norm() / wanted.float().norm()
    assert error < 0.02
    assert (got[1] - wanted[0]).float().norm() / wanted.float().norm() > 0.1


@pytest.mark.parametrize("config", [LLAMA, MOE, GEMMA, MLA], ids=["gqa", "moe", "window", "mla"])
def test_what_is_held_is_what_was_planned(config: dict[str, Any]) -> None:
    model = built(config, 48)
    plan = model.plan
    pools = sum(pool.nbytes for pool in model.pools.values())
    assert model.weight_bytes() == plan.stage.weights_bytes
    assert pools == plan.parts.kv_cache + plan.parts.block_rounding


def test_formats_without_a_kernel_are_held_and_said_to_be() -> None:
    model = built(LLAMA, weights_dtype="int4")
    assert model.weight_bytes() == model.plan.stage.weights_bytes
    assert "no kernel here multiplies int4" in runnable(model.model, model.deployment)


def test_layers_without_a_kernel_are_refused() -> None:
    assert "gated_deltanet" in runnable(model_of("qwen3-next-80b-a3b-thinking"), Deployment())
    assert runnable(model_of("llama-3.1-8b"), Deployment()) == ""
    assert "one GPU" in runnable(model_of("llama-3.1-8b"), Deployment(tensor_parallel_size=2))


def test_a_scaled_model_keeps_the_share_of_every_kind() -> None:
    gemma = model_of("gemma-3-27b-it")  # 52 windows and 10 full layers
    third = scaled(gemma, 31)
    assert third.num_hidden_layers == 31
    assert sorted(i for group in third.groups for i in group.layers) == list(range(31))
    counts = third.layer_counts
    assert counts["full"] in (5, 6)
    assert scaled(gemma, 62) is gemma
