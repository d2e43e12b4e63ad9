"""Traffic: the chosen deployment under requests that come and go, simulated."""

from planner.errors import SizewellError
from ui import inputs, refusal, traffic_view

try:
    chosen = inputs.chosen()
except SizewellError as error:
    refusal.show(error)
else:
    traffic_view.show(chosen)
