"""The Engine page without a browser: the engine's figure, its log lines, files, a pasted log."""

from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from planner.deployment import Deployment
from planner.engines.gap import gap
from planner.engines.registry import ENGINES, options_of
from planner.plan import make_plan
from planner.units import format_bytes
from planner.workload import Workload
from presets.gpus import load_gpu
from ui.engine_options import FLAGS
from ui.model_source import from_preset

ROOT = Path(__file__).resolve().parents[2]
H100 = "h100-sxm5-80gb"


def page(engine: str = "vllm", **query: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    for key, value in query.items():
        app.query_params[key] = value
    app.run().switch_page("ui/pages/engine.py").run()
    return app if engine == "vllm" else app.selectbox("engine").set_value(engine).run()


def text(app: AppTest) -> str:
    found: list[Any] = [*app.success, *app.warning, *app.error, *app.info]
    found += [*app.markdown, *app.caption, *app.title, *app.header, *app.code]
    words = [element.value for element in found]
    words += [element.proto.body for element in app.get("html")]
    return "\n".join(words)


def figures(name: str = "vllm", **values: Any) -> Any:
    choice = from_preset("llama-3.1-8b")
    return ENGINES[name].figures(
        choice.model, load_gpu(H100), Deployment(),
        options_of(name, {"version": ENGINES[name].versions[0], **values}),
        Workload(context=32768, concurrency=12), config=choice.config,
    )  # fmt: skip


def test_lands_on_the_engines_figure() -> None:
    app = page()
    assert not app.exception
    found, said = figures(), text(app)
    assert f"{found.kv_cache_tokens:,} tokens" in app.success[0].value
    assert format_bytes(found.kv_cache.bytes) in said
    assert found.log_lines[-1] in said
    assert "vllm serve " in said


@pytest.mark.parametrize("name", [name for name in ENGINES if name != "vllm"])
def test_every_engine_answers(name: str) -> None:
    app = page(engine=name)
    assert not app.exception
    found = figures(name)
    verdict = [element.value for element in (*app.success, *app.warning, *app.error)]
    says = "would refuse" if found.refused else f"{found.kv_cache_tokens:,} tokens"
    assert any(says in value for value in verdict)
    assert any(found.command.split()[0] in element.value for element in app.code)


def test_flags_are_the_options_own() -> None:
    for name, flags in FLAGS.items():
        fields = ENGINES[name].options.model_fields
        assert {flag.field for flag in flags} <= set(fields)


def test_a_flag_changes_the_answer() -> None:
    app = page()
    app.number_input("vllm_gpu_memory_utilization").set_value(0.5).run()
    assert not app.exception
    found = figures(gpu_memory_utilization=0.5)
    assert f"{found.kv_cache_tokens:,} tokens" in text(app)
    app.number_input("vllm_max_model_len").set_value(1000).run()
    assert not app.exception
    assert "1,000 tokens" in text(app)


def test_a_refusal_is_one_sentence_and_keeps_the_inputs() -> None:
    app = page(model="llama-3.3-70b-instruct")
    assert not app.exception
    assert "would refuse" in app.error[0].value
    assert app.selectbox("engine").value == "vllm"
    app = page(engine="llama.cpp", weights="fp8")
    assert "no GGUF file holds it" in app.error[0].value


def test_files_are_offered() -> None:
    app = page()
    picker = app.selectbox("deploy_file")
    assert "compose.yaml" in picker.options[0]
    assert len(picker.options) == 5
    yaml_text = app.code[-1].value
    assert "vllm/vllm-openai:v0.33.0" in yaml_text
    assert "meta-llama" in yaml_text


def test_a_log_is_laid_beside_the_plan_and_calibrates_it() -> None:
    app = page()
    app.text_area("engine_log").set_value(
        "Model loading took 15.99 GiB memory\nAvailable KV cache memory: 52.00 GiB"
    ).run()
    assert not app.exception
    said = text(app)
    assert "Weights differ most: the log has 1.00 GiB more" in said
    assert "52.00 GiB" in said
    app.button("keep_log").click().run()
    assert not app.exception
    assert "With the log's differences" in app.info[0].value
    assert "52.00 GiB" in app.info[0].value
    app.button("forget_log").click().run()
    assert not app.info


def test_other_text_is_refused() -> None:
    app = page()
    app.text_area("engine_log").set_value("my cat").run()
    assert not app.exception
    assert "no start-up log" in app.error[0].value


@pytest.mark.parametrize("name", list(ENGINES))
def test_the_gap_adds_up(name: str) -> None:
    choice, gpu = from_preset("llama-3.1-8b"), load_gpu(H100)
    plan = make_plan(choice.model, gpu, Deployment(), Workload(context=32768, concurrency=12))
    found = gap(plan, figures(name))
    assert found.ideal_bytes - sum(size for _, size in found.reasons) == found.engine_bytes
    assert found.ideal_bytes > found.engine_bytes
