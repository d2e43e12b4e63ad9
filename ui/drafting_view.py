"""What a drafter gives in time: sentences, the gain by number of users as a line and a table."""

from collections.abc import Mapping

import plotly.graph_objects as go
import streamlit as st

from planner.engines.answer import serves
from planner.engines.drafting_asked import drafting_asked
from planner.engines.engine import EngineFigures
from planner.errors import SizewellError
from planner.guide.drafted import Drafted, drafted
from planner.plan import Plan
from planner.timing.drafting import drafter_for
from planner.timing.latency import Latency, latency
from planner.timing.speculation import Speculation
from presets.speed import speed_of
from ui.engine_inputs import EngineChoice
from ui.explain import charts, parts
from ui.plan_request import request_of
from ui.sentence import as_sentence
from ui.tables import html_table
from ui.theme import dark


def times_of(plan: Plan, users: int) -> Latency:
    """The times of so many users of the plan, without drafts."""
    return latency(
        plan.model, plan.gpu, plan.deployment, speed_of(plan.gpu), request_of(plan.workload), users
    )


def show(plan: Plan, figures: EngineFigures, choice: EngineChoice) -> None:
    """The chosen drafter; nothing where none is chosen or nobody fits."""
    asked = drafting_asked(choice.options)
    most = serves(plan, figures)
    if asked is None or figures.refused is not None or not most:
        return
    st.header("Drafting, in time", anchor=False)
    try:
        now = times_of(plan, min(most, plan.workload.concurrency))
        drafter = drafter_for(plan.model, asked.method, choice.draft, asked.draft_tokens)
        found = drafted(now, plan.model, drafter, asked.draft_tokens, choice.acceptance, most)
    except SizewellError as error:
        st.info(as_sentence(str(error)), icon=":material/info:")
        return
    st.markdown("  \n".join(as_sentence(sentence) for sentence in found.sentences))
    _by_users(found)
    st.caption(
        as_sentence(
            f"Steps without prompts beside them, at {now.request.mean_context:,} tokens of context "
            f"on average; the Traffic page has both. Times: {now.speed.source_for(plan.model)}"
        )
    )


def _by_users(found: Drafted) -> None:
    chart = gain_by_users({found.drafter.label: found.by_users})
    chart.update_layout(showlegend=False)
    rows = [
        (f"{users:,}", f"{s.speedup * s.tpot_s * 1e3:,.2f}", f"{s.tpot_s * 1e3:,.2f}",
         f"{s.speedup:.2f}")
        for users, s in found.by_users.items()
    ]  # fmt: skip
    head = ("Users", "TPOT without (ms)", "with (ms)", "Times as fast")
    alt = "; ".join(f"{s.speedup:.2f} times with {n:,}" for n, s in found.by_users.items())
    parts.figure(
        chart, "drafting_by_users", f"Gain by number of users: {alt}.",
        html_table(head, rows, numeric=range(1, 4)),
    )  # fmt: skip


def gain_by_users(lines: Mapping[str, Mapping[int, Speculation]]) -> go.Figure:
    """A line for each drafter, over users on a doubling axis; 1 neither gains nor loses."""
    users = list(next(iter(lines.values())))
    rows = {name: [s.speedup for s in of.values()] for name, of in lines.items()}
    shown = [n for n in users if n == 1 or n & (n - 1) == 0 or n == users[-1]]
    shown = shown[:: max(1, len(shown) // 6)]
    top = max(value for row in rows.values() for value in row)
    return charts.lines(
        users, {**rows, "neither": [1.0] * len(users)}, ("Users", "Times as fast"),
        dark=dark(),
        xaxis={"type": "log", "tickvals": shown, "ticktext": [f"{n:,}" for n in shown]},
        yaxis={"range": [0, 1.1 * max(1.0, top)]},
    )  # fmt: skip
