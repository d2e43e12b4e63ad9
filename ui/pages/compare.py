"""Compare: the same plan with another attention, format, GPU or model; and kept plans."""

import streamlit as st

from planner.errors import SizewellError
from planner.plan import make_plan
from ui import compare_view, inputs, plan_view, refusal

st.html(plan_view.STYLE)
try:
    chosen = inputs.sidebar()
    plan = make_plan(chosen.model, chosen.gpu, chosen.deployment, chosen.workload)
except SizewellError as error:
    refusal.show(error)
else:
    compare_view.show(plan)
