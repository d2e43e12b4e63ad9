"""Engine: what vLLM, SGLang, TensorRT-LLM, llama.cpp or transformers will really allocate."""

import streamlit as st

from planner.errors import SizewellError
from planner.plan import make_plan
from ui import engine_inputs, engine_view, inputs, refusal

st.title("Engine", anchor=False)
try:
    chosen = inputs.chosen()
    choice = engine_inputs.choose(chosen)
    plan = make_plan(chosen.model, chosen.gpu, chosen.deployment, chosen.workload)
    engine_view.show(chosen, plan, choice)
except SizewellError as error:
    refusal.show(error)
