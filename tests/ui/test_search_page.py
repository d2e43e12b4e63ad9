"""The Find hardware page without a browser: an answer at once, limits that bite, refusals."""

from pathlib import Path

from streamlit.testing.v1 import AppTest

from planner.hf_config import parse
from planner.latency import Request
from planner.search import search
from planner.search_report import headline, name
from planner.search_space import Space, Target
from presets.models import load_model_config
from presets.offers import offers
from presets.speed import speed_of
from ui.refusal import as_sentence

PAGE = Path(__file__).resolve().parents[2] / "ui" / "pages" / "search.py"
SCRIPT = f"import runpy\nfrom ui import inputs\ninputs.draw()\nrunpy.run_path({str(PAGE)!r})\n"


def page(**query: str) -> AppTest:
    app = AppTest.from_string(SCRIPT, default_timeout=120)
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app


def html(app: AppTest) -> str:
    return "\n".join(element.proto.body for element in app.get("html"))


def test_the_page_says_what_the_search_found() -> None:
    app = page(model="llama-3.1-8b", s_gpus="2", s_users="8")
    target = Target(
        request=Request(prompt_tokens=8192, output_tokens=1024), concurrency=8, ttft_p95_s=2.0,
        tpot_s=0.04,
    )  # fmt: skip
    model = parse(load_model_config("llama-3.1-8b"))
    found = search(model, offers(), speed_of, target, Space(max_gpus=2))
    assert app.success[0].value == as_sentence(headline(found))
    for kept in found.frontier[:3]:
        assert f">{name(kept)}</th>" in html(app)
    for loser in found.nearest_losers[:3]:
        assert name(loser) in html(app)
    assert "What it misses first" in html(app)
    assert "Because" in html(app)


def test_limits_that_nothing_meets_name_the_nearest() -> None:
    app = page(model="llama-3.1-8b", s_gpus="1", s_tpot="0.1")
    assert not app.success
    assert "Nothing serves" in app.warning[0].value


def test_inputs_come_from_the_link_and_change_the_answer() -> None:
    app = page(model="llama-3.1-8b", s_gpus="1", s_users="4", s_prompt="2048")
    assert app.number_input(key="s_prompt").value == 2048
    before = app.success[0].value
    app.number_input(key="s_users").set_value(400).run()
    assert not app.exception
    after = [element.value for element in (*app.success, *app.warning)]
    assert before not in after
