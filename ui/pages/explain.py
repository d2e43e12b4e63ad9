"""Explain: how attention spends memory, on the model and GPU of the plan."""

from planner.errors import SizewellError
from planner.plan import make_plan
from ui import explain_view, inputs, refusal

try:
    chosen = inputs.chosen()
    plan = make_plan(chosen.model, chosen.gpu, chosen.deployment, chosen.workload)
    explain_view.show(plan)
except SizewellError as error:
    refusal.show(error)
