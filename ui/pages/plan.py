"""Plan: what was chosen, whether it fits, what would make it fit, and why."""

import streamlit as st

from planner.errors import SizewellError
from planner.plan import make_plan
from ui import inputs, plan_view, refusal

st.html(plan_view.STYLE)
try:
    chosen = inputs.sidebar()
    plan = make_plan(chosen.model, chosen.gpu, chosen.deployment, chosen.workload)
except SizewellError as error:
    refusal.show(error)
else:
    plan_view.show(chosen, plan)
