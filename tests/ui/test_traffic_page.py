"""The Traffic page without a browser: the answer, every button, refusals as sentences."""

import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from planner.engines.registry import options_of
from planner.units import format_bytes
from ui import inputs
from ui.engine_inputs import EngineChoice
from ui.options import CUSTOM_GPU
from ui.traffic_figures import over_time
from ui.traffic_work import Pool

PAGE = str(Path(__file__).resolve().parents[2] / "ui" / "pages" / "traffic.py")
SCRIPT = f"import runpy\nfrom ui import inputs\ninputs.draw()\nrunpy.run_path({PAGE!r})\n"


def page(**query: str) -> AppTest:
    app = AppTest.from_string(SCRIPT, default_timeout=90)
    for key, value in {"count": "300", **query}.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app


def html(app: AppTest) -> str:
    return "\n".join(element.proto.body for element in app.get("html"))


def test_an_answer_is_there_at_once() -> None:
    app = page()
    assert "Holds" in app.success[0].value
    assert "Microsoft" in "".join(c.value for c in app.caption)
    assert len(app.get("plotly_chart")) == 4
    for word in ("goodput", "TTFT p95", "Preemptions", "E2E (s)"):
        assert word in html(app)


def test_overload_does_not_hold() -> None:
    app = page(rate="500", count="2000", requests="Fixed lengths")
    assert "Does not hold" in app.error[0].value


def test_highest_rate_and_replicas() -> None:
    app = page(requests="Fixed lengths")
    app.button(key="find_rate").click().run()
    assert not app.exception
    said = "".join(m.value for m in app.markdown)
    assert "95 % interval" in said
    count, needed = asked_for(said)
    assert (count, needed) == (800, 1)


def test_replicas_are_searched_with_as_many_requests_for_each() -> None:
    app = page(requests="Fixed lengths", rate="60")
    app.button(key="find_rate").click().run()
    count, needed = asked_for("".join(m.value for m in app.markdown))
    assert needed > 1
    assert count >= 800 * (needed - 1)
    assert count % 800 == 0


def asked_for(said: str) -> tuple[int, int]:
    """Requests of the run that says how many replicas are needed, and that number."""
    found = re.search(r"(\d+) replicas?\W+needed .* in a run of ([\d,]+) requests", said)
    assert found is not None
    return int(found[2].replace(",", "")), int(found[1])


@pytest.mark.parametrize(("number", "word"), [(0, "on demand"), (1, "static, 32 sequences"),
                                              (2, "continuous, blocks on demand"),
                                              (3, "with prefix caching"), (4, "Free, scattered"),
                                              (5, "beam search, 8")])  # fmt: skip
def test_every_claim_is_tried(number: int, word: str) -> None:
    app = page()
    app.button(key=f"claim_{number}").click().run()
    assert not app.exception
    assert word in html(app)
    assert "Here:" in "".join(m.value for m in app.markdown)


def test_refused_inputs_are_a_sentence() -> None:
    assert "attention heads" in page(gpus="3").error[0].value


UPLOADED = "A trace of my own (CSV)"


def test_a_trace_that_is_not_chosen_yet_is_no_mistake() -> None:
    app = page(requests=UPLOADED)
    assert "Choose a trace" in app.info[0].value
    assert not app.error


def test_a_card_without_its_memory_is_no_mistake_yet() -> None:
    app = page(gpu=CUSTOM_GPU)
    assert "Give the memory of your GPU" in app.info[0].value
    assert not app.error
    assert "no memory bandwidth is known" in page(gpu=CUSTOM_GPU, memory="81090").error[0].value


def test_a_trace_tries_no_claims_on_other_lengths() -> None:
    """Claims draw requests; those of the page's defaults would be nobody's."""
    assert page().button(key="claim_0")
    app = page(requests=UPLOADED)
    rows = "".join(f"{n},100,10\n" for n in range(20))
    csv = f"TIMESTAMP,ContextTokens,GeneratedTokens\n{rows}"
    app.file_uploader(key="trace_file").set_value(("t.csv", csv.encode(), "text/csv")).run()
    assert "Holds" in app.success[0].value
    assert not [button for button in app.button if str(button.key).startswith("claim_")]
    assert "claims tried, with drawn requests" in "".join(c.value for c in app.caption)


def test_a_million_tokens_can_be_asked_for() -> None:
    """1M is 1,048,576 everywhere else too."""
    app = page(requests="Fixed lengths", p="1M", o="1M")
    assert "Nothing is served: 300 of 300 requests refused, longer" in app.error[0].value


def test_ticks_of_small_shares_differ() -> None:
    """Shares of 0.1 % in steps of 0.02: one place after the point would print 0.1 three times."""
    rows = [{"start_s": float(n)} for n in range(3)]
    figure = over_time(rows, [("Empty", [0.0, 0.0006, 0.0012])], "Share", percent=True)
    form = figure.layout.yaxis.tickformat
    assert form.startswith("~")
    assert (
        over_time(rows, [("Empty", [0, 0.5, 1])], "Share", percent=True).layout.yaxis.tickformat
        == ".0f"
    )


def test_what_moves_the_rate() -> None:
    app = page()
    app.button(key="find_moves").click().run()
    assert not app.exception
    for word in ("KV cache", "fp8", "256 tokens", "Shared prefix", "2,048 tokens",
                 "Tokens a step", "TPOT p95, one replica at 4/s"):  # fmt: skip
        assert word in html(app)


def test_the_pool_is_the_engine_pages() -> None:
    said = "".join(c.value for c in page().caption)
    assert "as vLLM 0.33.0 gives them" in said
    engine = EngineChoice("vllm", options_of("vllm", {}))
    app = page()
    found = engine.figures(app.session_state[inputs.OUTCOME])
    for figure in (f"{found.num_blocks:,}", format_bytes(found.kv_cache.bytes), "1,024 sequences"):
        assert figure in said
    assert "SGLang" in "".join(c.value for c in page(engine="sglang").caption)


def test_bytes_alone_are_said_to_be_that() -> None:
    assert "by bytes alone" in "".join(c.value for c in page(bytes_alone="true").caption)


def test_another_block_size_moves_the_engines_pool() -> None:
    app = page()
    chosen = app.session_state[inputs.OUTCOME]
    pool = Pool(EngineChoice("vllm", options_of("vllm", {})))
    moved = pool.moved(chosen, chosen.deployment.replace(block_size=64))
    usual = pool.replica(chosen)
    assert moved.block_size == 64
    assert moved.num_blocks == pytest.approx(usual.num_blocks / 4, rel=0.001)


def test_an_engine_that_would_not_start_leaves_the_inputs() -> None:
    app = page(gpu="rtx-4090", rate="7")
    assert "vLLM 0.33.0 would refuse to start (--max-model-len" in app.error[0].value
    assert app.number_input(key="rate").value == 7
    app.toggle(key="bytes_alone").set_value(True).run()
    assert not any("refuse" in box.value for box in app.error)


def test_drafting_gives_tokens_as_well_as_taking_memory() -> None:
    said = "".join(c.value for c in page(spec="n-gram", acceptance="0.5").caption)
    # 1 + 0.5 + 0.25 + 0.125 tokens of a step that checks 4.
    assert "3 drafted a step by n-grams of the prompt, acceptance 0.5: 1.88 tokens a step" in said
    assert "drafted" not in "".join(c.value for c in page().caption)
    assert "is an assumption" in "".join(c.value for c in page(spec="n-gram").caption)


def test_requests_too_long_for_the_model_have_no_figures() -> None:
    app = page(requests="Fixed lengths", p="200000")
    assert "Nothing is served: 300 of 300 requests refused" in app.error[0].value
    assert "131,072 tokens" in app.error[0].value
    assert "TTFT p95" not in html(app)
    assert not app.get("plotly_chart")


def test_an_answer_stays_until_an_input_changes() -> None:
    """Another button and a page of the same inputs leave it; other inputs are another question."""
    app = page(requests="Fixed lengths")
    app.button(key="find_rate").click().run()
    app.button(key="claim_4").click().run()
    said = "".join(m.value for m in app.markdown)
    assert "95 % interval" in said
    assert "1,000 chats against" in said
    app.run()
    assert "95 % interval" in "".join(m.value for m in app.markdown)
    app.text_input(key="p").set_value("2000").run()
    assert "95 % interval" not in "".join(m.value for m in app.markdown)
    assert not app.exception
