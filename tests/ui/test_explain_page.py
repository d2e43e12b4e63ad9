"""The Explain page without a browser: every topic, live numbers, refusals in a sentence."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from planner.lessons.claims import recompute
from planner.units import format_bytes
from presets.claims import load_claims, presets
from ui.explain import charts, narrow
from ui.explain.quoted import SIGNS
from ui.explain_view import TOPICS

ROOT = Path(__file__).resolve().parents[2]
CHARTS = {
    "KV cache": 3, "Online softmax": 3, "Tiling": 5, "Heads": 4, "Positions": 2, "Paging": 2,
    "Parallelism": 1, "Drafting": 2, "Flash 1 to 4": 6, "Quoted numbers": 1,
}  # fmt: skip


def test_no_pattern_crosses_a_figure() -> None:
    """A first row is plain and may hold its figure; hatched ones have it beside them."""
    rows = {"a": [8.0, 1.0], "b": [2.0, 8.0]}
    found = charts.bars(["x", "y"], rows, "s", dark=False, labels=[["8", "1"], ["2", "8"]])
    places = {bar.marker.pattern.shape: bar.textposition for bar in found.data}
    assert places == {"": "auto", "/": "outside"}
    assert found.layout.xaxis.range[1] > 1.3 * 8


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
def test_no_plan_breaks_a_topic(
    topic: str, query: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the shortest length of fp8's errors alone: other tests have the others."""
    if topic == "Flash 1 to 4":
        monkeypatch.setattr(narrow, "LENGTHS", narrow.LENGTHS[:1])
        narrow._found.clear()
    app = page(topic, **query)
    assert not app.exception
    for refusal in [*app.info, *app.error]:
        assert refusal.value.endswith(".")
    assert app.get("plotly_chart") or app.info or app.error
    if topic == "Flash 1 to 4":
        narrow._found.clear()


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


def test_softmax_without_a_maximum_overflows_fp16() -> None:
    assert "exp(5) = 148.413; fp16 ends at 65,504, exp(11.09)" in text(page("Online softmax"))
    over = text(page("Online softmax", scores="12, 3"))
    assert "exp(12) = 162,755; fp16 ends" in over
    assert ">overflow<" in over
    assert ">none<" in over
    assert "beyond 64-bit" in text(page("Online softmax", scores="5000"))


def test_passes_are_counted_for_the_models_heads() -> None:
    said = text(page("Online softmax", row="4k", gpu="h100-sxm5-80gb"))
    assert f"2 B × (2 + 1) × 131,072 × 4,096 = {format_bytes(6 * 32 * 4096**2)}" in said
    assert "At 3.35 TB/s" in said


def test_the_walk_can_be_walked() -> None:
    app = page("Tiling", walk="0")
    assert "Step 1 of 20" in text(app)
    app.slider(key="walk").set_value(100).run()
    assert "Step 20 of 20" in text(app)
    assert "24.0" in text(app)


def test_the_cards_own_memory_comes_first() -> None:
    said = text(page("Tiling", gpu="h100-sxm5-80gb"))
    assert "132 multiprocessors × 128 B × 1.98 GHz = 33.5 TB/s" in said
    assert "Device memory: 3.35 TB/s, 9.99 times less" in said
    assert said.index("228.00 KiB") < said.index("Shared memory: (128")
    alone = text(page("Tiling", gpu="custom", memory="60000"))
    assert "no figure" in alone
    assert "multiprocessors ×" not in alone


def test_heads_can_be_compared_at_the_same_parameters() -> None:
    said = text(page("Heads", model="llama-3.1-70b"))
    assert all(f">{n} B<" in said for n in ("79.95", "69.38", "72.94"))
    same = text(page("Heads", model="llama-3.1-70b", same_parameters="true"))
    assert "79.95 B" not in same
    assert "feed-forward 29,312 instead of 28,672" in same


def test_linear_attention_is_the_same_both_ways() -> None:
    """phi(1, -1) = (2, 1/e), value (0, 2), after phi(0, 0) = (1, 1), value (1, 0)."""
    app = page("Heads", linear="2")
    assert "128 × 128 + 128 = 16,512 numbers, as many as K and V of 64.5 tokens" in text(app)
    assert "1, 4; 1, 0.736" in text(app)
    by_token, at_once = traces(app, 2)
    assert by_token["x"] == pytest.approx(at_once["x"], abs=1e-12)
    assert by_token["x"][0] == 1.0


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


def test_data_parallel_copies_and_stages() -> None:
    """8.03 B parameters: 16 B each is 119.66 GiB; 24 exchanges of 8 batches for 2."""
    app = page("Parallelism", way="Data")
    assert not app.exception
    said = text(app)
    assert "8,030,261,248 parameters × 16 B = 119.66 GiB" in said
    assert "4 B a parameter = 29.92 GiB, for 12 times the traffic" in said


def test_experts_need_a_model_that_has_some() -> None:
    assert "no routed experts" in page("Parallelism", way="Expert").info[0].value
    app = page("Parallelism", way="Expert", model="qwen3-30b-a3b")
    assert "128 experts / 4 GPUs = 32 each; a token goes to 8" in text(app)


def cache_gains() -> tuple[float, ...]:
    """What the plan of the quoted lengths says, as the tables of the page are to."""
    (claim,) = (claim for claim in load_claims() if claim.id == "cache-speedup")
    found = recompute(claim, presets())
    assert isinstance(found, tuple)
    return found


def test_a_cache_in_time_depends_on_the_length() -> None:
    said = text(page(model="llama-3.1-8b", gpu="h100-sxm5-80gb", before="512", answer="500"))
    assert "512 + 500 tokens on H100" in said
    ratios = cache_gains()
    assert f": {ratios[1]:.2f} times as fast" in said
    for ratio in ratios:
        assert f"{ratio:.1f} ×</td>" in said
    assert "estimate" in said


def test_a_card_without_rates_has_the_rest_of_the_topic() -> None:
    app = page(gpu="custom", memory="60000")
    assert len(app.get("plotly_chart")) == CHARTS["KV cache"] - 1
    assert "no memory bandwidth is known, so no time can be given." in text(app)


def test_claims_are_82_and_can_be_filtered() -> None:
    app = page("Quoted numbers")
    said = text(app)
    assert "82 claims: holds 31, near 7, misleading 19, wrong 23, wrong for this model 2" in said
    assert said.count(SIGNS["holds"]) == 31
    *some, last = (f"{ratio:.1f}" for ratio in cache_gains())
    assert f"{', '.join(some)} and {last} × (estimate)" in said
    assert "4.961, 16.87 and 32.74 ×<" in said
    wrong = text(page("Quoted numbers", verdict="misleading"))
    assert wrong.count(SIGNS["misleading"]) == 19
    assert SIGNS["holds"] not in wrong


def test_fp8_is_computed_for_the_models_own_heads() -> None:
    said = text(page("Flash 1 to 4", model="deepseek-v3"))
    assert "√64 on each 64 of 192 entries" in said
    assert "times less at 4,096 tokens" in said


def test_ping_pong_is_drawn_for_the_card() -> None:
    app = page("Flash 1 to 4", gpu="h100-sxm5-80gb", tiles="1")
    said = text(app)
    assert "on one of 132 multiprocessors = 560 ns" in said
    assert "8,192 in 259 ns, 46 % of that" in said
    assert "1 tile for both: 1,637 ns in turn" in said
    rows = {row for trace in traces(app, 4) for row in trace["y"]}
    assert rows == {"In turn, 1", "In turn, 2", "Ping-pong, 1", "Ping-pong, 2"}


def test_a_card_without_known_units_still_has_the_rest() -> None:
    app = page("Flash 1 to 4", gpu="mi300x")
    assert "special-function" in app.info[0].value
    assert "fp8, and a rotation" in "".join(header.value for header in app.header)


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


def test_lookahead_says_what_a_pass_must_yield() -> None:
    """(15 + 15) x (5 - 1) tokens; the narrowest setting has (4 + 4) x (3 - 1)."""
    said = text(page("Drafting", context="512"))
    assert "(15 + 15) × (5 − 1) = 120 tokens in each pass" in said
    assert "defaults: 4, 3, 4<" in said
    assert ">16</td>" in said


def test_positions_are_stretched_as_chosen_or_as_the_configuration_says() -> None:
    """Llama 3.1 brings its own scaling; Qwen3-8B is stretched by what the page asks."""
    own = page("Positions", model="llama-3.1-8b")
    assert "pairs turn 1 to 8 times slower" in text(own)
    assert "stretch" not in {slider.key for slider in own.get("select_slider")}
    app = page("Positions", model="qwen3-8b", stretch="8")
    assert "40,960 to 327,680 tokens by YaRN, factor 8" in text(app)
    assert "8 times is more than their 4" in text(app)
    before, after, stated, reached = traces(app)[:4]
    assert after["y"][-1] == pytest.approx(8 * before["y"][-1])
    assert set(stated["y"]) == {40960}
    assert set(reached["y"]) == {327680}
    told = page("Positions", model="opt-6.7b")
    assert "learned a table of 2,048 positions" in told.info[0].value
    assert "This model is one." in text(page("Positions", model="bloom-560m"))


def test_reserved_bytes_end_at_the_windows_of_a_model() -> None:
    """gpt-oss-20b: 12 layers of 2 KiB a token keep all, 12 no more than 128. One sequence of 8,192:
    24 KiB x (8,192 + 128) = 195 MiB, as the topic of the cache has it, and not 384."""
    said = text(page("Paging", model="gpt-oss-20b", crowd="1"))
    assert ">195.00 MiB</td>" in said
    assert "Layers with a window keep no more" in said
    assert "window" not in text(page("Paging", crowd="1")).partition("<style>")[0]


def test_large_factors_are_written_out() -> None:
    """Without a cache 2,048 tokens take as many passes over 32,768 and more."""
    said = text(page("KV cache", gpu="rtx-3060-12gb", before="32,768", answer="2,048"))
    row = said[said.index("32,768 + 2,048</th>") :].partition("</tr>")[0]
    factor = row.rpartition(" ×")[0].rpartition(">")[2]
    assert 100 < float(factor) < 2048
    assert "." not in factor
