"""Offers come from dated prices; the reference card's speed from its record."""

import json
from pathlib import Path

import pytest

from planner.errors import PlanRefused
from planner.timing.roofline import Work, roofs_of
from presets.gpus import all_gpus, load_gpu
from presets.offers import cheapest_offer, offers, unpriced
from presets.prices import prices_of
from presets.speed import reference, speed_of

RECORD = Path(__file__).parents[2] / "validate" / "records" / "h200-full.json"


def test_every_offer_is_a_listed_price() -> None:
    for offer in offers():
        listed = {p.usd_per_gpu_hour for p in prices_of(offer.gpu.id) if p.kind == "on-demand"}
        assert offer.usd_per_gpu_hour in listed
        assert offer.note


def test_a_larger_lot_is_offered_only_where_it_is_cheaper() -> None:
    for gpu_id in {offer.gpu.id for offer in offers()}:
        mine = sorted((o for o in offers([gpu_id])), key=lambda o: o.lot)
        costs = [o.usd_per_gpu_hour for o in mine]
        assert costs == sorted(costs, reverse=True)
        assert len({o.lot for o in mine}) == len(mine)


def test_an_offer_of_one_gpu_is_a_machine_with_one() -> None:
    """Lambda's '1x GH200' and '1x A10', by their names; RunPod's pods have several."""
    held = {o.gpu.id: o.gpu.machine_gpus for o in offers(["gh200-96gb", "a10", "l40s"])}
    assert held == {"gh200-96gb": 1, "a10": 1, "l40s": None}
    assert load_gpu("a10").machine_gpus is None
    assert {p.machine_gpus for p in prices_of("rtx-a6000") if p.offer == "4x A6000"} == {4}


def test_one_of_a_lot_is_charged_as_the_lot() -> None:
    """Lambda sells the A100 of 40 GB by eights at $1.99: $15.92 an hour for 1 as for 8, $31.84
    for 9. A GPU on nobody's list has no price, and one that the user gives has no lots."""
    card = load_gpu("a100-sxm4-40gb")
    for used, charged, usd in ((1, 8, 15.92), (8, 8, 15.92), (9, 16, 31.84)):
        found = cheapest_offer(card, used)
        assert found is not None
        assert found.note.startswith("Lambda")
        assert (found.charged(used), found.usd_per_hour(used)) == (charged, pytest.approx(usd))
        paid = f"sold 8 at a time ({charged} paid for, {used} used)"
        assert (paid in found.words(used)) == (charged > used)
    assert cheapest_offer(load_gpu("gaudi-2"), 8) is None
    mine = cheapest_offer(card, 1, own_usd=2.5)
    assert mine is not None
    assert mine.usd_per_hour(1) == 2.5
    with pytest.raises(PlanRefused, match="above 0, not -1"):
        cheapest_offer(card, 1, own_usd=-1)


def test_own_prices_replace_listed_ones_and_add_cards() -> None:
    own = {"H200-SXM-141GB": 1.25, "l4": 0.5}
    found = {o.gpu.id: o for o in offers(own_usd=own)}
    assert found["h200-sxm-141gb"].usd_per_gpu_hour == 1.25
    assert found["l4"].note == "as given"
    assert unpriced(["l4", "t4"], offers(["l4", "t4"], own_usd=own)) == ("t4",)


def test_an_unknown_card_is_refused() -> None:
    with pytest.raises(PlanRefused, match="h200-sxm-141gb"):
        offers(["h200-sxm-141g"])


def test_measured_points_are_those_of_the_record() -> None:
    record = json.loads(RECORD.read_text())
    kept = {(p.kernel, p.variant, p.bound, p.measured_s) for p in reference().points}
    measured = [p for p in record["points"] if p["kernel"] in ("matmul", "elementwise")]
    assert len(measured) > 30
    for p in measured:
        assert (p["kernel"], p["variant"], p["bound"], round(p["measured_s"], 9)) in kept


def test_no_kernel_of_the_reference_beats_its_roof_but_in_the_cache() -> None:
    """Small kernels read what the one before left in the L2 cache, up to 1.5 times faster."""
    for point in reference().points:
        assert 0 < point.efficiency < (1.5 if point.kernel == "elementwise" else 1.05), point


def test_an_unmeasured_card_sustains_less_than_its_peaks() -> None:
    for gpu in all_gpus():
        if gpu.memory_bandwidth_bytes_per_s is None:
            continue
        peaks, found = roofs_of(gpu), speed_of(gpu)
        assert found.roofs.read_bytes_per_s < peaks.read_bytes_per_s
        if peaks.bf16_flops_per_s and found.roofs.bf16_flops_per_s:
            assert found.roofs.bf16_flops_per_s < peaks.bf16_flops_per_s
        assert found.low < 1 < found.high


def test_cards_borrow_one_table_of_efficiencies() -> None:
    one, other = (speed_of(load_gpu(name)) for name in ("l4", "b200-sxm-180gb"))
    assert one.efficiencies.table is other.efficiencies.table


def attention_flops_per_s(gpu_id: str, prompt: int) -> float:
    """Of Llama's layers of 32 heads of 128, in one prompt."""
    found = speed_of(load_gpu(gpu_id))
    flops = 2 * 32 * 2 * 128 * prompt * (prompt + 1) // 2
    work = Work("flash_attention", "d128", "attention", 1, "bf16", flops)
    return flops / found.efficiencies.expected_s(work, found.roofs)


def test_long_prompts_attend_as_fast_as_the_kernels_are() -> None:
    """FlashAttention-3 at 16k tokens, causal, on an H200: 665 TFLOP/s one kernel after the other,
    714 in turn with others (benchmarks/NOTES.md). FlashAttention-2 reaches up to 73 % of an A100's
    312 (arXiv 2307.08691).
    """
    assert 640e12 < attention_flops_per_s("h200-sxm-141gb", 16_384) < 715e12
    assert 600e12 < attention_flops_per_s("h100-sxm5-80gb", 16_384) < 715e12
    assert 0.6 * 312e12 < attention_flops_per_s("a100-sxm4-80gb", 16_384) < 0.73 * 312e12
    assert "FlashAttention-2" in speed_of(load_gpu("a100-sxm4-80gb")).source
    assert "FlashAttention-2" not in speed_of(load_gpu("h100-sxm5-80gb")).source
