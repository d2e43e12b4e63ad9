"""The Explain page without a browser: every topic, live numbers, refusals in a sentence."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from planner.units import format_bytes
from ui.explain.quoted import SIGNS
from ui.explain_view import TOPICS

ROOT = Path(__file__).resolve().parents[2]
CHARTS = {
    "KV cache": 2, "Online softmax": 2, "Tiling": 4, "Heads": 3, "Paging": 2, "Parallelism": 1,
    "Drafting": 2, "Flash 1 to 4": 4, "Quoted numbers": 1,
}  # fmt: skip


def page(topic: str = "KV cache", **query: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    app.switch_page("ui/pages/explain.py")
    for key, value in {"topic": topic, **query}.items():
        app.query_params[key] = value
    return app.run()


def text(app: AppTest) -> str:
    found: list[Any] = [*app.markdown, *app.caption, *app.title, *app.header]
    words = [element.value for element in found]
    return "\n".join(words + [element.proto.body for element in app.get("html")])


def traces(app: AppTest, index: int = 0) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(app.get("plotly_chart")[index].proto.spec)["data"]
    return found


def test_every_topic_is_known() -> None:
    assert set(CHARTS) == set(TOPICS)


@pytest.mark.parametrize("topic", CHARTS)
def test_a_topic_draws_its_charts_and_only_those(topic: str) -> None:
    app = page(topic)
    assert not app.exception
    assert not app.error
    charts = app.get("plotly_chart")
    assert len(charts) == CHARTS[topic]
    for chart in charts:
        assert chart.proto.alt.endswith("The table has the same numbers.")
    said = text(app)
    assert said.count("<table") >= CHARTS[topic]
    assert 'class="sz-formula"' in said


@pytest.mark.parametrize("topic", CHARTS)
@pytest.mark.parametrize(
    "query",
    [
        {"model": "deepseek-v3", "gpu": "b200-sxm-180gb", "gpus": "8"},
        {"model": "mamba-2.8b-hf", "gpu": "mi300x"},
        {"model": "gemma-3-27b-it", "gpu": "custom", "memory": "60000"},
        {"model": "gpt-oss-20b", "gpu": "rtx-4090", "block": "1000"},
        {"model": "qwen3-next-80b-a3b-thinking", "kv": "fp8"},
    ],
    ids=lambda query: query["model"],
)
def test_no_plan_breaks_a_topic(topic: str, query: dict[str, str]) -> None:
    app = page(topic, **query)
    assert not app.exception
    for refusal in [*app.info, *app.error]:
        assert refusal.value.endswith(".")
    assert app.get("plotly_chart") or app.info or app.error


def test_nonsense_in_the_link_is_the_first_topic() -> None:
    app = page("no such topic", steps="abc")
    assert not app.exception
    assert app.header[0].value == "Without a cache, every step starts over"
    assert "5,050 projections" in text(app)


def test_the_slider_moves_the_formula_and_the_curve() -> None:
    app = page()
    assert "100 × 101 / 2 = 5,050" in text(app)
    app.slider(key="steps").set_value(10).run()
    assert "10 × 11 / 2 = 55" in text(app)
    assert max(traces(app)[0]["y"]) == 55
    assert max(traces(app)[1]["y"]) == 10


def test_growth_is_the_plans_own_cache() -> None:
    said = text(page(grown="8k", users="3"))
    assert f"{format_bytes(131072)} × 8,192 = {format_bytes(2**30)}" in said
    assert f"3 users of this plan: {format_bytes(3 * 2**30)}" in said


def test_scores_can_be_typed_and_mistakes_are_a_sentence() -> None:
    app = page("Online softmax")
    assert "1.1851" in text(app)
    app.text_input(key="scores").set_value("1, 3").run()
    assert not app.exception
    assert "1.1353" in text(app)
    for wrong in ("one, two", "", "nan", "1e300", ",".join("1" * 99)):
        app.text_input(key="scores").set_value(wrong).run()
        assert not app.exception
        assert "no scores" in app.error[0].value


def test_the_walk_can_be_walked() -> None:
    app = page("Tiling", walk="0")
    assert "Step 1 of 20" in text(app)
    app.slider(key="walk").set_value(100).run()
    assert "Step 20 of 20" in text(app)
    assert "24.0" in text(app)


def test_paging_shows_the_copy_on_write() -> None:
    app = page("Paging", event="4")
    assert "copied first (copy-on-write)" in text(app)
    app.slider(key="event").set_value(8).run()
    assert "C arrives" in text(app)


@pytest.mark.parametrize("way", ["Tensor", "Pipeline", "Ring", "Striped ring"])
def test_every_way_to_share_work(way: str) -> None:
    app = page("Parallelism", way=way)
    assert not app.exception
    rows = {row for trace in traces(app) for row in trace["y"]}
    assert rows == {"GPU 0", "GPU 1", "GPU 2", "GPU 3"}


def test_experts_need_a_model_that_has_some() -> None:
    assert "no routed experts" in page("Parallelism", way="Expert").info[0].value
    app = page("Parallelism", way="Expert", model="qwen3-30b-a3b")
    assert "128 experts / 4 GPUs = 32 each; a token goes to 8" in text(app)


def test_claims_are_45_and_can_be_filtered() -> None:
    app = page("Quoted numbers")
    said = text(app)
    assert "45 claims: holds 27, near 4, misleading 2, wrong 10, wrong for this model 2" in said
    assert said.count(SIGNS["holds"]) == 27
    wrong = text(page("Quoted numbers", verdict="misleading"))
    assert wrong.count(SIGNS["misleading"]) == 2
    assert SIGNS["holds"] not in wrong


def test_nothing_here_loads_torch() -> None:
    code = (
        "import sys; from streamlit.testing.v1 import AppTest; "
        "app = AppTest.from_file('app.py', default_timeout=60); "
        "app.switch_page('ui/pages/explain.py'); app.query_params['topic'] = 'Paging'; app.run(); "
        "assert not app.exception; assert app.get('plotly_chart'); "
        "sys.exit(1 if {'torch', 'triton'} & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_drafting_gains_less_with_more_users() -> None:
    """0.5 accepted of 2: 1 + 0.5 + 0.25 tokens a step, which n-grams give one user for nothing."""
    app = page("Drafting", accepted="0.5", drafts="2", context="512")
    assert "Tokens a step: 1 + 0.5^1 + 0.5^2 = 1.75 for k = 2" in text(app)
    for trace in traces(app, 1)[:-1]:
        assert trace["y"][0] >= trace["y"][-1]
    ngram = traces(app, 1)[0]
    assert ngram["name"] == "n-gram"
    assert ngram["y"][0] == pytest.approx(1.75, rel=0.01)
    assert "2 to 4 × on consumer hardware" in text(app)
