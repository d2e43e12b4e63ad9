"""The bar draws what the plan says, and its colours can be told apart and read."""

import re
import xml.etree.ElementTree as ET

import pytest

from planner.deployment import Deployment
from planner.plan import Plan, make_plan
from planner.units import GIB, format_bytes
from planner.workload import Workload
from presets.gpus import load_gpu
from ui.components import COMPONENTS, DRAFT, TRAINING
from ui.memory_bar import bar_alt, memory_bar, stage_bars
from ui.model_source import from_preset
from ui.tables import html_table, memory_table


def plan(model: str = "llama-3.1-8b", users: int = 12, **deployment: int) -> Plan:
    return make_plan(
        from_preset(model).model,
        load_gpu("h100-sxm5-80gb"),
        Deployment(**deployment),
        Workload(context=32768, concurrency=users),
    )


def percent(text: str | None) -> float:
    assert text is not None
    return float(text.removesuffix("%"))


@pytest.mark.parametrize("users", [1, 12, 100])
def test_segments_and_limit_are_to_scale(users: int) -> None:
    found = plan(users=users)
    root = ET.fromstring(memory_bar(stage_bars(found), "alt"))
    widths = [percent(part.get("width")) for part in root.findall("svg")]
    limit = percent(root.find("line").get("x1"))  # type: ignore[union-attr]
    expected = found.total_bytes_per_gpu / found.gpu.memory_bytes
    assert sum(widths) / limit == pytest.approx(expected, rel=1e-4)
    assert max(limit, sum(widths)) <= 100


def test_a_size_starts_beyond_the_limits_line() -> None:
    """At 1,000 users the cache begins at 0.4 % of the bar and the card ends at 2 %."""
    root = ET.fromstring(memory_bar(stage_bars(plan(users=1000)), "alt"))
    limit = percent(root.find("line").get("x1"))  # type: ignore[union-attr]
    (cache,) = [part for part in root.findall("svg") if part.find("text") is not None]
    start, width = percent(cache.get("x")), percent(cache.get("width"))
    assert start < limit
    text = percent(cache.find("text").get("x"))  # type: ignore[union-attr]
    assert start + width * text / 100 == pytest.approx(limit, abs=0.01)


def test_every_number_of_the_bar_is_in_words_and_in_the_table() -> None:
    bars = stage_bars(plan())
    words, table = bar_alt(bars), memory_table(bars)
    for size in (16060522496, 12 * 4 * GIB):
        assert format_bytes(size) in words
        assert format_bytes(size) in table


def test_equal_neighbours_share_a_bar_and_none_is_lost() -> None:
    found = plan(pipeline_parallel_size=8)
    bars = stage_bars(found)
    assert 2 <= len(bars) < 8
    assert bars[0].label.startswith("Stage 1, layers 0")
    assert bars[-1].label.endswith("31")
    assert {b.parts for b in bars} == set(found.stage_parts)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("component", [*COMPONENTS, DRAFT, *TRAINING], ids=lambda c: c.key)
def test_colours_meet_wcag(component: object) -> None:
    """3:1 against the page for a graphic, 4.5:1 for the text inside a segment."""
    light, dark = component.light, component.dark  # type: ignore[attr-defined]
    assert contrast(light, "#ffffff") >= 4.5
    assert contrast(dark, "#10151c") >= 4.5


def test_table_escapes_what_it_is_given() -> None:
    html = html_table(("a", "b"), [("<script>x</script>", "&")], caption="<b>")
    assert "<script>" not in html
    assert re.search("&lt;script&gt;.*&amp;", html)
