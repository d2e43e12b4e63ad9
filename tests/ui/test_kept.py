"""Plans kept for comparison: their links give the very same plans, or there is no link."""

import json
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from planner.deployment import Deployment
from planner.hardware import custom_gpu, gpu_with_memory
from planner.plan import Plan, make_plan
from planner.units import GIB, MIB
from planner.workload import Workload
from presets.gpus import load_gpu
from tests.ui.test_saved import CONFIG
from ui.kept import link_of, plan_of
from ui.model_source import from_preset, from_text
from validate.calibration import calibrated_gpu
from validate.record import shipped


def plan(**changes: Any) -> Plan:
    inputs: dict[str, Any] = {
        "model": from_preset("deepseek-v3").model,
        "gpu": load_gpu("h200-sxm-141gb"),
        "deployment": Deployment(tensor_parallel_size=8, kv_cache_dtype="fp8"),
        "workload": Workload(context=65536, concurrency=4),
    }
    return make_plan(**{**inputs, **changes})


@pytest.mark.parametrize(
    ("made", "link"),
    [
        (plan(), "model=deepseek-v3,gpu=h200-sxm-141gb,gpus=8,kv=fp8,context=65536,users=4"),
        (
            plan(
                gpu=gpu_with_memory(load_gpu("h100-sxm5-80gb"), 90 * GIB),
                deployment=Deployment(tensor_parallel_size=8, enable_expert_parallel=True),
                workload=Workload(context=32768, concurrency=12),
            ),
            f"model=deepseek-v3,gpu=h100-sxm5-80gb,memory={90 * GIB // MIB},gpus=8,ep=True",
        ),
        (
            plan(
                model=from_preset("llama-3.1-8b").model, gpu=custom_gpu(24 * GIB),
                deployment=Deployment(), workload=Workload(context=32768, concurrency=12),
            ),
            "model=llama-3.1-8b,gpu=custom,memory=24576",
        ),
    ],
)  # fmt: skip
def test_a_link_has_what_is_no_default_and_gives_the_plan_again(made: Plan, link: str) -> None:
    assert link_of(made) == link
    assert plan_of(link) == made


def test_a_calibrated_plan_is_linked_where_its_record_ships() -> None:
    record = shipped()[0]
    made = plan(gpu=calibrated_gpu(load_gpu("h200-sxm-141gb"), record))
    assert plan_of(link_of(made) or "") == made


@pytest.mark.parametrize(
    "changes",
    [
        {"model": from_text(json.dumps(CONFIG)).model},
        {"model": from_text(json.dumps(CONFIG), "Qwen/Qwen3-8B").model},
        {"gpu": gpu_with_memory(load_gpu("h200-sxm-141gb"), 90 * GIB + 1)},
    ],
)
def test_what_a_link_cannot_say_exactly_has_none(changes: dict[str, Any]) -> None:
    small = Deployment(), Workload(context=2048, concurrency=1)
    assert link_of(plan(**{"deployment": small[0], "workload": small[1], **changes})) is None


@pytest.mark.parametrize(
    "link",
    ["zebra=1", "gpus=zebra", "gpus", "ep=maybe", "model=zebra", "gpu=custom", "gpus=7,pp=2",
     "users=0", "context=", "kv=fp9"],
)  # fmt: skip
def test_a_wrong_link_gives_no_plan(link: str) -> None:
    assert plan_of(link) is None


def framed() -> None:
    from ui import frame

    frame.draw()


def test_the_address_brings_kept_plans_back_and_a_wrong_one_is_said() -> None:
    app = AppTest.from_function(framed, default_timeout=60)
    app.query_params["kept"] = ["users=3", "model=zebra", "model=qwen3-8b,users=2"]
    app.run()
    assert [p.workload.concurrency for p in app.session_state["kept_plans"]] == [3, 2]
    assert app.query_params["kept"] == ["users=3", "model=qwen3-8b,users=2"]
    assert "The link asks for kept=users=3,model=zebra" in app.warning[0].value
    app.button(key="keep").click().run()
    assert app.query_params["kept"][-1] == "model=llama-3.1-8b,gpu=h100-sxm5-80gb"
