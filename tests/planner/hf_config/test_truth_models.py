"""Every published model of the shared truth: parameters, cache, state and MTP layers, exactly.

The truth stands beside the repository and not in it; without it these tests are skipped.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from planner.hf_config import parse
from planner.model import Model
from planner.parameters import count

TRUTH = Path(__file__).parents[4] / "shared" / "truth"
LISTED = TRUTH / "models.json"
MODELS: list[dict[str, Any]] = json.loads(LISTED.read_text()) if LISTED.is_file() else []
WITHOUT = pytest.mark.skipif(not MODELS, reason="shared/truth/models.json is not beside the repo")


def parsed(truth: dict[str, Any]) -> Model:
    config = json.loads((TRUTH / "models" / truth["config_file"]).read_text())
    return parse(config, truth["id"])


@WITHOUT
@pytest.mark.parametrize("truth", MODELS, ids=[truth["id"] for truth in MODELS])
def test_a_published_model_is_exact(truth: dict[str, Any]) -> None:
    model = parsed(truth)
    found = count(model)
    assert found.total == truth["params_total"]
    assert found.active == truth["params_active"]
    assert found.embedding == truth["params_embedding"]
    for tokens, sizes in truth["kv_bytes_at"].items():
        expected = sizes.get("windowed", sizes.get("hf_measured_without_duplicate_values"))
        held = sum(
            2 * group.count * t.heads * t.width * t.entries(int(tokens))
            for group in model.groups
            for t in group.cache()
        )
        assert held == expected, tokens
    if truth.get("state_bytes_hf") is not None:
        sizes = {"model": 2, "float32": 4}
        state = sum(g.count * t.elements * sizes[t.dtype] for g in model.groups for t in g.state())
        assert state == truth["state_bytes_hf"]
    mtp = truth.get("mtp")
    expected_mtp = mtp["layers"] * mtp["params_per_layer_without_embedding_copies"] if mtp else None
    assert expected_mtp is None or found.mtp == expected_mtp
    if truth.get("params_total_multimodal"):
        assert found.total + found.towers == truth["params_total_multimodal"]
        assert model.parameters_elsewhere == ()


@WITHOUT
def test_no_model_of_the_truth_is_left_out() -> None:
    assert len(MODELS) >= 95
