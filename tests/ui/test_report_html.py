"""The report is one file that needs nothing else, and holds the plan itself."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from planner.deployment import Deployment
from planner.engines.registry import ENGINES, options_of
from planner.plan import Plan, make_plan
from planner.units import format_bytes
from planner.verdict import verdict
from planner.workload import Workload
from presets.gpus import load_gpu
from ui.model_source import from_preset
from ui.report_html import as_html
from ui.report_markdown import as_markdown
from ui.saved import values_of_saved

ROOT = Path(__file__).resolve().parents[2]
LOADING = {"src", "href", "srcset", "action", "poster", "data", "background"}


def report(users: int = 12, **deployment: int) -> tuple[Plan, str]:
    choice = from_preset("llama-3.1-8b")
    plan = make_plan(
        choice.model,
        load_gpu("h100-sxm5-80gb"),
        Deployment(**deployment),
        Workload(context=32768, concurrency=users),
    )
    return plan, as_html(plan, choice.config)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.mark.parametrize("users", [12, 500])
def test_nothing_is_loaded_from_anywhere(users: int) -> None:
    _, html = report(users)
    tags = Tags()
    tags.feed(html)
    assert not [(t, a) for t, a in tags.found if LOADING & a.keys() and t != "svg"]
    styles = "".join(re.findall(r"<style>(.*?)</style>", html, re.S))
    assert "url(" not in styles
    assert "@import" not in styles
    assert "@media print" in styles


def test_plotly_is_embedded_once_and_cannot_upload() -> None:
    _, html = report()
    assert html.count("plotly.js v") == 1
    config = re.search(r'"showSendToCloud":\s*(\w+)', html.rpartition("Plotly.newPlot")[2])
    assert config is not None
    assert config[1] == "false"


def test_every_part_is_there() -> None:
    plan, html = report()
    assert verdict(plan) in html
    for heading in ("Memory", "What to know", "Derivation", "Assumptions", "Model", "Inputs"):
        assert f"<h2>{heading}</h2>" in html
    assert format_bytes(plan.total_bytes_per_gpu) in html
    assert f"{plan.total_bytes_per_gpu:,} B" in html
    assert plan.gpu.memory_source.partition(",")[0] in html
    assert "Sizewell 0" in html


def test_the_plan_inside_opens_again() -> None:
    plan, html = report(tensor_parallel_size=2)
    text = html.partition('id="plan">')[2].partition("</script>")[0]
    data = json.loads(text)
    assert data["total_bytes_per_gpu"] == plan.total_bytes_per_gpu
    values = values_of_saved(text)
    assert (values["model"], values["gpus"]) == ("llama-3.1-8b", 2)


def test_an_engines_lines_wrap_and_its_name_is_the_pages() -> None:
    choice = from_preset("llama-3.1-8b")
    gpu, work = load_gpu("h100-sxm5-80gb"), Workload(context=32768, concurrency=12)
    engine = ENGINES["tensorrt-llm"].figures(
        choice.model, gpu, Deployment(), options_of("tensorrt-llm", {}), work, config=choice.config
    )
    plan = make_plan(choice.model, gpu, Deployment(), work)
    html = as_html(plan, choice.config, engine=engine)
    assert f"<h2>TensorRT-LLM {engine.version}</h2>" in html
    assert f"## TensorRT-LLM {engine.version}\n" in as_markdown(plan, engine)
    section = html.partition("<h2>TensorRT-LLM")[2].partition("<h2>")[0]
    assert "sz-stack" in section
    style = html.partition("<style>")[2].partition("</style>")[0]
    assert "pre{white-space:pre-wrap" in style


def test_no_streamlit_is_needed() -> None:
    code = "import sys, ui.report_html; sys.exit('streamlit' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
