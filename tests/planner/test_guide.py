"""Decisions follow the load: each asserted where its figure must fall on one side."""

import re

import pytest

from planner.deployment import Deployment
from planner.findings import findings
from planner.guide import guide
from planner.guide.case import Decision
from planner.hf_config import parse
from planner.plan import make_plan
from planner.timing.latency import Request, latency
from planner.workload import Workload
from presets.gpus import load_gpu
from presets.models import load_model_config
from presets.speed import speed_of


def of(
    name: str, gpu_id: str, users: int, request: Request | None = None, *, asked: int | None = None,
    acceptance: float = 0.7, **sizes: object,
) -> dict[str, Decision]:  # fmt: skip
    gpu = load_gpu(gpu_id)
    found = guide(
        parse(load_model_config(name)), gpu, Deployment(**sizes), speed_of(gpu),  # type: ignore[arg-type]
        request or Request(), users, asked=asked, acceptance=acceptance,
    )  # fmt: skip
    return {decision.topic: decision for decision in found}


def codes(context: int, users: int = 1) -> set[str]:
    model = parse(load_model_config("llama-3.1-8b"))
    work = Workload(context=context, concurrency=users)
    plan = make_plan(model, load_gpu("h100-sxm5-80gb"), Deployment(), work)
    return {finding.code for finding in findings(plan)}


def test_the_kernel_follows_the_card() -> None:
    chosen = {
        gpu: of("llama-3.1-8b", gpu, 1)["attention"].choice
        for gpu in ("b200-sxm-180gb", "h100-sxm5-80gb", "a100-sxm4-80gb", "t4", "mi300x")
    }
    assert chosen["b200-sxm-180gb"] == "FlashAttention-4"
    assert chosen["h100-sxm5-80gb"] == "FlashAttention-3"
    assert chosen["a100-sxm4-80gb"] == "FlashAttention-2"
    assert "scaled_dot_product" in chosen["t4"]
    assert "portable" in chosen["mi300x"]
    assert (
        "FlashMLA" not in of("deepseek-v3", "mi300x", 1, tensor_parallel_size=8)["attention"].choice
    )
    assert "FlashMLA" in of("deepseek-v3", "h200-sxm-141gb", 1, tensor_parallel_size=8)[
        "attention"
    ].choice  # fmt: skip


def test_fp8_attention_pays_for_long_prompts_on_cards_that_have_it() -> None:
    def chosen(gpu: str, prompt: int) -> Decision:
        return of("llama-3.1-8b", gpu, 1, Request(prompt_tokens=prompt))["attention arithmetic"]

    assert chosen("h100-sxm5-80gb", 1024).choice == "16 bits"
    assert chosen("h100-sxm5-80gb", 131072).choice == "fp8, if you may lose precision"
    assert 1.2 < chosen("h100-sxm5-80gb", 131072).figure < 1.8
    assert "no FP8" in chosen("a100-sxm4-80gb", 131072).because


def test_stored_scores_cost_what_their_traffic_does() -> None:
    """8,192 tokens, 32 heads: scores of 4 GiB written and read twice over 4.27 TB/s, against
    arithmetic at 685 to 790 TFLOP/s, as large matmuls on H200s ran between runs."""
    found = of("llama-3.1-8b", "h200-sxm-141gb", 1)["attention"]
    assert "4.00 GiB" in found.because
    naive_s = 4 * 2**32 / (0.89 * 4.8e12)
    pair_flops = 4 * 32 * 128 * 8192 * 8193 / 2
    low, high = (naive_s / (pair_flops / rate) for rate in (685e12, 790e12))
    assert 0.9 * low < found.figure < 1.1 * high


def test_speculation_pays_for_few_users_and_good_drafts_only() -> None:
    few = of("llama-3.1-8b", "h200-sxm-141gb", 1)["speculation"]
    many = of("llama-3.1-8b", "h200-sxm-141gb", 512, Request(prompt_tokens=128))["speculation"]
    poor = of("llama-3.1-8b", "h200-sxm-141gb", 1, acceptance=0.02)["speculation"]
    assert few.figure > 1.5
    assert few.figure > many.figure
    assert poor.choice == "off"


def test_the_cache_format_matters_where_the_cache_does() -> None:
    short = of("llama-3.1-8b", "h200-sxm-141gb", 1, Request(prompt_tokens=64, output_tokens=64))
    long = of("llama-3.1-8b", "h200-sxm-141gb", 8, Request(prompt_tokens=100_000))
    assert "fp8" in long["cache format"].choice
    assert long["weights"].figure < short["weights"].figure


def test_the_cache_format_says_what_memory_holds_even_where_that_is_nothing() -> None:
    """141 GB of weights never fit in 80 GB."""
    none = of("llama-3.1-70b", "h100-sxm5-80gb", 16)["cache format"]
    assert "memory holds 0 users either way" in none.because
    context = Request().context
    model = parse(load_model_config("llama-3.1-70b"))
    plan = make_plan(
        model, load_gpu("h100-sxm5-80gb"), Deployment(tensor_parallel_size=2),
        Workload(context=context),
    )  # fmt: skip
    most = plan.max_concurrency
    assert most
    full, over = (
        of("llama-3.1-70b", "h100-sxm5-80gb", users, tensor_parallel_size=2)["cache format"]
        for users in (most, most + 1)
    )
    assert f"room for {most} users either way" in full.because
    assert f"instead of {most}" in over.because


def test_the_cache_format_counts_those_who_wait_for_memory() -> None:
    """A cache of half the bytes holds twice as many: 2 x 58, and up to 2 more from what was left
    over for less than a 59th."""
    request = Request(output_tokens=500)
    short = of("llama-3.1-8b", "h100-sxm5-80gb", 58, request, asked=64)["cache format"]
    found = re.search(r"memory holds (\d+) users instead of 58$", short.because)
    assert found
    assert 2 * 58 <= int(found[1]) <= 2 * 58 + 2
    all_of_them = of("llama-3.1-8b", "h100-sxm5-80gb", 58, request)["cache format"]
    assert "room for 58 users either way" in all_of_them.because


def test_a_cache_format_that_holds_fewer_is_said_to() -> None:
    """150 users fit at 4 bits a number; at 8 bits half as many as the 4 bits hold."""
    found = of("llama-3.1-8b", "h100-sxm5-80gb", 150, Request(output_tokens=500),
               kv_cache_dtype="int4_per_token_head")["cache format"]  # fmt: skip
    assert "either way" not in found.because
    assert found.choice == "the model's own"
    fp8, four = re.findall(r"holds (\d+) users instead of (\d+)", found.because)[0]
    assert int(fp8) < 150 < int(four)


def test_prompts_of_others_call_for_separation() -> None:
    heavy = Request(prompt_tokens=16384, output_tokens=128)
    light = Request(prompt_tokens=128, output_tokens=2048)
    assert of("llama-3.1-8b", "h200-sxm-141gb", 32, heavy)["prefill and decode"].choice == "apart"
    assert of("llama-3.1-8b", "h200-sxm-141gb", 32, light)["prefill and decode"].choice == (
        "together"
    )


def test_the_layout_named_serves_at_least_as_many() -> None:
    found = of("llama-3.1-8b", "h100-sxm5-80gb", 64, tensor_parallel_size=4)["layout"]
    assert 1 <= found.figure < 1.1
    assert found.choice.endswith("as it is")
    assert of("llama-3.1-8b", "h100-sxm5-80gb", 1)["layout"].choice == "one GPU"


def test_the_layout_counts_the_users_that_its_own_memory_holds() -> None:
    """Replicas repeat the weights: two of two cards hold fewer users than one of four."""
    model, gpu = parse(load_model_config("qwen3-32b")), load_gpu("h100-sxm5-80gb")
    request = Request(prompt_tokens=4_000, output_tokens=4_000)
    replicas = Deployment(data_parallel_size=2, tensor_parallel_size=2)
    work = Workload(context=request.context, concurrency=1)
    few, many = (
        make_plan(model, gpu, deployment, work).max_concurrency
        for deployment in (replicas, Deployment(tensor_parallel_size=4))
    )
    assert few is not None
    assert many is not None
    assert few < many < 200
    sizes = {"data_parallel_size": 2, "tensor_parallel_size": 2}
    found = of("qwen3-32b", "h100-sxm5-80gb", few, request, asked=200, **sizes)["layout"]
    best = latency(
        model, gpu, Deployment(tensor_parallel_size=4), speed_of(gpu), request, many
    ).requests_per_s
    mine = latency(model, gpu, replicas, speed_of(gpu), request, few).requests_per_s
    assert found.choice == "tensor parallel 4, 1 stage, 1 replica"
    assert found.figure == pytest.approx(best / mine)
    assert f"with {many} users at once" in found.because


def test_a_choice_not_taken_says_why_its_gain_is_too_small() -> None:
    """For every load: the sentence of a choice that gains less than a tenth says so."""
    topics = ("attention arithmetic", "cache format", "weights", "speculation")
    for users in (1, 8, 64):
        for gpu, gpus in (("h100-sxm5-80gb", 1), ("h100-sxm5-80gb", 4), ("l40s", 2)):
            found = of("llama-3.1-8b", gpu, users, tensor_parallel_size=gpus)
            for topic in topics:
                decision = found[topic]
                kept = decision.choice in ("16 bits", "the model's own", "off")
                assert kept == (decision.figure <= 1.1)
                assert kept == ("not worth it" in decision.because or decision.figure == 1)


def test_no_format_is_advised_that_the_card_has_no_kernels_for() -> None:
    """A T4 reads no FP8 cache, and an MI210 multiplies neither FP8 nor NVFP4."""
    assert "and the card" in of("smollm2-135m", "t4", 8)["cache format"].because
    assert of("llama-3.1-8b", "mi210", 1)["weights"].choice == "int4, if you may lose precision"


def test_reserving_wastes_nothing_where_every_sequence_is_the_longest() -> None:
    whole = Request(prompt_tokens=131072 - 1024, output_tokens=1024)
    found = of("llama-3.1-8b", "h200-sxm-141gb", 1, whole)["cache allocation"]
    assert (found.choice, found.figure) == ("no matter", 0)
    assert of("llama-3.1-8b", "h200-sxm-141gb", 1)["cache allocation"].choice == "paged"


def test_room_for_more_users_counts_only_where_memory_lacks_it() -> None:
    """One user on a card that holds 55: twice the room is of no use to them."""
    few = of("llama-3.1-8b", "h100-sxm5-80gb", 1)["cache format"]
    full = of("llama-3.1-8b", "h100-sxm5-80gb", 60)["cache format"]
    assert few.choice == "the model's own"
    assert "room for 1 user either way" in few.because
    assert full.choice == "fp8, if you may lose precision"
    assert full.figure > 1.9


def test_a_found_prefix_is_worth_its_share() -> None:
    half = of("llama-3.1-8b", "h200-sxm-141gb", 8, Request(cached_tokens=4096))
    assert half["prefix caching"].choice == "on"
    assert 1.6 < half["prefix caching"].figure < 2.4
    assert "prefix caching" not in of("llama-3.1-8b", "h200-sxm-141gb", 8)


def test_failure_modes_are_found_where_they_are() -> None:
    assert "attention_bound_prefill" not in codes(8192)
    assert "attention_bound_prefill" in codes(120_000)
    assert "cache_could_overflow" in codes(8192, users=40)
    assert "cache_could_overflow" not in codes(8192)
    assert "does_not_fit" in codes(120_000, users=40)


def test_four_bits_lose_the_fp8_units_that_prompts_had() -> None:
    """An H100 multiplies fp8 twice as fast as the 16 bits that int4 is widened to."""
    sizes = {"tensor_parallel_size": 2, "weights_dtype": "fp8"}
    found = of(
        "llama-3.1-70b",
        "h100-sxm5-80gb",
        4,
        Request(prompt_tokens=8192, output_tokens=512),
        **sizes,
    )["weights"]
    assert found.choice.startswith("int4")
    later, now = map(float, re.findall(r"([\d.]+) ms", found.because)[-2:])
    assert 1.2 * now < later < 2 * now


@pytest.mark.parametrize("gpu", ["a100-sxm4-80gb", "h100-sxm5-80gb", "l4"])
def test_what_stays_as_it_is_is_not_instead_of_itself(gpu: str) -> None:
    """Prompts are bound by 16-bit arithmetic, which four-bit weights leave as it was."""
    found = of("llama-3.1-8b", gpu, 1)
    for decision in found.values():
        for later, now in re.findall(r"([\d.]+) ms instead of ([\d.]+) ms", decision.because):
            assert later != now
    assert re.search(r"a prompt takes [\d.]+ ms as before", found["weights"].because)


def test_four_bits_on_a_card_without_fp4_units_only_save_memory() -> None:
    """FP4 tensor cores came with compute capability 10; an H200 has 9.0."""
    hopper = of("llama-3.1-70b", "h200-sxm-141gb", 1, tensor_parallel_size=2)["weights"]
    assert hopper.choice.endswith(", if you may lose precision")
    assert "multiplies in 16 bits" in hopper.because
    blackwell = of("llama-3.1-70b", "b200-sxm-180gb", 1, tensor_parallel_size=2)["weights"]
    assert blackwell.choice.startswith("nvfp4") == ("multiplies" not in blackwell.because)


def test_chunks_shorten_a_tokens_longest_wait() -> None:
    """32,768 tokens at about 2 x 7.5e9 FLOP and their attention: whole, everybody waits for all of
    it; in chunks, for a part of it."""
    long = Request(prompt_tokens=32768, output_tokens=256)
    found = of("llama-3.1-8b", "h100-sxm5-80gb", 4, long, max_num_batched_tokens=32768)
    decision = found["prompt chunks"]
    assert decision.choice.startswith("max_num_batched_tokens ")
    chunk = int(decision.choice.split()[-1].replace(",", ""))
    assert 512 <= chunk <= 8192
    # Chunks late in a prompt read all of it, so that waits shrink by less than the chunk does.
    assert 3 < decision.figure < 32768 / chunk
    small = of("llama-3.1-8b", "h100-sxm5-80gb", 4, long, max_num_batched_tokens=chunk)
    assert small["prompt chunks"].choice == f"{chunk:,}, as it is"
    alone = of("llama-3.1-8b", "h100-sxm5-80gb", 1, long)["prompt chunks"]
    assert alone.choice == "no matter"


def test_chunks_too_small_to_fill_the_card_make_prompts_slow() -> None:
    """64 tokens read all weights for 64 rows: at the ridge of an H100 a pass has room for more."""
    slow = of("llama-3.1-8b", "h100-sxm5-80gb", 8, max_num_batched_tokens=64)["prompt chunks"]
    assert slow.choice.startswith("max_num_batched_tokens ")
    assert slow.figure > 2
