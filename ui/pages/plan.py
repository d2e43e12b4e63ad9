"""Plan: what was chosen, whether it fits, what would make it fit, and why."""

from planner.errors import SizewellError
from planner.plan import make_plan
from ui import inputs, plan_view, refusal

try:
    chosen = inputs.chosen()
    plan = make_plan(chosen.model, chosen.gpu, chosen.deployment, chosen.workload)
except SizewellError as error:
    refusal.show(error)
else:
    plan_view.show(chosen, plan)
