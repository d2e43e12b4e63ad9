"""The Validate page without a browser: what it says, what it starts, what it shows."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from planner.deployment import Deployment
from planner.plan import make_plan
from planner.workload import Workload
from presets.gpus import load_gpu
from ui import opened_record, validation_runs, validation_view
from ui.model_source import from_preset
from ui.report_html import as_html
from ui.report_markdown import as_markdown
from ui.validation_figures import comparable, roofline, scatter
from validate.card import GpuFacts, Machine
from validate.record import read, write
from validate.verdict import difference, rows, sentence, value

ROOT = Path(__file__).resolve().parents[2]
H200 = ROOT / "validate" / "records" / "h200-full.json"
GPU = GpuFacts(0, "NVIDIA H200", 2**37, 0, "580.1", False, (), None, None, None, None)


@pytest.fixture(autouse=True)
def own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("SIZEWELL_STATE", str(tmp_path))
    monkeypatch.setattr("validate.calibration._names", frozenset)  # no GPU of its own
    monkeypatch.delenv(validation_runs.REPLAY, raising=False)
    return tmp_path


def machine_with(monkeypatch: pytest.MonkeyPatch, *gpus: GpuFacts, reason: str = "") -> None:
    monkeypatch.setattr(validation_view, "machine", lambda: Machine(gpus, reason))


def page(app: AppTest | None = None) -> AppTest:
    if app is None:
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
        app.run()
        app.switch_page("ui/pages/validate.py")
    return app.run()


def text(app: AppTest) -> str:
    found: list[Any] = [*app.success, *app.warning, *app.error, *app.info]
    found += [*app.markdown, *app.caption, *app.title, *app.header, *app.code]
    words = [element.value for element in found]
    words += [element.proto.body for element in app.get("html")]
    return "\n".join(words)


def button(app: AppTest, label: str) -> Any:
    return next(b for b in app.button if b.label == label)


def test_without_a_gpu_it_says_what_is_missing_and_shows_the_shipped_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine_with(monkeypatch, reason="the NVIDIA driver does not answer")
    app = page()
    said = text(app)
    assert not app.exception
    assert "no GPU to validate on: the NVIDIA driver does not answer" in said
    assert "python -m validate --suite full" in said
    record = read(H200)
    assert sentence(record) in said
    decode = record.case("dry_run/llama-3.1-8b/decode")
    assert value(decode, decode.measured) in said
    assert "Validate on this GPU" not in [b.label for b in app.button]
    charts = [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]
    assert len(charts) == 3
    assert "Measured (ms)" in json.dumps(charts[0]["layout"])


def test_with_a_gpu_there_is_one_button(monkeypatch: pytest.MonkeyPatch) -> None:
    machine_with(monkeypatch, GPU)
    started: list[tuple[str, str, str]] = []

    def start(*given: str) -> Path:
        started.append(given)  # type: ignore[arg-type]
        return Path("/nowhere")

    monkeypatch.setattr(validation_runs, "start", start)
    app = page()
    assert "GPU 0: NVIDIA H200, 128.00 GiB, driver 580.1" in text(app)
    app.radio[0].set_value("full").run()
    button(app, "Validate on this GPU").click()
    app.run()
    assert not app.exception
    assert started == [("cuda:0", "full", "llama-3.1-8b")]


def test_several_gpus_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    machine_with(monkeypatch, GPU, replace(GPU, index=1, process_ids=(7,)))
    started: list[str] = []
    monkeypatch.setattr(
        validation_runs, "start", lambda device, *_: started.append(device) or Path("/nowhere")
    )
    app = page()
    assert "used by 1 other process" in text(app)
    app.multiselect[0].set_value(["cuda:0", "cuda:1"]).run()
    button(app, "Validate on 2 GPUs").click()
    app.run()
    assert started == ["cuda:0", "cuda:1"]


def wait(folder: Path, seconds: float = 30.0) -> validation_runs.Progress:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        run = validation_runs.progress(folder)
        if not run.running:
            return run
        time.sleep(0.05)
    raise AssertionError("the run did not end")


def pid_of(folder: Path) -> int:
    return int(json.loads((folder / "run.json").read_text())["pid"])


def held(start: Callable[..., Path], *told: str) -> Path:
    """Start a run and stop its process once it said its card, so that it is still on when drawn."""
    folder = start(*told)
    while not validation_runs.progress(folder).card:
        time.sleep(0.01)
    os.kill(pid_of(folder), signal.SIGSTOP)
    return folder


def test_a_played_back_run_goes_through_a_real_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(validation_runs.REPLAY, str(H200))
    monkeypatch.setattr(validation_runs, "start", partial(held, validation_runs.start))
    machine_with(monkeypatch, reason="none")
    app = page()
    assert "will be played back: h200-full.json" in text(app)
    button(app, "Validate on this GPU").click()
    app.run()
    (folder,) = validation_runs.folders()
    again = page()  # another session, as after a reload
    assert "Playing back the run on" in str([p.proto.text for p in again.get("progress")])
    assert "Cancel" in [b.label for b in again.button]
    assert again.session_state[validation_view.SHOWN] == [str(folder)]
    os.kill(pid_of(folder), signal.SIGCONT)
    run = wait(folder)
    assert len(run.cases) == len(read(H200).cases)
    assert "NVIDIA H200" in run.verdict
    app = page(app)
    assert not app.exception
    assert "(played back)" in str(app.selectbox(key=_record_key(app)).options[0])


def _record_key(app: AppTest) -> str:
    return next(s.key for s in app.selectbox if str(s.key).startswith("record_"))


def test_a_refused_run_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU here, so a real run on one refuses."""
    if validation_view.machine().gpus:
        pytest.skip("this machine has a GPU")
    folder = validation_runs.start("cuda:0", "quick", "llama-3.1-8b")
    run = wait(folder)
    assert run.error.startswith("no GPU to validate on")
    machine_with(monkeypatch, GPU)
    app = page()
    app.session_state[validation_view.SHOWN] = [str(folder)]
    app.run()
    assert "Not validated: no GPU to validate on" in text(app)


def test_cancelling_ends_the_process_group() -> None:
    folder = validation_runs.start("cpu", "full", "llama-3.1-8b")
    end = time.monotonic() + 60
    while not validation_runs.progress(folder).cases and time.monotonic() < end:
        time.sleep(0.1)
    assert [run.folder for run in validation_runs.running()] == [folder]
    validation_runs.cancel(folder)
    run = wait(folder)
    assert not run.error
    assert read(folder / "record.json").cancelled


def test_a_run_cancelled_before_it_could_answer_is_no_error(own_state: Path) -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"],
                               start_new_session=True)  # fmt: skip
    folder = own_state / "20261129-000000-cpu"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"pid": sleeper.pid, "device": "cpu"}))
    assert validation_runs.progress(folder).running
    validation_runs.cancel(folder)
    sleeper.wait(10)
    run = validation_runs.progress(folder)
    assert (run.running, run.error) == (False, "")
    assert run.verdict == "Nothing was measured. The run was cancelled."


def test_a_run_that_died_says_its_last_words(own_state: Path) -> None:
    folder = own_state / "20260101-000000-cpu"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"pid": 2**22 + 1, "device": "cpu"}))
    (folder / "events.jsonl").write_text('{"event": "check"')
    (folder / "noise.txt").write_text("Traceback\nMemoryError: no more\n")
    run = validation_runs.progress(folder)
    assert not run.running
    assert run.error == "the run ended without a verdict: MemoryError: no more"


def test_a_run_that_ends_while_it_is_asked_after_is_heard_to_the_end(
    own_state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = own_state / "20260101-000000-cpu"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"pid": 2**22 + 1, "device": "cpu"}))
    (folder / "events.jsonl").write_text("")

    def ends(pid: int) -> bool:
        (folder / "events.jsonl").write_text('{"event": "end", "verdict": "All held."}\n')
        return False

    monkeypatch.setattr(validation_runs, "_alive", ends)
    run = validation_runs.progress(folder)
    assert (run.running, run.verdict, run.error) == (False, "All held.", "")


def test_the_scatter_holds_every_judged_case_with_its_spread() -> None:
    record = read(H200)
    found = comparable(record.cases, "s")
    figure = scatter(record.cases, "s")
    points = [trace for trace in figure.data if trace.mode == "markers"]
    assert sum(len(trace.x) for trace in points) == len(found)
    case = next(c for c in found if c.id == "dry_run/llama-3.1-8b/decode")
    whole = next(trace for trace in points if trace.name == "whole models")
    at = list(whole.y).index(case.measured / 1e-3)
    assert whole.x[at] == pytest.approx(case.predicted / 1e-3)
    assert whole.error_y.array[at] == pytest.approx((max(case.samples) - case.measured) / 1e-3)


@pytest.mark.parametrize(("dark", "ink"), [(False, "#18212d"), (True, "#e6ebf2")])
def test_axes_are_written_in_the_texts_colour(dark: bool, ink: str) -> None:
    """The colours of text in .streamlit/config.toml."""
    for figure in (roofline(read(H200), dark=dark), scatter(read(H200).cases, "s", dark=dark)):
        for axis in (figure.layout.xaxis, figure.layout.yaxis):
            assert axis.tickfont.color == axis.title.font.color == ink


def test_no_point_of_the_roofline_lies_far_above_its_roof() -> None:
    figure = roofline(read(H200))
    (roof,) = [t for t in figure.data if t.name == "roof, fp8"]
    for trace in figure.data:
        if trace.mode == "markers":
            assert max(trace.y) < 1.05 * max(roof.y)


def test_reports_hold_the_record_of_the_plans_card() -> None:
    gpu = load_gpu("h200-sxm-141gb")
    plan = make_plan(from_preset("llama-3.1-8b").model, gpu, Deployment(), Workload())
    record = validation_runs.record_for(gpu.id)
    assert record == read(H200)
    assert validation_runs.record_for("h100-sxm5-80gb") is None
    page_, words = as_html(plan, None, record), as_markdown(plan, None, record)
    for report in (page_, words):
        assert sentence(record) in report
        assert "llama-3.1-8b: decode step of 64 x 8,192 tokens" in report
    assert "Validation" not in as_markdown(plan)


def test_a_calibrated_plan_says_so_on_the_page() -> None:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    app.query_params["gpu"] = "h200-sxm-141gb"
    app.run()
    before = text(app)
    app.toggle(key="calibrated").set_value(True)
    app.run()
    assert not app.exception
    said = f"Calibrated on another NVIDIA H200, {read(H200).date}: context 621.00 MiB to"
    assert said in text(app)
    assert "libraries" not in text(app).split(said)[1].split(".")[0]
    assert "Calibrated on" not in before


def test_a_record_opened_here_calibrates_plans_of_its_card_in_this_session_only() -> None:
    record = replace(read(H200), card=read(H200).card | {"name": "NVIDIA H100 80GB HBM3"})
    record = replace(record, card=record.card | {"memory_bytes": 84_942_979_072})
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    app.query_params["gpu"] = "h100-sxm5-80gb"
    app.run()
    assert "calibrated" not in [toggle.key for toggle in app.toggle]
    app.session_state[opened_record.KEPT] = record
    app.run()
    app.toggle(key="calibrated").set_value(True)
    app.run()
    assert not app.exception
    assert f"Calibrated on another NVIDIA H100 80GB HBM3, {record.date}" in text(app)


def test_a_rehearsal_is_shown_first_only_to_who_ran_it() -> None:
    folder = validation_runs.home() / "20991231-000000-cpu"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"pid": 0, "device": "cpu"}))
    write(replace(read(H200), kind="rehearsal"), folder / "record.json")
    assert "rehearsal" in validation_runs.records()[-1][0]
    assert "(shipped)" in validation_runs.records()[0][0]
    assert "rehearsal" in validation_runs.records([folder])[0][0]


def test_a_cancelled_playback_keeps_what_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(validation_runs.REPLAY, str(H200))
    monkeypatch.setenv(f"{validation_runs.REPLAY}_SECONDS", "60")
    folder = validation_runs.start("cuda:0", "quick", "llama-3.1-8b")
    end = time.monotonic() + 30
    while not validation_runs.progress(folder).cases and time.monotonic() < end:
        time.sleep(0.05)
    validation_runs.cancel(folder)
    run = wait(folder)
    assert not run.error
    assert run.verdict.endswith("The run was cancelled.")
    kept = read(folder / "record.json")
    assert kept.cancelled
    assert 0 < len(kept.cases) < len(read(H200).cases)


def test_the_server_never_loads_torch() -> None:
    code = (
        "import sys, ui.validation_view\n"
        "sys.exit('torch' if {'torch', 'triton'} & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_every_row_has_a_name_and_a_roof_is_no_prediction() -> None:
    record = read(H200)
    skipped = [row[0] for row in rows(record.section("dry_run")) if "mxfp4" in row[4]]
    assert skipped == ["gpt-oss-20b: prefill", "gpt-oss-20b: decode"]
    for case in record.section("kernels"):
        said = difference(case)
        assert case.predicted is not None
        assert case.measured
        share = case.predicted / case.measured
        assert said == ("-" if share < 0.01 else f"{100 * share:.0f} % of the roof")
    routing = next(c for c in record.section("kernels") if c.title.startswith("routing"))
    assert difference(routing) == "-"
    with_bound = next(c for c in record.section("memory") if c.error is not None)
    assert difference(with_bound).endswith(" %")
