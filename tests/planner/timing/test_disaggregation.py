"""Pools that keep up with each other."""

import pytest

from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.hf_config import parse
from planner.timing.disaggregation import BUSIEST, disaggregate
from planner.timing.latency import Request, latency
from presets.gpus import load_gpu
from presets.models import load_model_config
from presets.speed import speed_of

GPU = load_gpu("h100-sxm5-80gb")
MODEL = parse(load_model_config("llama-3.1-8b"))
REQUEST = Request(prompt_tokens=8192, output_tokens=256)


def apart(users: int):  # type: ignore[no-untyped-def]
    return disaggregate(MODEL, GPU, Deployment(), Deployment(), speed_of(GPU), REQUEST, users)


def test_answers_are_not_held_up() -> None:
    together = latency(MODEL, GPU, Deployment(), speed_of(GPU), REQUEST, 24)
    assert apart(24).tpot_s < float(together.load.tpot_s)


def test_the_cache_of_a_prompt_is_what_is_sent() -> None:
    """131,072 B a token over a 50 GB/s adapter of which 90 % arrives."""
    found = apart(4)
    assert found.transfer_bytes == 8192 * 131_072
    assert found.transfer_s == pytest.approx(8192 * 131_072 / 45e9, rel=0.01)


def test_ranks_send_their_shares_at_once() -> None:
    pair = Deployment(tensor_parallel_size=2)
    found = disaggregate(MODEL, GPU, Deployment(), pair, speed_of(GPU), REQUEST, 4)
    assert found.transfer_bytes == 8192 * 131_072
    assert found.transfer_s == pytest.approx(8192 * 131_072 / 2 / 45e9, rel=0.01)


@pytest.mark.parametrize("users", [1, 16, 64, 200])
def test_prefill_keeps_up_and_no_replica_is_spare(users: int) -> None:
    found = apart(users)
    assert found.prefill_utilisation <= BUSIEST + 1e-9
    busy = found.prefill_utilisation * found.prefill_replicas
    assert found.prefill_replicas == 1 or busy / (found.prefill_replicas - 1) > BUSIEST
    assert found.gpus == found.prefill_replicas + found.decode_replicas
    assert found.users_per_decode_replica * found.decode_replicas >= users


def test_a_replica_too_small_for_one_user_is_refused() -> None:
    model = parse(load_model_config("llama-3.3-70b-instruct"))
    with pytest.raises(PlanRefused, match="no room for one request"):
        disaggregate(model, GPU, Deployment(), Deployment(), speed_of(GPU), REQUEST, 1)
