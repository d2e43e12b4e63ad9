"""Online softmax: a running maximum and sum that end where one shot does."""

from math import exp, isfinite, log
from random import Random

import streamlit as st

from planner.lessons.online_softmax import FORMS, FP16_LARGEST, Block, one_shot, online, unsafe
from planner.plan import Plan
from planner.units import format_bytes
from ui.bound import BOUND
from ui.capacity_map import short_tokens
from ui.explain import charts, parts
from ui.tables import html_table
from ui.theme import dark

DEFAULT = "2, 5, 3"
MOST = 24
LIMIT = 10_000.0
MANY = 4096
LENGTHS = tuple(2**e for e in range(9, 18))
OFTEN = 700.0
"""exp of more is beyond 64-bit numbers."""


def show(plan: Plan) -> None:
    _blocks()
    _passes(plan)
    _exact()


def _blocks() -> None:
    parts.idea(
        "Softmax without seeing the whole row",
        "Softmax divides by a sum over all scores, and a tile sees only some. A running maximum "
        "and a running sum are enough: when a larger maximum comes, what was added so far is "
        "scaled down once.",
    )
    left, right = st.columns(2)
    text = left.text_input(
        "Scores, separated by commas", DEFAULT, max_chars=200, key="scores", **BOUND
    )
    size = right.slider("Scores in a block", 1, 6, 2, key="block_scores", **BOUND)
    scores = _read(text)
    if scores is None:
        st.error(
            f"These are no scores: give 1 to {MOST} numbers, none beyond ±{LIMIT:,.0f}, separated "
            "by commas, such as 2, 5, 3.",
            icon=":material/error:",
        )
        return
    values = [float(i) for i in range(1, len(scores) + 1)]
    blocks, whole = online(scores, values, size), one_shot(scores, values)
    last = blocks[-1]
    parts.formula(
        "New sum = old sum × exp(old maximum − new maximum) + Σ exp(score − new maximum)",
        _sum_line(blocks),
        f"One shot: Σ exp(score − {whole.maximum:g}) = {whole.denominator:.4f}; the difference is "
        f"{abs(last.denominator - whole.denominator):.1g}",
        _unsafe_line(scores),
    )
    names = [f"{i}: {_list(b.scores)}" for i, b in enumerate(blocks, 1)]
    carried = [0.0] + [b.denominator for b in blocks[:-1]]
    kept = [old * b.rescale for old, b in zip(carried, blocks, strict=True)]
    added = [sum(b.added) for b in blocks]
    chart = charts.bars(
        names, {"carried over, scaled": kept, "added by this block": added},
        "Running sum after each block", dark=dark(), stacked=True,
        labels=[[f"{v:.4f}" if v else "" for v in row] for row in (kept, added)],
    )  # fmt: skip
    rows = [
        [
            name, f"{b.maximum:g}", f"{b.rescale:.4f}" if i else "nothing yet",
            f"{b.denominator:.4f}", f"{b.result:.4f}",
        ]
        for i, (name, b) in enumerate(zip(names, blocks, strict=True))
    ]  # fmt: skip
    rows.append(
        ["One shot", f"{whole.maximum:g}", "", f"{whole.denominator:.4f}", f"{whole.result:.4f}"]
    )
    half = unsafe(scores, values)
    rows.append(["fp16, no maximum", "", "", _half(half.denominator), _half(half.result)])
    table = html_table(
        ("Block", "Maximum", "Scaled by", "Sum", "Output"), rows,
        numeric=range(1, 5), strong=(len(rows) - 2,),
    )  # fmt: skip
    alt = (
        f"Bars of the running sum after each of {len(blocks)} blocks; the last is "
        f"{last.denominator:.4f}, as in one shot."
    )
    parts.figure(chart, "explain_softmax", alt, table)
    parts.note("Output: the mean of the values 1, 2, 3, … weighed by softmax, which is attention.")


def _half(value: float) -> str:
    """A result of fp16: a number, or where it ended."""
    return f"{value:,.4f}" if isfinite(value) else "overflow" if value > 0 else "none"


def _unsafe_line(scores: list[float]) -> str:
    top = max(scores)
    ends = f"fp16 ends at {FP16_LARGEST:,}, exp({log(FP16_LARGEST):.2f})"
    if top > OFTEN:
        return f"Without a maximum: exp({top:g}) is beyond 64-bit numbers; {ends}"
    return f"Without a maximum: exp({top:g}) = {exp(top):,.6g}; {ends}"


def _passes(plan: Plan) -> None:
    parts.idea(
        "Three passes, or two",
        "Naive softmax reads a row twice and overflows. Made safe it reads the row once more, for "
        "the maximum; a running maximum saves that pass again. Flash attention computes in "
        "tiles, so its scores do not travel at all.",
    )
    n = st.select_slider(
        "Scores in a row", LENGTHS, 8192, format_func=short_tokens, key="row", **BOUND
    )
    heads, speed = plan.footprint.heads, plan.gpu.memory_bandwidth_bytes_per_s
    rows_of = 1 if heads is None else heads.num_heads * n
    moved = [2 * form.accesses * rows_of * n for form in FORMS]
    whose = "One row" if heads is None else f"{heads.num_heads} heads of one layer, {n:,} rows each"
    online_form = FORMS[-1]
    parts.formula(
        f"{whose}, 16-bit, online: 2 B × ({online_form.loads} + {online_form.stores}) × "
        f"{rows_of:,} × {n:,} = {format_bytes(moved[-1])}",
        *(
            []
            if speed is None
            else [
                f"At {speed / 1e12:.3g} TB/s of {plan.gpu.name}: {parts.seconds(moved[-1] / speed)}"
            ]
        ),
    )
    chart = charts.bars(
        [form.name for form in FORMS],
        {"read": [form.loads for form in FORMS], "written": [form.stores for form in FORMS]},
        "Accesses to memory for each score", dark=dark(), stacked=True,
        labels=[[f"{form.loads} reads" for form in FORMS],
                [f"{form.stores} write" for form in FORMS]],
        xaxis={"dtick": 1},
    )  # fmt: skip
    rows = [
        [form.name, f"{form.accesses}", format_bytes(size),
         "" if speed is None else parts.seconds(size / speed)]
        for form, size in zip(FORMS, moved, strict=True)
    ]  # fmt: skip
    rows.append(["In tiles, for attention", "0", "0 B", ""])
    table = html_table(("Softmax", "Accesses", "Bytes", "Time"), rows, numeric=(1, 2, 3))
    alt = "Accesses to memory for each score: " + ", ".join(
        f"{form.name} {form.accesses}" for form in FORMS
    )
    parts.figure(chart, "explain_passes", f"{alt}.", table)
    parts.note(
        "For rows that do not stay on the chip between passes (Milakov and Gimelshein 2018, arXiv "
        "1805.02867). Time: at the published bandwidth of the card."
    )


def _sum_line(blocks: list[Block]) -> str:
    last = blocks[-1]
    if len(blocks) == 1:
        return f"One block: {' + '.join(f'{a:.4f}' for a in last.added)} = {last.denominator:.4f}"
    old = blocks[-2]
    return (
        f"Last block: {old.denominator:.4f} × exp({old.maximum:g} − {last.maximum:g}) + "
        f"{' + '.join(f'{a:.4f}' for a in last.added)} = {last.denominator:.4f}"
    )


def _exact() -> None:
    parts.idea(
        "Exact for any block size",
        f"The same {MANY:,} random scores, cut into blocks of every size: the output differs from "
        "one shot only by the rounding of 64-bit numbers.",
    )
    dice = Random(7)
    scores = [dice.gauss(0, 3) for _ in range(MANY)]
    values = [dice.gauss(0, 1) for _ in range(MANY)]
    whole = one_shot(scores, values).result
    rows, sizes, errors, turns = [], [], [], []
    for exponent in range(0, 13, 2):
        size = 2**exponent
        found = online(scores, values, size)
        sizes.append(f"{size:,}")
        errors.append(abs(found[-1].result - whole))
        turns.append(sum(1 for b in found[1:] if b.rescale < 1))
        rows.append(
            [f"{size:,}", f"{len(found):,}", f"{turns[-1]}", f"{found[-1].result:.6f}",
             f"{errors[-1]:.1e}"]
        )  # fmt: skip
    chart = charts.bars(
        sizes, {"rescaled": [float(t) for t in turns]}, "Blocks that brought a larger maximum",
        dark=dark(), labels=[[str(t) for t in turns]], 
    )  # fmt: skip
    table = html_table(
        ("Block", "Blocks", "New maximum", "Output", "Off by"), rows, numeric=range(1, 5)
    )
    parts.formula(f"Largest difference: {max(errors):.1e} of {abs(whole):.4f}")
    alt = (
        "How often the maximum rose after the first block, by block size: rarely, since a new "
        "record is rare among many scores."
    )
    parts.figure(chart, "explain_exact", alt, table)


def _list(scores: tuple[float, ...]) -> str:
    return ", ".join(f"{s:g}" for s in scores)


def _read(text: str) -> list[float] | None:
    try:
        scores = [float(word) for word in text.replace(";", ",").split(",") if word.strip()]
    except ValueError:
        return None
    good = all(isfinite(s) and abs(s) <= LIMIT for s in scores)
    return scores if good and 1 <= len(scores) <= MOST else None
