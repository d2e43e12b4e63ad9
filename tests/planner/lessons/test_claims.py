"""The quoted numbers: planner, shipped table and, where it is there, the shared truth agree."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from planner.kinds.attention import Attention
from planner.lessons.claims import Claim, agrees, recompute
from planner.lessons.quantities import ESTIMATES
from planner.training.recipe import Recipe
from planner.training.states import states
from planner.training.tensors import Held
from presets.claims import claim_sources, load_claims, presets
from presets.models import all_names
from presets.published import quality
from validate.record import shipped

TRUTH = Path(__file__).parents[4] / "shared" / "truth" / "source_claims.json"
LISTED: list[dict[str, Any]] = json.loads(TRUTH.read_text())["claims"] if TRUTH.is_file() else []
CLAIMS = {claim.id: claim for claim in load_claims()}
KNOWN = presets()


def numbers(value: Any) -> list[float]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def test_82_claims_each_with_a_source_and_a_sentence() -> None:
    assert len(CLAIMS) == len(load_claims()) == 82
    sources = list(claim_sources())
    assert [c.source for c in load_claims()] == sorted(
        (c.source for c in load_claims()), key=sources.index
    )
    for claim in CLAIMS.values():
        assert claim.claim.endswith(".")
        assert claim.why.endswith(".")


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_the_planner_finds_what_the_table_ships(claim: Claim) -> None:
    found = recompute(claim, KNOWN)
    off = 0.05 if claim.quantity in ESTIMATES else 1e-5
    assert numbers(found) == pytest.approx(numbers(claim.value), rel=off)


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_the_verdict_follows_from_the_figures(claim: Claim) -> None:
    if claim.claimed is None or isinstance(claim.claimed, str):
        return
    same = agrees(claim.claimed, recompute(claim, KNOWN))
    if claim.verdict == "holds":
        assert same
    elif claim.verdict in ("near", "wrong"):
        assert not same


@pytest.mark.skipif(not LISTED, reason="shared/truth/source_claims.json is not beside the repo")
def test_the_table_has_the_shared_truth_in_its_order() -> None:
    listed = [claim["id"] for claim in LISTED]
    assert listed == [name for name in CLAIMS if name in listed]
    for wanted in LISTED:
        claim = CLAIMS[wanted["id"]]
        assert claim.verdict == wanted["verdict"], claim.id
        assert claim.unit == wanted["unit"], claim.id
        assert numbers(claim.value) == pytest.approx(numbers(wanted["true"]), rel=2e-3), claim.id
        if wanted["claimed"] is None or isinstance(wanted["claimed"], str):
            assert claim.claimed == wanted["claimed"]
        else:
            close = pytest.approx(numbers(wanted["claimed"]), rel=1e-3)
            assert numbers(claim.claimed) == close, claim.id


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("llama3-8b-kv-1k", 0.125),  # 2 x 8 x 128 x 2 B x 32 layers x 1024 = 2^27 B
        ("scores-8k-32h", 8192 * 8192 * 32 * 2 / 1e9),
        ("llama70b-b512", 2 * 64 * 128 * 2 * 80 * 2048 * 512 / 1e12),
        ("a100-sram", 108 * 192 / 1024),
        ("7b-token", 16384.0),
        ("naive-4k", 4096 * 4097 / 2),
        # 312 TFLOP/s / 2.039 TB/s over 32 n / (n + 64) and 64 n / (n + 128) FLOPs a byte
        ("note-speedup", (153.0162 / (64 * 2048 / 2176), 153.0162 / (32 * 2048 / 2112))),
        ("walls-speedup", 153.0162 / (32 * 2048 / 2112)),
        ("flash-h100-fp8", (295.2239 * 2176 / 131072, 590.4478 * 2176 / 131072)),
        # (2 n + 8 d) / (8 d + 4) with d = 64: scores, Q, K, V and O over Q, K, V, O and one float
        ("note-memory", (2560 / 516, 8704 / 516, 16896 / 516)),
        ("walls-memory", (4608 / 516, 8704 / 516, 16896 / 516)),
        ("note-gqa-models", (32, 8, 1, 16)),
        ("heads-gqa-models", (32, 40, 8, 8)),
        ("note-int8-flag", 132 / 128),
        ("note-gqa-quality", (100 * 47.1 / 47.2, 100 * 41.2 / 45.2)),
        ("sram-size", 80e9 / (108 * 164 * 1024)),
        ("a100-shared", 164),
        ("cache-total", 8192 * 8193 / (4096 * 4097)),
        ("cache-step", 2),
        ("inference-step", (8192 * 8193 / (4096 * 4097), 2)),
        ("inference-naive", 8192 * 8193 * 8194 / (4096 * 4097 * 4098)),
        ("decode-pairs", (171_700, 5050)),
        ("naive-4k-pairs", (4096 * 4097 * 4098 / 6, 4096 * 4097 / 2)),
        # four matrices of 32 heads x 2,048 x 128 x 2 B, and 32 x 2,048 floats
        ("calc-flash-all-layers", 4 * 16 + 0.25),
        ("calc-saved", (256 - 0.25) / 1024),
        ("flash-2-on-h100", (370 / 989,)),
        ("flash-1-share", (124 / 312,)),
        ("scores-512-l2", 512 * 512 * 2 / 1024),
        # 128 bytes a clock: A100 and H100 at their boost clocks
        ("shared-rate", 108 * 128 * 1.41e9 / 1e12),
        ("h100-shared-rate", 132 * 128 * 1.98e9 / 1e12),
        # 132 SMs at 1.98 GHz and 108 at 1.41, 16 exponentials a clock
        ("exponential-gap", (989e12 / (132 * 1.98e9 * 16), 312e12 / (108 * 1.41e9 * 16))),
        ("mixed-precision", 2),
        ("megatron-24x", 8),
        ("zero2-collective", 2),
        ("dive-cache-formula", 2 * 64 * 128 * 2 / 1024),
        ("dive-head-range", (8, 64)),
        ("dive-quadratic-prefill", 1),
        ("inference-softmax", 2048 * 2048 * 2 / 2**20),
        ("memory-bound-2k", (64 * 256 / 384, 64 * 2048 / 2176, 64 * 8192 / 8320)),
        ("b200-memory", 182_631 * 2**20 / 1e9),
        ("b200-bandwidth", 7.672),
    ],
)
def test_figures_by_hand(claim: str, value: float | tuple[float, ...]) -> None:
    assert recompute(CLAIMS[claim], KNOWN) == pytest.approx(value, rel=1e-5)


def test_mixtral_holds_all_its_experts() -> None:
    """32 layers of attention, router, 8 experts of which 2 work, norms; two tables; a last norm."""
    h, expert = 4096, 3 * 4096 * 14336
    each = 2 * h * h + 2 * h * 1024 + 8 * h + 2 * h
    outside = 2 * 32000 * h + h
    total, active = (32 * (each + n * expert) + outside for n in (8, 2))
    assert recompute(CLAIMS["moe-memory"], KNOWN) == pytest.approx((total / 1e9, active / 1e9))


def test_answers_of_the_quoted_lengths_gain_1_7_to_8_5_times() -> None:
    """Records of two H200s differ by 3 %."""
    found = recompute(CLAIMS["cache-speedup"], KNOWN)
    assert found == pytest.approx((1.7, 3.8, 5.2, 8.5), rel=0.04)


def test_what_was_measured_is_quoted_as_it_was_measured() -> None:
    details = {
        case.id.removeprefix("speed/claims/"): case.details
        for record in shipped() if record.kind == "measurement" and "H200" in record.card["name"]
        for case in record.section("speed")
    }  # fmt: skip
    faster = {n: details[f"flash-time-{n}"] for n in (2048, 4096, 8192)}
    smaller = {n: details[f"flash-memory-{n}"] for n in (2048, 4096, 8192)}
    for n, size in ((2048, "2K"), (4096, "4K"), (8192, "8K")):
        times = f"{faster[n]['naive_s'] / faster[n]['flash_s']:.1f} at {size}"
        assert times in CLAIMS["walls-speedup"].why
        saved = smaller[n]["naive_bytes"] / smaller[n]["flash_bytes"]
        assert re.search(rf"\b{saved:.0f} (times less )?at {size}", CLAIMS["note-memory"].why)
        if n != 4096:
            assert times in CLAIMS["note-speedup"].why


def test_scores_are_those_of_the_papers() -> None:
    rows = {row.paper.rpartition(", ")[2]: row.scores for row in quality() if "GQA" in row.scores}
    inputs = CLAIMS["note-gqa-quality"].inputs
    assert inputs["scores"] == [rows["GQA"]["GQA"], rows["DeepSeek-V2"]["GQA"]]
    assert inputs["of"] == [rows["GQA"]["MHA"], rows["DeepSeek-V2"]["MHA"]]


def test_no_preset_shares_a_kv_head_among_96() -> None:
    mixers = {
        m for name in all_names() for g in KNOWN.model_of(name.id).groups for m in g.mixers
        if isinstance(m, Attention)
    }  # fmt: skip
    ratios = {(m.num_attention_heads // m.num_key_value_heads, m.num_key_value_heads > 1)
              for m in mixers}  # fmt: skip
    grouped = [n for n, several in ratios if several and n > 1]
    assert (min(grouped), max(grouped)) == (2, 32)
    assert max(n for n, several in ratios if not several) == 71
    assert "2 to 32 with GQA, and 71 with MQA" in CLAIMS["dive-head-range"].why


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_states_are_16_bytes_a_parameter_in_either_precision(precision: str) -> None:
    held = Held("weight", (1000,), "linear", 1)
    found = states([held], Recipe(precision=precision, sharding="ddp"), 0)  # type: ignore[arg-type]
    assert found.in_place("none") == 16_000
    assert "16 bytes a parameter" in CLAIMS["mixed-precision"].why


def test_agreement_is_to_the_digits_given() -> None:
    assert agrees(4.3, 4.294967)
    assert agrees(0.0, 0.0419)
    assert not agrees(2.6, 2.684)
    assert not agrees(32, 80.0)
    assert agrees((8, 32), (8.0, 32.0))
    assert not agrees((8, 32), (8.0, 16.0))
