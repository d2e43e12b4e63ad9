"""What the pages' tests share."""

import pytest

from ui import plan_view


@pytest.fixture(autouse=True)
def nobody_paints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a browser there is nothing to wait for between the answer and the charts."""
    monkeypatch.setattr(plan_view, "LOAD_S", 0.0)
    monkeypatch.setattr(plan_view, "PAINT_S", 0.0)
