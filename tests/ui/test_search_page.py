"""The Find hardware page without a browser: an answer at once, limits that bite, refusals."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from planner.hf_config import parse
from planner.search.report import headline, name
from planner.search.search import search
from planner.search.space import SERVING, Space, Target
from planner.timing.latency import Request
from presets.models import load_model_config
from presets.offers import offers
from presets.speed import speed_of
from ui import search_run
from ui.sentence import as_sentence

PAGE = Path(__file__).resolve().parents[2] / "ui" / "pages" / "search.py"
SCRIPT = f"import runpy\nfrom ui import inputs\ninputs.draw()\nrunpy.run_path({str(PAGE)!r})\n"


def page(**query: str) -> AppTest:
    app = AppTest.from_string(SCRIPT, default_timeout=120)
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app


def captions(app: AppTest) -> str:
    return "\n".join(element.value for element in app.caption)


def html(app: AppTest) -> str:
    return "\n".join(element.proto.body for element in app.get("html"))


def test_the_page_says_what_the_search_found() -> None:
    app = page(model="llama-3.1-8b", s_gpus="2", users="8", context="9216")
    target = Target(
        request=Request(prompt_tokens=8192, output_tokens=1024), concurrency=8, ttft_p95_s=2.0,
        tpot_s=0.04,
    )  # fmt: skip
    model = parse(load_model_config("llama-3.1-8b"))
    config = load_model_config("llama-3.1-8b")
    space = Space(max_gpus=2, engines=SERVING)
    found = search(model, offers(), speed_of, target, space, config=config)
    assert app.success[0].value == as_sentence(headline(found))
    for kept in found.frontier[:3]:
        assert f">{name(kept, with_formats=False, with_batch=True)}</th>" in html(app)
    for loser in found.nearest_losers[:3]:
        assert name(loser) in html(app)
    assert "What it misses first" in html(app)
    assert "Because" in html(app)


def test_only_the_gpus_named_are_tried() -> None:
    usual = {"model": "llama-3.1-8b", "s_gpus": "2", "users": "8", "context": "9216"}
    app = page(**usual, s_only="h100-sxm5-80gb")
    assert "H100-SXM5-80GB" in app.success[0].value
    assert not re.search("MI300X|L40S|B200|H200", html(app))
    app = page(**usual, s_only="tpu-v5e")
    assert "no price is known for tpu-v5e" in "".join(e.value.lower() for e in app.error)


def test_limits_that_nothing_meets_name_the_nearest() -> None:
    app = page(model="llama-3.1-8b", s_gpus="1", s_tpot="0.1")
    assert not app.success
    assert "Nothing serves" in app.warning[0].value


def test_inputs_come_from_the_link_and_change_the_answer() -> None:
    app = page(model="llama-3.1-8b", s_gpus="1", users="4", context="3072")
    assert "4 users of 3,072 tokens each" in captions(app)
    assert "2,048 of prompt and 1,024 of answer" in captions(app)
    before = app.success[0].value
    app.number_input(key="users").set_value(400).run()
    assert not app.exception
    after = [element.value for element in (*app.success, *app.warning)]
    assert before not in after


def test_what_contradicts_itself_is_refused_in_a_sentence() -> None:
    app = page(model="llama-3.1-8b", s_gpus="1", context="2048", s_cached="5000")
    assert "more than the prompt's 1,024 tokens" in app.error[0].value
    app = page(model="llama-3.1-8b", s_gpus="1", context="2048", s_prices="l4=cheap")
    assert "is no price" in app.error[0].value
    app = page(model="gpt2-medium", s_gpus="1", context="2048")
    assert "1,024 positions" in app.error[0].value
    app = page(model="llama-3.1-8b", s_gpus="1", context="2048", s_output="2048")
    assert "2,048 answer tokens leave no room for a prompt" in app.error[0].value


def test_formats_that_lose_precision_are_a_choice() -> None:
    app = page(model="llama-3.1-8b", s_gpus="1", users="4", context="3072")
    assert "All with weights bf16 (own), cache bf16 (own)." in captions(app)
    assert "weights fp8" not in html(app)
    app.toggle(key="s_lossy").set_value(True).run()
    assert not app.exception
    assert "weights fp8" in html(app)
    assert "no kernels for nvfp4 weights" in "\n".join(m.value for m in app.markdown)


def test_the_answer_is_kept_until_something_else_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = search_run.search_part

    def counted(*args: Any, **more: Any) -> Any:
        asked.append(1)
        return real(*args, **more)

    monkeypatch.setattr(search_run, "search_part", counted)
    app = page(model="llama-3.1-8b", s_gpus="1", users="4", context="3072")
    before = app.success[0].value
    app.run()
    assert (len(asked), app.success[0].value) == (1, before)
    app.number_input(key="users").set_value(5).run()
    assert len(asked) == 2
    assert "serves 5 users" in app.success[0].value


def test_prices_have_dates_and_gpus_without_one_are_named() -> None:
    app = page(model="llama-3.1-8b", s_gpus="1", users="4", context="3072", s_prices="l4=0.01")
    assert "L4: $0.01 per GPU-hour, as given" in html(app)
    told = "\n".join(element.value for element in app.markdown)
    assert "want of a price" in told
    assert " l4," not in told
    assert " t4," in told


def test_a_context_beyond_the_models_positions_is_said() -> None:
    app = page(model="llama-3.1-8b", s_gpus="8", users="1", context="201024")
    assert "131,072 positions" in app.warning[0].value + app.warning[-1].value


def test_the_engine_is_a_choice_and_its_command_is_shown() -> None:
    app = page(model="llama-3.1-8b", s_gpus="1", users="4", context="3072", s_engine="sglang")
    assert "SGLang" in app.success[0].value
    assert app.code[0].value.startswith("python -m sglang.launch_server --model-path")
    assert "--context-length 3072" in app.code[0].value
    app.selectbox(key="s_engine").select("ideal").run()
    assert not app.exception
    assert not app.code
    assert "SGLang" not in app.success[0].value


def test_a_pasted_configuration_has_its_own_format_and_a_place_for_its_name() -> None:
    """q, k, v, o, gate and up of 32 layers are 5.1 billion parameters in 4 bits, 2.6 GB; down,
    embedding and head 2.9 billion in 16, 5.9 GB: most parameters are in 4, most bytes in 16."""
    config = load_model_config("llama-3.1-8b")
    config["quantization_config"] = {
        "quant_method": "compressed-tensors", "format": "pack-quantized",
        "ignore": ["lm_head", "re:.*down_proj"],
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": {
            "num_bits": 4, "type": "int", "symmetric": True, "strategy": "group",
            "group_size": 128}}},
    }  # fmt: skip
    app = AppTest.from_string(SCRIPT, default_timeout=120)
    for key, value in {"from": "config.json", "s_gpus": "2", "users": "2"}.items():
        app.query_params[key] = value
    app.session_state["config"] = json.dumps(config)
    app.run()
    assert not app.exception
    assert "weights int4_g128 (own)" in app.success[0].value.replace("\\", "")
    assert app.code[0].value.startswith("vllm serve /path/to/model ")
