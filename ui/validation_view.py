"""The Validate page: what this machine has, one button, progress, and what came out."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from planner.units import format_bytes
from ui import figures, opened_record, theme, validation_figures, validation_runs
from ui.sentence import as_sentence
from ui.tables import html_table
from ui.validation_runs import Progress
from validate.card import GpuFacts, Machine, machine
from validate.job import other_processes
from validate.record import Case, Record, as_json
from validate.suites import DEFAULT_MODEL, FULL_DRY_RUNS
from validate.verdict import HEAD, WHOLE, rows, sentence

TITLES = {
    "dry_run": "Dry runs of whole models",
    "wall": "The wall",
    "training": "Training steps",
    "speed": "Single kernels and claims",
    "memory": "Memory of single tensors",
    "correctness": "Kernels against float64",
    "card": "The card",
    "kernels": "Kernel ladder",
}
COMMAND = "python -m validate --suite full --output record.json"
SHOWN = "validation_shown"
ROOFS = ("What", "At the roof", "Measured", "Reached", "Verdict")
HEADS = {
    "kernels": ROOFS,
    "card": ("What", "Datasheet or assumed", "Measured", "Difference", "Verdict"),
}
"""HEAD of sections that predict nothing."""


def show(model: str = DEFAULT_MODEL) -> None:
    """The whole page. model: the preset whose plan the dry run makes real."""
    st.title("Were the predictions right on this GPU?", anchor=False)
    here = machine()
    replay = validation_runs.replayed()
    if replay is not None:
        st.info(f"A recorded run will be played back: {replay.name}. Nothing is measured.")
    busy = validation_runs.running()
    _machine(here)
    if busy:
        _follow()
    elif replay is not None:
        st.button(
            "Validate on this GPU", type="primary", on_click=_start_all,
            args=(["cuda:0"], "full", model), help="Plays the recorded run back.",
        )  # fmt: skip
    elif here.gpus:
        _start(here, model)
    else:
        _without_gpu()
    _results()


def _machine(here: Machine) -> None:
    if not here.gpus:
        st.caption(f"This machine has no GPU to validate on: {here.reason}.")
        return
    lines = [_gpu_line(gpu) for gpu in here.gpus]
    st.caption("This machine has " + "; ".join(lines) + ".")


def _gpu_line(gpu: GpuFacts) -> str:
    used = f", used by {other_processes(gpu)}" if gpu.process_ids else ""
    mig = ", split by MIG" if gpu.mig else ""
    size = format_bytes(gpu.memory_bytes)
    return f"GPU {gpu.index}: {gpu.name}, {size}, driver {gpu.driver}{mig}{used}"


def _start(here: Machine, model: str) -> None:
    known = [f"cuda:{gpu.index}" for gpu in here.gpus] or ["cuda:0"]
    names = {f"cuda:{gpu.index}": f"GPU {gpu.index}, {gpu.name}" for gpu in here.gpus}
    chosen = known[:1]
    if len(known) > 1:
        chosen = st.multiselect(
            "GPUs", known, default=known[:1], format_func=lambda d: names.get(d, d),
            help="Each is validated by itself, all at the same time.",
        )  # fmt: skip
    kind = st.radio(
        "Suite", ("quick", "full"), horizontal=True,
        captions=(
            "about a minute",
            f"every kind of check, {len(FULL_DRY_RUNS)} plans made real, a few minutes",
        ),
    )  # fmt: skip
    st.button(
        "Validate on this GPU" if len(chosen) < 2 else f"Validate on {len(chosen)} GPUs",
        type="primary", on_click=_start_all, args=(chosen, kind, model), disabled=not chosen,
    )  # fmt: skip
    st.caption(
        f"Predicts first, then measures; the dry run makes {model} real. Leaves 3 % of the memory "
        "free and the card's settings alone, and does not start while others use the card."
    )


def _start_all(devices: list[str], kind: str, model: str) -> None:
    st.session_state[SHOWN] = [str(validation_runs.start(d, kind, model)) for d in devices]


def _without_gpu() -> None:
    st.markdown(
        "Run this where Sizewell is installed on a machine that has one, and open the record here; "
        "plans of that card can then use it:"
    )
    st.code(COMMAND, language="bash", wrap_lines=True)
    st.button(
        "Rehearse without a GPU", on_click=_start_all, args=(["cpu"], "quick", DEFAULT_MODEL),
        help="Runs every kind of check at tiny sizes in Triton's interpreter. The flow is real; "
        "the figures mean nothing.",
    )  # fmt: skip


@st.fragment(run_every=0.5)
def _follow() -> None:
    """Progress of every run that is on; the page is drawn again once the last has ended, with its
    result for all who watched: a page that was loaded anew began no run."""
    busy = validation_runs.running()
    if not busy:
        st.rerun()
    shown = st.session_state.setdefault(SHOWN, [])
    shown.extend(str(run.folder) for run in busy if str(run.folder) not in shown)
    for run in busy:
        _progress(run)


def _progress(run: Progress) -> None:
    name = run.card.get("name") or run.device.replace("cpu", "the processor")
    left = f", about {run.seconds_left:.0f} s left" if run.seconds_left else ""
    rehearsal = run.kind == "rehearsal" or run.device == "cpu"
    what = "Rehearsing" if rehearsal else "Validating"
    what = "Playing back the run" if run.replay else what
    st.progress(min(1.0, run.share), text=f"{what} on {name}: {run.title or 'starting'}{left}")
    st.button(
        "Cancel", key=f"cancel_{run.folder.name}", on_click=validation_runs.cancel,
        args=(run.folder,), help="What was found so far is kept.",
    )  # fmt: skip
    if run.cases:
        latest = run.cases[::-1][:8]
        said = f"The latest {len(latest)} of {len(run.cases)} results"
        st.html(html_table(HEAD, rows(latest), caption=said, numeric=(1, 2, 3), stack=True))
        if run.kind == "measurement":
            _scatters(run.cases, f"_{run.folder.name}")


def _results() -> None:
    """The record to look at: a run that has just ended, an opened file, or one from the list."""
    for folder in st.session_state.get(SHOWN, []):
        run = validation_runs.progress(Path(folder))
        if run.error:
            st.error(as_sentence(f"Not validated: {run.error}"))
        elif run.verdict and not run.cases:
            st.info(run.verdict)
    found = validation_runs.records([Path(f) for f in st.session_state.get(SHOWN, [])])
    st.header("What was measured", anchor=False)
    left, right = st.columns((2, 1), vertical_alignment="bottom")
    with right, st.popover("Open a record from elsewhere", width="stretch"):
        opened_record.uploader()
    if complaint := opened_record.complaint():
        st.error(complaint)
    opened = opened_record.opened()
    if opened is not None:
        found.insert(0, (validation_runs.label_of_opened(opened), opened))
    if not found:
        return
    at = left.selectbox(
        "Record", range(len(found)), format_func=lambda i: found[i][0], key=f"record_{len(found)}"
    )
    record_view(found[at or 0][1])


def record_view(record: Record) -> None:
    """One record: its sentence, its charts, its tables, the file."""
    text = sentence(record)
    counts = record.counts()
    if record.kind == "rehearsal":
        st.info(text)
    elif counts.get("fail"):
        st.warning(text)
    else:
        st.success(text)
    facts = [
        record.card.get("name"), f"driver {record.software.get('driver', 'unknown')}",
        f"torch {record.software.get('torch')}", f"triton {record.software.get('triton')}",
        f"{record.suite} suite in {record.seconds:.0f} s", record.started[:16].replace("T", " "),
    ]  # fmt: skip
    st.caption(" · ".join(str(fact) for fact in facts if fact))
    if record.notes:
        with st.expander("What to know about this run"):
            for note in record.notes:
                st.markdown(as_sentence(note))
    if record.kind == "measurement":
        _charts(record)
    for section, title in TITLES.items():
        own = record.section(section)
        if own:
            _table(title, own, opened=section in WHOLE)
    st.download_button(
        "Download record", data=as_json(record), mime="application/json",
        file_name=f"sizewell-record-{record.date}.json", on_click="ignore",
        icon=":material/download:",
    )  # fmt: skip


def _charts(record: Record) -> None:
    _scatters(record.cases)
    st.header("Roofline of this card", anchor=False)
    st.plotly_chart(
        validation_figures.roofline(record, dark=theme.dark()),
        config=figures.CONFIG, key="roofline",
        alt="Measured rates over arithmetic intensity under the measured roofs; the tables have "
        "the times.",
    )  # fmt: skip


def _scatters(cases: Sequence[Case], name: str = "") -> None:
    """Times and bytes so far, predicted against measured."""
    left, right = st.columns(2)
    for column, unit, what in ((left, "s", "times"), (right, "bytes", "bytes")):
        with column:
            if not validation_figures.comparable(cases, unit):
                continue
            st.header(f"Predicted and measured {what}", anchor=False)
            st.plotly_chart(
                validation_figures.scatter(cases, unit, dark=theme.dark()),
                config=figures.CONFIG, key=f"scatter_{unit}{name}",
                alt=f"Measured over predicted {what}; points lie along the diagonal. "
                "The tables have the same figures.",
            )  # fmt: skip


def _table(title: str, cases: tuple[Case, ...], *, opened: bool) -> None:
    passed = sum(case.verdict == "pass" for case in cases)
    wrong = sum(case.verdict == "fail" for case in cases)
    skipped = sum(case.verdict == "skipped" for case in cases)
    words = [f"{passed} pass"] * bool(passed) + [f"{wrong} fail"] * bool(wrong)
    words += [f"{skipped} skipped"] * bool(skipped)
    label = f"{title} ({', '.join(words) or len(cases)})"
    with st.expander(label, expanded=opened or wrong > 0):
        head = HEADS.get(cases[0].section, HEAD)
        if head is ROOFS:
            st.caption(
                "Roofs are those of large copies and products; what fits in the card's cache can "
                "be faster. Kernels are timed to predict others, not judged."
            )
        st.html(html_table(head, rows(cases), numeric=(1, 2, 3), stack=True))
