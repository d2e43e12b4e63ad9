"""Train: what training or fine-tuning the chosen model on the chosen GPUs takes."""

import streamlit as st

from planner.errors import SizewellError
from planner.training.plan import plan_training
from planner.training.recipe import usual
from ui import inputs, refusal, train_inputs, train_view

answer = st.container()
try:
    chosen = inputs.chosen()
    with st.container(border=True):
        recipe = train_inputs.draw(
            int(st.session_state["gpus"]), chosen.gpu.gpus_of_machine, usual(chosen.model)
        )
    plan = plan_training(chosen.model, chosen.gpu, recipe)
except SizewellError as error:
    with answer:
        refusal.show(error, serving=False)
else:
    train_view.show(plan, answer)
