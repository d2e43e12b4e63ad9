"""Records: judging, the schema, and the shipped measurement."""

import json
from pathlib import Path
from typing import Any

import pytest

from planner.errors import PlanRefused
from planner.hardware import gpu_calibrated
from planner.overheads import CONTEXT
from planner.plan import make_plan
from planner.timing.roofline import Efficiencies, time_s
from planner.timing.step_costs import step_costs
from presets.gpus import load_gpu
from validate.allocator import allocated_bytes
from validate.calibration import calibrated_gpu, calibration_from
from validate.cases import FULL_DRY_RUNS
from validate.inputs import known_gpu, model_of, resolve
from validate.record import (
    Case,
    Record,
    RecordRefused,
    as_json,
    from_text,
    measured,
    read,
    shipped,
    write,
)
from validate.verdict import difference, markdown, sentence, value
from validate.weight_tensors import requests

H200 = Path(__file__).parents[2] / "validate" / "records" / "h200-full.json"


def a_case(**values: Any) -> Case:
    return Case(**{"id": "x/y", "section": "memory", "title": "t", "unit": "bytes", **values})


def a_record(*cases: Case, **values: Any) -> Record:
    given = {
        "kind": "measurement", "suite": "quick", "started": "2026-11-23T01:02:03+00:00",
        "seconds": 1.0, "card": {"name": "Card"}, "software": {}, "commit": "abc",
    }  # fmt: skip
    return Record(**{**given, **values}, cases=cases)


@pytest.mark.parametrize(
    ("samples", "tolerance", "verdict"),
    [
        ([101.0, 99.0, 100.4], 0.005, "pass"),  # median 100.4
        ([101.0, 99.0, 100.6], 0.005, "fail"),
        ([120.0], None, "info"),
    ],
)
def test_a_median_is_held_against_the_tolerance(samples, tolerance, verdict) -> None:
    done = measured(a_case(predicted=100.0, tolerance=tolerance), samples)
    assert done.verdict == verdict
    assert done.samples == tuple(samples)


def test_a_bound_is_kept_by_anything_below_it() -> None:
    assert measured(a_case(predicted=2.0, at_most=True), [0.1]).verdict == "pass"
    assert measured(a_case(predicted=2.0, at_most=True), [2.1]).verdict == "fail"


def test_a_rehearsal_judges_nothing() -> None:
    done = measured(a_case(predicted=1.0, tolerance=0.1), [99.0], judge=False)
    assert done.verdict == "info"


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    record = a_record(measured(a_case(predicted=2.0, tolerance=0.1), [2.0, 2.1]), notes=("n",))
    write(record, tmp_path / "r.json")
    assert read(tmp_path / "r.json") == record


def test_what_json_cannot_say_becomes_null() -> None:
    text = as_json(a_record(a_case(measured=float("nan"))))
    assert json.loads(text)["cases"][0]["measured"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "schema_version: this file has 2"),
        ({"colour": "red"}, "unknown field 'colour'"),
        ({"card": None, "suite": ...}, "lacks the field 'suite'"),
        ({"cases": [{"id": "a", "section": "nowhere", "title": "", "unit": "s"}]}, "section"),
        ({"cases": [{"id": "a"}]}, "case lacks the field 'section'"),
        ({"cases": 3}, "cases: must be a list"),
    ],
)
def test_other_files_are_refused_in_a_sentence(change: dict[str, Any], message: str) -> None:
    data = {**json.loads(as_json(a_record())), **change}
    data = {key: value for key, value in data.items() if value is not ...}
    with pytest.raises(RecordRefused, match=message):
        from_text(json.dumps(data))


def test_no_json_is_refused() -> None:
    with pytest.raises(RecordRefused, match="no JSON"):
        from_text("{")


def test_figures_in_words() -> None:
    case = a_case(predicted=2**30, measured=2**30 * 1.01)
    assert (value(case, 2**30), difference(case)) == ("1.00 GiB", "+1.00 %")
    assert value(a_case(unit="s"), 0.00002) == "20.0 us"
    assert value(a_case(unit="s"), 0.02) == "20.00 ms"


def test_the_sentence_counts_what_was_judged() -> None:
    good = measured(a_case(predicted=100.0, tolerance=0.01), [100.5])
    bad = measured(a_case(title="the bad one", predicted=100.0, tolerance=0.01), [150.0])
    assert sentence(a_record(good)).startswith("All 1 predictions hold on Card")
    assert "1 of 2 predictions hold on Card" in sentence(a_record(good, bad))
    assert "the bad one" in sentence(a_record(good, bad))
    assert "figures mean nothing" in sentence(a_record(good, kind="rehearsal"))


# The shipped measurement.


def test_the_shipped_record_is_a_measurement_with_every_section() -> None:
    (record,) = shipped()
    assert record == read(H200)
    assert record.kind == "measurement"
    assert record.card["memory_bytes"] == 150_109_880_320
    for section in ("card", "memory", "correctness", "kernels", "speed", "dry_run", "wall"):
        assert record.section(section)
    assert all(case.samples for case in record.cases if case.verdict in ("pass", "fail"))


def test_the_table_of_the_readme() -> None:
    text = markdown(read(H200))
    row = (
        "| llama-3.1-8b: decode step of 64 x 8,192 tokens | 20.58 ms | 20.72 ms | +0.69 % | pass |"
    )
    assert row in text


def test_the_targets_of_decode_and_prefill_were_met() -> None:
    found = {c.id: c for c in read(H200).section("dry_run") if c.unit == "s"}
    assert len([c for c in found.values() if c.verdict != "skipped"]) == 12
    for case in found.values():
        if case.error is not None:
            assert abs(case.error) < (0.10 if case.id.endswith("decode") else 0.15), case.title


@pytest.mark.parametrize("run", FULL_DRY_RUNS, ids=lambda run: run.name)
def test_weights_as_the_allocator_rounds_them_are_what_the_card_took(run) -> None:
    """Beside the weights, the run held rotary tables: 4 MiB, or 2 MiB for a width of 64.

    It held no vision tower, which plans did not count yet.
    """
    record = read(H200)
    case = record.case(f"dry_run/{run.name}/weights")
    gpu = load_gpu("h200-sxm-141gb")
    given = resolve(run.check().arguments, ("plan",), gpu)
    model = given["model"].model_copy(update={"towers": ()})
    plan = make_plan(model, gpu, given["deployment"], given["workload"])
    tensors = requests(plan)
    assert sum(tensors) == plan.stage.weights_bytes
    tables = 2 * 2**20 if run.model in ("deepseek-v2-lite", "gpt-oss-20b") else 4 * 2**20
    assert case is not None
    assert case.measured == allocated_bytes(*tensors) + tables


def test_a_calibration_replaces_estimates_and_says_so() -> None:
    gpu = calibrated_gpu(load_gpu("h200-sxm-141gb"), read(H200))
    before = make_plan(
        model_of("llama-3.1-8b"), load_gpu("h200-sxm-141gb"), *_deployment_and_work()
    )
    after = make_plan(model_of("llama-3.1-8b"), gpu, *_deployment_and_work())
    assert after.stage.runtime["context"].bytes == 648_871_936
    assert after.stage.runtime["context"].source == (
        "calibrated on this GPU (NVIDIA H200), 2026-11-23"
    )
    moved = after.total_bytes_per_gpu - before.total_bytes_per_gpu
    assert moved == 648_871_936 + 102_760_448 - CONTEXT.bytes - 98 * 2**20
    assert (
        after.range_bytes[1] - after.range_bytes[0] < before.range_bytes[1] - before.range_bytes[0]
    )


def test_the_time_of_a_decode_step_from_the_shipped_points() -> None:
    """20.72 ms were measured; the roofs alone would allow 18.9 ms."""
    calibration = calibration_from(read(H200))
    deployment, _ = _deployment_and_work()
    costs = step_costs(model_of("llama-3.1-8b"), deployment, "decode", 1, [8192] * 64)
    assert calibration.roofs is not None
    expected = time_s(costs, calibration.roofs, Efficiencies(calibration.points))
    assert expected == pytest.approx(0.02072, rel=0.05)
    assert time_s(costs, calibration.roofs) < expected


def test_a_record_calibrates_its_own_card_only() -> None:
    with pytest.raises(PlanRefused, match="not of h100-sxm5-80gb"):
        calibrated_gpu(load_gpu("h100-sxm5-80gb"), read(H200))


def test_a_rehearsal_calibrates_nothing() -> None:
    with pytest.raises(PlanRefused, match="rehearsal measures nothing"):
        calibration_from(a_record(kind="rehearsal"))


def test_cards_are_known_by_the_name_they_give() -> None:
    found = known_gpu("NVIDIA H200", 150_109_880_320)
    assert found is not None
    assert found.id == "h200-sxm-141gb"
    assert known_gpu("NVIDIA H200", 80 * 10**9) is None
    assert known_gpu("x86_64", 10**9) is None
    assert gpu_calibrated(found, calibration_from(read(H200))).memory_verified


def _deployment_and_work() -> tuple[Any, Any]:
    from planner.deployment import Deployment
    from planner.workload import Workload

    return Deployment(enforce_eager=True), Workload(context=8192, concurrency=64)
