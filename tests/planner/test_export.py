"""A saved plan opens again as the same plan; a broken one is refused in a sentence."""

import json

import pytest

from planner.errors import PlanRefused
from planner.export import as_data, deployment_from, workload_from
from planner.hf_config import parse
from planner.plan import make_plan
from tests.planner.models import DEEPSEEK_V3
from tests.planner.test_plan import H100, model, plan


def test_a_saved_plan_opens_as_the_same_plan() -> None:
    before = plan(
        model(DEEPSEEK_V3), H100, context=9000, concurrency=5, prefix=64, tensor_parallel_size=8
    )
    data = json.loads(json.dumps(as_data(before, DEEPSEEK_V3), allow_nan=False))
    after = make_plan(
        parse(data["model"]["config"]), H100, deployment_from(data), workload_from(data)
    )
    assert as_data(after) == as_data(before)


def test_infinities_in_a_configuration_survive_as_text() -> None:
    config = {**DEEPSEEK_V3, "rope_scaling": {"beta_fast": float("inf")}}
    data = as_data(plan(model(config)), config)
    assert json.loads(json.dumps(data, allow_nan=False))["model"]["config"]["rope_scaling"] == {
        "beta_fast": "inf"
    }


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "schema_version"),
        ({"schema_version": 99}, "99"),
        ({"schema_version": 1}, "is missing"),
        ({"schema_version": 1, "deployment": {"tensor_parallel_size": "x"}}, "tensor_parallel"),
        ({"schema_version": 1, "deployment": {"colour": "red"}}, "colour"),
    ],
)
def test_broken_files_are_refused(data: dict[str, object], words: str) -> None:
    with pytest.raises(PlanRefused, match=words):
        deployment_from(data)
