"""FlashAttention 1 to 4: what changed, on this card where it can be computed or was measured."""

import re

import streamlit as st

from planner.attention import Heads
from planner.errors import PlanRefused, SizewellError
from planner.lessons import flash_versions as lesson
from planner.lessons.tiling import Tile
from planner.plan import Plan
from planner.units import format_bytes, format_share, format_tokens
from presets.gpus import load_gpu
from presets.published import FlashVersion, flash_versions
from ui.bound import BOUND
from ui.capacity_map import short_tokens
from ui.explain import charts, narrow, parts, turns
from ui.sentence import as_sentence
from ui.tables import html_table
from ui.theme import dark
from validate.record import Case, Record, shipped

LENGTHS = tuple(2**e for e in range(10, 18))
CARDS = ("a100-sxm4-80gb", "h100-sxm5-80gb", "b200-sxm-180gb")


def show(plan: Plan) -> None:
    heads = plan.footprint.heads
    if heads is None:
        raise PlanRefused(
            f"{plan.model.source} has no softmax attention, so no flash attention runs in it: "
            "choose another model in the sidebar"
        )
    _rates()
    _measured()
    n = st.select_slider(
        "Tokens of the prompt", LENGTHS, 8192, format_func=short_tokens, key="flash_n",
        **BOUND,
    )  # fmt: skip
    _loops(heads, n)
    try:
        _units(plan, heads, n)
        turns.show(plan, heads)
    except PlanRefused as error:
        st.info(as_sentence(str(error)), icon=":material/info:")
    narrow.show(heads)


def _rates() -> None:
    parts.idea(
        "Four versions, three generations of cards",
        "Each version went back to what the newest card left idle. The best rate that each "
        "reports, as a part of its card's peak.",
    )
    found = flash_versions()
    shares = [_share(v) for v in found]
    chart = charts.bars(
        [f"{v.version} on {v.card}" for v in found],
        {"share": [100 * s for s in shares]},
        "Part of the 16-bit peak (%)",
        dark=dark(),
        labels=[[format_share(s) for s in shares]],
        xaxis={"range": [0, 100]},
    )
    parts.formula(
        *(
            f"{v.version}: {v.flops_per_s / 1e12:,.0f} of {_peak(v) / 1e12:,.0f} TFLOP/s = "
            f"{format_share(s, 1)}"
            for v, s in zip(found, shares, strict=True)
        )
    )
    rows = [[f"{v.version}, {v.year}", v.changed, v.source] for v in found]
    table = html_table(("Version", "What changed", "Source"), rows, stack=True)
    alt = "Best reported rates: " + ", ".join(
        f"{v.version} {format_share(s)} of {v.card}" for v, s in zip(found, shares, strict=True)
    )
    parts.figure(chart, "explain_versions", f"{alt}.", table, below=True)


def _peak(version: FlashVersion) -> float:
    gpu = load_gpu(version.gpu)
    return float(gpu.bf16_flops_per_s or gpu.fp16_flops_per_s or 1)


def _share(version: FlashVersion) -> float:
    return version.flops_per_s / _peak(version)


@st.cache_data(max_entries=1)
def _records() -> list[tuple[str, str, str, list[tuple[str, float, float]]]]:
    """Card, date, sentence and (what, seconds, FLOP/s) of each shipped record with figures."""
    return [
        (str(r.card.get("name", "a card")), r.date, _against_naive(r), found)
        for r in shipped()
        if r.kind == "measurement" and (found := [_rate(c) for c in r.section("kernels") if _ok(c)])
    ]


def _ok(case: Case) -> bool:
    details = case.details
    return (
        details.get("kernel") == "flash_attention"
        and details.get("variant") == "d128"
        and details.get("bound") == "compute"
        and bool(case.measured)
    )


def _rate(case: Case) -> tuple[str, float, float]:
    measured = case.measured or 1.0
    prompt = case.title.partition(":")[0].removeprefix("prefill attention of ")
    prompt = re.sub(r"\d+", lambda number: format_tokens(int(number[0])), prompt)
    return prompt, measured, case.details["flops"] / measured


def _against_naive(record: Record) -> str:
    cases = [c for c in record.section("speed") if c.id.startswith("speed/claims/flash-time")]
    known = [c for c in cases if c.details.get("naive_s") and c.details.get("flash_s")]
    if not known:
        return ""
    last = known[-1]
    naive, flash = last.details["naive_s"], last.details["flash_s"]
    length = last.title.rpartition(", ")[2]
    return (
        f"At {length}: materialised {parts.seconds(naive)}, tiled {parts.seconds(flash)}, "
        f"{parts.times(naive / flash)} as fast"
    )


def _measured() -> None:
    try:
        records = _records()
    except SizewellError:
        records = []
    if not records:
        parts.note("No measurement comes with this copy: run the validation on a GPU.")
        return
    card, date, sentence, found = records[0]
    parts.idea(
        f"Measured: our kernels on {card}",
        "The tiled kernel that comes with this program, in a causal prompt: a short one does not "
        "fill the card, a long one comes near the rates above.",
    )
    if sentence:
        parts.formula(sentence)
        parts.note(
            "A run of its own, with a key-value head for every query head and a short warm-up. "
            "Below, query heads share 8 of them, and the card has worked until its clock is the "
            "one that it keeps under load: times of the same length differ by some percent."
        )
    chart = charts.bars(
        [name for name, _, _ in found],
        {"rate": [rate / 1e12 for _, _, rate in found]},
        "TFLOP/s",
        dark=dark(),
        labels=[[f"{rate / 1e12:,.0f}" for _, _, rate in found]],
    )
    rows = [[n, parts.seconds(s), f"{rate / 1e12:,.0f}"] for n, s, rate in found]
    table = html_table(("Prompt", "Measured", "TFLOP/s"), rows, numeric=(1, 2))
    alt = "Measured rates: " + ", ".join(f"{n} {r / 1e12:,.0f} TFLOP/s" for n, _, r in found)
    parts.figure(chart, "explain_measured", f"{alt}.", table)
    parts.note(f"Measured on {card}, {date}, 16-bit, head size 128.")


def _loops(heads: Heads, n: int) -> None:
    parts.idea(
        "1 to 2: turn the loops around",
        "With keys in the outer loop the output travels for every tile of keys. With queries "
        "outside it never leaves the registers until it is done.",
    )
    found = lesson.loops(heads, n, Tile(128, 128))
    ways = ("keys outside (1)", "queries outside (2)")
    moved = (found.keys_outside_bytes, found.queries_outside_bytes)
    scaled = (found.keys_outside_rescales, found.queries_outside_rescales)
    parts.formula(
        f"Bytes of one layer: {format_bytes(moved[0])} / {format_bytes(moved[1])} = "
        f"{moved[0] / moved[1]:.2f}",
        f"Multiplications that scale the output: {scaled[0]:,} / {scaled[1]:,} = "
        f"{scaled[0] / scaled[1]:.2f}",
    )
    chart = charts.bars(
        ways, {"bytes": moved}, "Traffic of one layer", dark=dark(),
        labels=[[format_bytes(v) for v in moved]], xaxis={"showticklabels": False},
    )  # fmt: skip
    rows = [[w, format_bytes(m), f"{s:,}"] for w, m, s in zip(ways, moved, scaled, strict=True)]
    table = html_table(("Loops", "Traffic", "Multiplications"), rows, numeric=(1, 2))
    alt = (
        f"Traffic with keys outside {format_bytes(moved[0])}, with queries outside "
        f"{format_bytes(moved[1])}."
    )
    parts.figure(chart, "explain_loops", alt, table)


def _units(plan: Plan, heads: Heads, n: int) -> None:
    parts.idea(
        "2 to 3 to 4: the exponentials show",
        "Each score needs an exponential, from units that grow slower than tensor cores. In turn "
        "the two times add up (2); side by side the longer one counts (3); on the newest cards "
        "they are nearly equal, so some exponentials moved to other units (4).",
    )
    own = lesson.units(heads, n, plan.gpu)
    parts.formula(
        f"{plan.gpu.name}: products {parts.seconds(own.matmul_s)}, exponentials "
        f"{parts.seconds(own.exponential_s)}",
        f"In turn at best {format_share(own.matmul_s / own.in_turn_s)} of the peak, side by side "
        f"{format_share(own.matmul_s / own.overlapped_s)}",
    )
    names, found = [f"{plan.gpu.name} (yours)"], [own]
    for card in CARDS:
        if card == plan.gpu.id:
            continue
        gpu = load_gpu(card)
        found.append(lesson.units(heads, n, gpu))
        names.append(gpu.name)
    chart = charts.bars(
        names,
        {"products": [1e6 * u.matmul_s for u in found],
         "exponentials": [1e6 * u.exponential_s for u in found]},
        "Time of one layer (µs)", dark=dark(),
        labels=[[parts.seconds(u.matmul_s) for u in found],
                [parts.seconds(u.exponential_s) for u in found]],
    )  # fmt: skip
    rows = [
        [
            name, parts.seconds(u.matmul_s), parts.seconds(u.exponential_s),
            format_share(u.matmul_s / u.in_turn_s), format_share(u.matmul_s / u.overlapped_s),
        ]
        for name, u in zip(names, found, strict=True)
    ]  # fmt: skip
    table = html_table(
        ("Card", "Products", "Exponentials", "Peak in turn", "Side by side"), rows,
        numeric=range(1, 5),
    )  # fmt: skip
    alt = "Bars of the time for products and for exponentials of one layer on each card."
    parts.figure(chart, "explain_units", alt, table)
    parts.note("Causal prompt, published peaks: 16 exponentials a clock on each multiprocessor.")
