"""The quoted numbers: planner, shipped table and, where it is there, the shared truth agree."""

import json
from pathlib import Path
from typing import Any

import pytest

from planner.lessons.claims import Claim, agrees, recompute
from presets.claims import claim_sources, load_claims, presets

TRUTH = Path(__file__).parents[4] / "shared" / "truth" / "source_claims.json"
LISTED: list[dict[str, Any]] = json.loads(TRUTH.read_text())["claims"] if TRUTH.is_file() else []
CLAIMS = {claim.id: claim for claim in load_claims()}
KNOWN = presets()


def numbers(value: Any) -> list[float]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def test_45_claims_each_with_a_source_and_a_sentence() -> None:
    assert len(CLAIMS) == len(load_claims()) == 45
    for claim in CLAIMS.values():
        assert claim.source in claim_sources()
        assert claim.claim.endswith(".")
        assert claim.why.endswith(".")


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_the_planner_finds_what_the_table_ships(claim: Claim) -> None:
    found = recompute(claim, KNOWN)
    assert numbers(found) == pytest.approx(numbers(claim.value), rel=1e-5)


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
def test_the_table_is_the_shared_truth() -> None:
    assert [claim["id"] for claim in LISTED] == list(CLAIMS)
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
    ],
)
def test_figures_by_hand(claim: str, value: float) -> None:
    assert recompute(CLAIMS[claim], KNOWN) == pytest.approx(value)


def test_agreement_is_to_the_digits_given() -> None:
    assert agrees(4.3, 4.294967)
    assert agrees(0.0, 0.0419)
    assert not agrees(2.6, 2.684)
    assert not agrees(32, 80.0)
    assert agrees((8, 32), (8.0, 32.0))
    assert not agrees((8, 32), (8.0, 16.0))
