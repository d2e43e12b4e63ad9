"""Records: judging, the schema, and the shipped measurement."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from planner.errors import PlanRefused
from planner.hardware import gpu_calibrated
from planner.overheads import CONTEXT, LIBRARIES
from planner.plan import make_plan
from planner.timing.roofline import Efficiencies, time_s
from planner.timing.step_costs import step_costs
from presets.gpus import load_gpu
from validate import ship
from validate.__main__ import main
from validate.allocator import allocated_bytes
from validate.built_model import scaled
from validate.calibration import calibrated_gpu, calibration_from
from validate.inputs import known_gpu, model_of, resolve
from validate.overview import overview
from validate.record import (
    NOT_REUSED,
    SHIPPED,
    Case,
    Record,
    RecordRefused,
    as_json,
    from_bytes,
    from_text,
    measured,
    read,
    shipped,
    write,
)
from validate.suites import FULL_DRY_RUNS
from validate.verdict import difference, markdown, sentence, value
from validate.weight_tensors import requests

TARGETS = ("llama-3.1-8b", "qwen3-8b", "qwen3-30b-a3b", "deepseek-v2-lite", "gemma-3-27b-it")
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
        ({"points": 3}, "points: must be a list"),
        ({"notes": None}, "notes: must be a list"),
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
    with pytest.raises(RecordRefused, match="no JSON from line 2, column 3 on"):
        from_bytes(b'{"cases": [1,\n  }')
    with pytest.raises(RecordRefused, match="this is empty, so it is no record"):
        from_bytes(b" \n")
    with pytest.raises(RecordRefused, match="this is not text"):
        from_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecordRefused, match="number too long"):
        from_bytes(b"9" * 5000)
    with pytest.raises(RecordRefused, match="nested too deeply"):
        from_text("[" * 100_000)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--table", "{}/binary"), "/binary: this is not text, so it is no record"),
        (("--table", "{}/none"), "/none: it cannot be read: no such file or directory"),
        (("--table", "{}"), ": it cannot be read: is a directory"),
        (("--device", "cpu", "--output", "{}"), " is a folder: name a file in it"),
        (("--device", "cpu", "--output", "{}/binary/r.json"), "/binary/r.json cannot be written: "),
        (("--device", "tpu"), "--device tpu: give cpu, or cuda:0 for the first GPU"),
        (("--gpu-index", "x"), "--gpu-index x: give a number from 0, or all"),
        (("--leave-free", "2"), "--leave-free 2 must be from 0 to below 1"),
        (("--replay", "{}/binary", "--replay-seconds", "nan"), "--replay-seconds nan must be 0"),
    ],
)
def test_mistakes_of_the_command_are_one_sentence_before_anything_runs(
    words: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "binary").write_bytes(b"\xec\xff\x00")
    assert main([word.format(tmp_path) for word in words]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert said in found.err
    assert found.err.count("\n") == 1


def test_figures_in_words() -> None:
    case = a_case(predicted=2**30, measured=2**30 * 1.01)
    assert (value(case, 2**30), difference(case)) == ("1.00 GiB", "+1.00 %")
    assert value(a_case(unit="s"), 0.00002) == "20.0 µs"
    assert value(a_case(unit="s"), 0.02) == "20.00 ms"


def test_a_table_has_a_row_for_each_case_of_its_sections() -> None:
    run = a_case(section="dry_run", title="a | b", predicted=2.0**30, tolerance=0.1)
    step = a_case(section="training", title="step", predicted=2.0**20, measured=2.0**20)
    record = a_record(measured(run, [2.0**30 * 1.01]), step)
    assert "| a / b | 1.00 GiB | 1.01 GiB | +1.00 % | pass |" in markdown(record)
    assert "| step | 1.00 MiB | 1.00 MiB | +0.00 % | info |" in markdown(record)


def test_the_command_prints_a_row_for_every_case(capsys: pytest.CaptureFixture[str]) -> None:
    shipped_path = SHIPPED / ship.FILE
    assert main(["--table", str(shipped_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(read(shipped_path).cases)


def test_an_overview_has_a_row_for_each_dry_run() -> None:
    name = "m, fp8, 5 of 9 layers"
    parts = (("memory", "bytes", 2.0**30), ("prefill", "s", 0.2), ("decode", "s", 0.01))
    cases = [
        measured(
            a_case(
                id=f"dry_run/m, fp8/{part}", section="dry_run", title=f"{name}: {part}",
                unit=unit, predicted=size, tolerance=0.1,
            ), [1.05 * size],
        )
        for part, unit, size in parts
    ]  # fmt: skip
    text = overview(a_record(*cases))
    assert (
        "| m, fp8, 5 of 9 layers | 1.00 GiB -> 1.05 GiB (+5.00 %) | "
        "200.00 ms -> 210.00 ms (+5.00 %) | 10.00 ms -> 10.50 ms (+5.00 %) |"
    ) in text


def test_the_sentence_counts_what_was_judged() -> None:
    good = measured(a_case(predicted=100.0, tolerance=0.01), [100.5])
    bad = measured(a_case(title="the bad one", predicted=100.0, tolerance=0.01), [150.0])
    assert sentence(a_record(good)).startswith("All 1 predictions hold on Card")
    assert "1 of 2 predictions hold on Card" in sentence(a_record(good, bad))
    rehearsed = a_record(good, replace(good, verdict="skipped"), kind="rehearsal", cancelled=True)
    assert sentence(rehearsed) == (
        "Rehearsal without a GPU: 1 checks ran, 1 were skipped. Its figures mean nothing. "
        "It was cancelled."
    )
    assert "the bad one" in sentence(a_record(good, bad))
    assert "figures mean nothing" in sentence(a_record(good, kind="rehearsal"))


# The shipped measurement: figures are read from it, so that a new one needs no other change.


def test_the_shipped_record_is_a_measurement_with_every_section() -> None:
    (record,) = shipped()
    assert record == read(H200)
    assert record.kind == "measurement"
    assert record.card["memory_bytes"] == 150_109_880_320
    for section in ("card", "memory", "correctness", "kernels", "speed", "dry_run", "wall"):
        assert record.section(section)
    assert all(case.samples for case in record.cases if case.verdict in ("pass", "fail"))


def test_the_readme_has_the_figures_of_the_shipped_record() -> None:
    text = ship.README.read_text("utf-8")
    assert ship.with_figures(text, read(H200)) == text
    assert "| llama-3.1-8b | " in text


def test_only_a_whole_measurement_ships() -> None:
    part = replace(read(H200), cases=read(H200).section("card"))
    with pytest.raises(RecordRefused, match="this record has nothing on memory"):
        ship.shippable(part)
    with pytest.raises(RecordRefused, match="of another card"):
        ship.shippable(a_record(a_case(section="card")))
    with pytest.raises(RecordRefused, match="only a whole measurement"):
        ship.shippable(replace(read(H200), kind="rehearsal"))
    with pytest.raises(RecordRefused, match="measured: begin"):
        ship.with_figures("# A README without marks", read(H200))


@pytest.mark.parametrize(
    ("part", "tolerance"), [("memory", 0.01), ("decode", 0.10), ("prefill", 0.15)]
)
def test_the_targets_of_dry_runs_were_met(part: str, tolerance: float) -> None:
    record = read(H200)
    for model in TARGETS:
        case = record.case(f"dry_run/{model}/{part}")
        assert case is not None
        assert case.error is not None
        assert abs(case.error) < tolerance, case.title


@pytest.mark.parametrize("run", FULL_DRY_RUNS, ids=lambda run: run.name)
def test_weights_as_the_allocator_rounds_them_are_what_the_card_took(run) -> None:
    case = read(H200).case(f"dry_run/{run.name}/weights")
    assert case is not None
    given = resolve(run.check().arguments, ("plan",), load_gpu("h200-sxm-141gb"))
    model = scaled(given["model"], case.details.get("layers", given["model"].num_hidden_layers))
    plan = make_plan(model, given["gpu"], given["deployment"], given["workload"])
    tensors = requests(plan)
    assert sum(tensors) == plan.stage.weights_bytes
    assert case.measured == allocated_bytes(*tensors)


def test_a_calibration_says_whose_card_it_is_of(monkeypatch: pytest.MonkeyPatch) -> None:
    record = read(H200)
    for names, whose in ((("NVIDIA H200",), "this GPU (NVIDIA H200)"), ((), "another NVIDIA H200")):
        monkeypatch.setattr("validate.calibration._names", lambda names=names: frozenset(names))
        assert calibration_from(record).label == f"calibrated on {whose}, {record.date}"


def test_a_calibration_replaces_estimates_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("validate.calibration._names", frozenset)
    record = read(H200)
    gpu = calibrated_gpu(load_gpu("h200-sxm-141gb"), record)
    before = make_plan(
        model_of("llama-3.1-8b"), load_gpu("h200-sxm-141gb"), *_deployment_and_work()
    )
    after = make_plan(model_of("llama-3.1-8b"), gpu, *_deployment_and_work())
    assert after.stage.runtime["context"].bytes == record.card["context_bytes"]
    assert after.stage.runtime["context"].source == (
        f"calibrated on another NVIDIA H200, {record.date}"
    )
    measured_bytes = record.card["context_bytes"] + record.card["libraries_bytes"]
    wall = record.case("wall/llama-3.1-8b/users")
    assert wall is not None
    measured_bytes += int(wall.details["taken_bytes"][NOT_REUSED])
    moved = after.total_bytes_per_gpu - before.total_bytes_per_gpu
    assert moved == measured_bytes - CONTEXT.bytes - LIBRARIES.bytes
    assert (
        after.range_bytes[1] - after.range_bytes[0] < before.range_bytes[1] - before.range_bytes[0]
    )


def test_the_time_of_a_decode_step_from_the_shipped_points() -> None:
    """The roofs alone would allow less."""
    record = read(H200)
    calibration = calibration_from(record)
    case = record.case("dry_run/llama-3.1-8b/decode")
    assert case is not None
    deployment, _ = _deployment_and_work()
    costs = step_costs(model_of("llama-3.1-8b"), deployment, "decode", 1, [8192] * 64)
    assert calibration.roofs is not None
    expected = time_s(costs, calibration.roofs, Efficiencies(calibration.points))
    assert expected == pytest.approx(case.predicted)
    assert expected == pytest.approx(case.measured, rel=0.10)
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


@pytest.mark.parametrize(
    ("name", "memory_bytes", "gpu_id"),
    [  # as NVML says them
        ("NVIDIA H100 80GB HBM3", 85_017_493_504, "h100-sxm5-80gb"),
        ("NVIDIA H100 PCIe", 84_942_979_072, "h100-pcie-80gb"),
        ("NVIDIA H100 NVL", 99_857_989_632, "h100-nvl-94gb"),
        ("NVIDIA A100-SXM4-80GB", 84_986_691_584, "a100-sxm4-80gb"),
        ("NVIDIA A100 80GB PCIe", 84_986_691_584, "a100-pcie-80gb"),
        ("NVIDIA GeForce RTX 4060 Ti", 16_718_495_744, "rtx-4060-ti-16gb"),
        ("Tesla T4", 15_633_680_957, "t4"),
        ("NVIDIA GeForce RTX 4090 D", 25_250_000_000, "rtx-4090-d"),
        ("NVIDIA RTX 4000 Ada Generation", 20_980_000_000, "rtx-4000-ada"),
        ("AMD Instinct MI300X", 205_822_885_888, "mi300x"),
    ],
)
def test_a_card_is_found_by_the_name_it_gives_itself(
    name: str, memory_bytes: int, gpu_id: str
) -> None:
    found = known_gpu(name, memory_bytes)
    assert found is not None
    assert found.id == gpu_id
