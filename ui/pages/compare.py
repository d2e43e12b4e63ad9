"""Compare: the same plan with another attention, format, GPU or model; and kept plans."""

from planner.errors import SizewellError
from planner.plan import make_plan
from ui import compare_view, inputs, refusal

try:
    chosen = inputs.chosen()
    plan = make_plan(chosen.model, chosen.gpu, chosen.deployment, chosen.workload)
except SizewellError as error:
    refusal.show(error)
else:
    compare_view.show(plan)
