"""The Plan page without a browser: lands on an answer, follows edits, survives bad input."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from planner.deployment import Deployment
from planner.export import as_data
from planner.plan import Plan, make_plan
from planner.units import format_bytes
from planner.verdict import verdict
from planner.workload import Workload
from presets.gpus import load_gpu
from ui.model_source import from_preset

ROOT = Path(__file__).resolve().parents[2]
H100 = "h100-sxm5-80gb"


def page(**query: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    for key, value in query.items():
        app.query_params[key] = value
    return app.run()


def text(app: AppTest) -> str:
    """Everything a person reads in the main part and the sidebar."""
    found: list[Any] = [*app.success, *app.warning, *app.error, *app.info]
    found += [*app.markdown, *app.caption, *app.title, *app.header]
    words = [element.value for element in found]
    words += [element.proto.body for element in app.get("html")]
    return "\n".join(words)


def expected(
    model: str = "llama-3.1-8b",
    gpu: str = H100,
    context: int = 32768,
    users: int = 12,
    **sizes: Any,
) -> Plan:
    workload = Workload(context=context, concurrency=users)
    return make_plan(from_preset(model).model, load_gpu(gpu), Deployment(**sizes), workload)


def no_trace(app: AppTest) -> None:
    assert not app.exception


def test_lands_on_a_finished_answer() -> None:
    app = page()
    no_trace(app)
    plan = expected()
    assert plan.fits
    assert app.success[0].value == f"**{verdict(plan)}**"
    said = text(app)
    for size in (plan.total_bytes_per_gpu, plan.headroom_bytes, plan.parts.kv_cache):
        assert format_bytes(size) in said
    assert f"{plan.max_context_tokens:,}" in said
    assert "sold as 80 GB" in said


def test_chart_is_a_map_with_the_plan_on_it() -> None:
    app = page()
    chart = app.get("plotly_chart")[0].proto
    assert "table below" in chart.alt
    traces = {trace["name"]: trace for trace in json.loads(chart.spec)["data"]}
    assert traces["this plan"]["x"] == [32768]
    assert traces["this plan"]["y"] == [12]
    ticks = json.loads(chart.spec)["layout"]["xaxis"]["ticktext"]
    assert "32k" in ticks


def test_an_edit_is_a_new_answer() -> None:
    app = page()
    app.number_input(key="users").set_value(3)
    app.text_input(key="context").set_value("128k").run()
    no_trace(app)
    assert app.success[0].value == f"**{verdict(expected(context=131072, users=3))}**"


def test_a_link_is_a_plan() -> None:
    app = page(model="qwen3-30b-a3b", gpu="l40s", gpus="4", kv="fp8", users="5", ep="true")
    no_trace(app)
    plan = expected(
        "qwen3-30b-a3b", "l40s", users=5, tensor_parallel_size=4,
        kv_cache_dtype="fp8", enable_expert_parallel=True,
    )  # fmt: skip
    assert format_bytes(plan.total_bytes_per_gpu) in text(app)


@pytest.mark.parametrize(
    "query",
    [
        {"users": "99999999999999999999"},
        {"model": "no-such-model"},
        {"gpu": ""},
        {"weights": "zz", "kv": "<script>"},
    ],
)
def test_nonsense_in_a_link_falls_back_to_the_default(query: dict[str, str]) -> None:
    app = page(**query)
    no_trace(app)
    assert app.success[0].value == f"**{verdict(expected())}**"
    (said,) = (box.value.replace("\\", "") for box in app.warning)
    for name, value in query.items():
        assert f"{name}={value}" in said


def test_the_warning_about_a_link_goes_with_its_input() -> None:
    app = page(model="no-such-model", tp="3")
    said = app.warning[0].value.replace("\\", "")
    assert "model=no-such-model, which is not known here: model=llama-3.1-8b is used" in said
    assert "tp=3 in the link names no input of this page" in said
    app.selectbox(key="model").set_value("qwen3-8b").run()
    assert "no-such-model" not in app.warning[0].value.replace("\\", "")


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("users", "abc", "which is not a number: users=12 is used"),
        ("memory", "much", "which is not a number: memory is empty"),
        ("users", "-5", "which is outside what that input takes"),
        ("kv", "zz", "which is not known here"),
    ],
)
def test_a_link_is_told_what_is_wrong_with_a_value(name: str, value: str, why: str) -> None:
    said = page(**{name: value}).warning[0].value.replace("\\", "")
    assert f"{name}={value}, {why}" in said


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"model": "qwen3-8b", "gpus": "2", "ep": "false", "kv": "fp8"},
        {"context": "32768", "users": "12", "memory": "40000", "eager": "true"},
        {"from": "Hub", "model": "qwen3-8b", "hub": "Qwen/Qwen3-8B"},
        {"show": "Derivation"},
    ],
)
def test_a_good_link_is_not_complained_about(query: dict[str, str]) -> None:
    app = page(**query)
    no_trace(app)
    assert not app.warning


def test_sizes_that_do_not_divide_are_one_sentence_and_inputs_stay() -> None:
    app = page()
    app.number_input(key="gpus").set_value(3).run()
    no_trace(app)
    assert "3 GPUs cannot share 32 attention heads evenly; 2 or 4 can" in app.error[0].value
    assert app.number_input(key="gpus").value == 3
    app.button(key="gpus_4").click().run()
    assert app.number_input(key="gpus").value == 4
    assert app.success


def test_gpus_within_a_stage_are_named_as_such() -> None:
    app = page(gpus="6", pp="2")
    no_trace(app)
    assert "6 GPUs, 3 to a stage or replica, cannot share 32" in app.error[0].value
    offered = {b.key for b in app.button if (b.key or "").startswith("gpus_")}
    assert offered == {"gpus_4", "gpus_8", "gpus_stages"}


def test_gpus_that_cannot_share_heads_may_hold_whole_layers() -> None:
    """3 GPUs with 10, 11 and 11 of 32 layers."""
    app = page(gpus="3")
    assert "2 or 4 can; each GPU may hold whole layers instead. Your" in app.error[0].value
    app.button(key="gpus_stages").click().run()
    no_trace(app)
    assert not app.error
    assert app.number_input(key="gpus").value == app.number_input(key="pp").value == 3


def test_gpus_that_do_not_split_into_stages() -> None:
    app = page(gpus="8", pp="3")
    no_trace(app)
    assert "multiple of 3" in app.error[0].value


@pytest.mark.parametrize("model", ["llama-3.1-70b", "gemma-3-27b-it"])
def test_every_fix_fits_when_it_is_pressed(model: str) -> None:
    keys = [b.key for b in page(model=model, users="64").button if (b.key or "").startswith("fix")]
    assert keys
    for key in keys:
        app = page(model=model, users="64")
        assert app.error
        app.button(key=key).click().run()
        no_trace(app)
        assert not app.error
        assert app.success or app.warning


def test_deepseek_on_one_card_says_how_short() -> None:
    app = page(model="deepseek-v3")
    no_trace(app)
    assert "Does not fit" in app.error[0].value
    short = expected("deepseek-v3").headroom_bytes
    assert format_bytes(-short) in app.error[0].value


PASTES = (
    ('{"model_type": "llama", ', "not valid JSON"),
    ("[" * 5000 + "]" * 5000, "nested too deeply"),
    ('{"model_type": "warp"}', "model_type"),
    ('{"model_type": "llama", "hidden_size": -4}', "hidden_size"),
    ('{"schema_version": 1}', "saved plan"),
    ("x" * (5 * 2**20), "bytes"),
)


@pytest.mark.parametrize(("pasted", "word"), PASTES, ids=[word for _, word in PASTES])
def test_a_broken_configuration_is_one_sentence(pasted: str, word: str) -> None:
    app = page(**{"from": "config.json"})
    assert "Paste" in app.info[0].value
    app.text_area(key="config").set_value(pasted).run()
    no_trace(app)
    assert word in app.error[0].value.replace("\\", "")
    assert app.text_area(key="config").value == pasted


def test_a_pasted_configuration_is_planned_and_said_to_be_outside_the_link() -> None:
    app = page(**{"from": "config.json"})
    config = json.dumps(from_preset("qwen3-8b").config)
    app.text_area(key="config").set_value(config).run()
    no_trace(app)
    assert app.success[0].value == f"**{verdict(expected('qwen3-8b'))}**"
    assert "not in the link" in text(app)


def test_an_uploaded_configuration_is_planned() -> None:
    app = page(**{"from": "config.json"})
    config = json.dumps(from_preset("qwen3-8b").config).encode()
    app.file_uploader(key="config_file").upload("config.json", config, "application/json").run()
    no_trace(app)
    assert app.success[0].value == f"**{verdict(expected('qwen3-8b'))}**"


def test_an_uploaded_index_is_compared() -> None:
    """8,190,735,360 parameters of Qwen3-8B in bf16."""
    app = page(**{"from": "config.json"})
    config = json.dumps(from_preset("qwen3-8b").config).encode()
    index = {"metadata": {"total_size": 16_381_470_720}, "weight_map": {"lm_head.weight": "1"}}
    files = app.file_uploader(key="config_file").upload("config.json", config, "application/json")
    name = "model.safetensors.index.json"
    files.upload(name, json.dumps(index).encode(), "application/json").run()
    no_trace(app)
    assert app.success[0].value == f"**{verdict(expected('qwen3-8b'))}**"
    assert "holds 15.26 GiB of tensors: what the plan counts, to the byte" in text(app)


def test_a_large_upload_is_refused_in_a_sentence() -> None:
    app = page(**{"from": "config.json"})
    large = b" " * (11 * 2**20)
    app.file_uploader(key="config_file").upload("big.json", large, "application/json").run()
    no_trace(app)
    assert "big.json has 11.00 MiB" in app.error[0].value.replace("\\", "")


def test_a_second_configuration_takes_the_place_of_the_first() -> None:
    app = page(**{"from": "config.json"})
    for model_id in ("llama-3.2-1b", "qwen3-8b"):
        config = json.dumps(from_preset(model_id).config).encode()
        app.file_uploader(key="config_file").upload("config.json", config).run()
        no_trace(app)
    assert app.success[0].value == f"**{verdict(expected('qwen3-8b'))}**"


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"\x89PNG\r\n\x1a\n\x00", "not UTF-8 text"),
        (b"hello", "config.json: this is not valid JSON"),
        (b"[1, 2]", "config.json: this holds no JSON object"),
        (b'{"schema_version": 1}', "config.json: this is a saved plan"),
        (b'{"a": "' + b"x" * 5 * 2**20 + b'"}', "config.json: this has more than"),
    ],
)
def test_a_file_that_is_no_configuration_leaves_the_one_before(content: bytes, word: str) -> None:
    app = page(**{"from": "config.json"})
    pasted = json.dumps(from_preset("qwen3-8b").config)
    app.text_area(key="config").set_value(pasted).run()
    app.file_uploader(key="config_file").upload("config.json", content).run()
    no_trace(app)
    assert word in app.error[0].value.replace("\\", "")
    assert app.text_area(key="config").value == pasted


@pytest.mark.parametrize("content", [b"", b" \n"])
def test_an_empty_upload_is_called_empty(content: bytes) -> None:
    app = page(**{"from": "config.json"})
    app.file_uploader(key="config_file").upload("none.json", content, "application/json").run()
    no_trace(app)
    assert "none.json is empty" in app.error[0].value


def test_a_saved_plan_opens() -> None:
    choice = from_preset("qwen3-8b")
    plan = expected("qwen3-8b", "l40s", 8192, 5, tensor_parallel_size=2, kv_cache_dtype="fp8")
    saved = json.dumps(as_data(plan, choice.config)).encode()
    app = page()
    app.file_uploader(key="plan_file").upload("plan.json", saved, "application/json").run()
    no_trace(app)
    assert app.success[0].value == f"**{verdict(plan)}**"
    assert (app.selectbox(key="model").value, app.number_input(key="gpus").value) == ("qwen3-8b", 2)


def test_a_broken_saved_plan_leaves_the_plan_alone() -> None:
    app = page()
    app.file_uploader(key="plan_file").upload("p.json", b"{}", "application/json").run()
    no_trace(app)
    assert "schema_version" in app.error[0].value
    assert app.success[0].value == f"**{verdict(expected())}**"


def test_the_hub_is_asked_only_on_the_button(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def fetch(hub_id: str) -> str:
        asked.append(hub_id)
        return json.dumps(from_preset("qwen3-8b").config)

    monkeypatch.setattr("ui.model_input.fetch_from_hub", fetch)
    app = page(**{"from": "Hub", "hub": "someone/unknown-model"})
    no_trace(app)
    assert asked == []
    assert "Press the button" in app.info[0].value
    next(b for b in app.button if "Hub" in b.label).click().run()
    assert asked == ["someone/unknown-model"]
    assert app.success[0].value == f"**{verdict(expected('qwen3-8b'))}**"


def test_a_card_that_is_not_listed_needs_its_memory() -> None:
    app = page(gpu="custom")
    no_trace(app)
    assert "MiB" in app.info[0].value
    app.number_input(key="memory").set_value(48 * 1024).run()
    no_trace(app)
    assert "48.00 GiB" in text(app)


def test_every_tab_has_its_table() -> None:
    closed = text(page())
    for tab, word in (
        ("Derivation", "16,060,522,496 B"),
        ("Assumptions", "CUDA graphs"),
        ("Model", "8,030,261,248"),
        ("Cache and attention", "Score matrix"),
        ("Cost of length", "Attention in the prompt’s arithmetic"),
        ("Inputs", "Source of the configuration"),
    ):
        app = page(show=tab)
        no_trace(app)
        assert word in text(app)
        assert word not in closed


def test_what_length_costs_needs_a_card_with_rates() -> None:
    app = page(gpu="custom", memory="60000", show="Cost of length")
    no_trace(app)
    assert "memory bandwidth" in app.info[0].value


@pytest.mark.parametrize(
    "model", ["mamba-2.8b-hf", "gpt-oss-120b", "jamba-v0.1", "gemma-3-27b-it", "minimax-m3"]
)
def test_unusual_models_have_a_page(model: str) -> None:
    app = page(model=model)
    no_trace(app)
    assert app.success or app.error or app.warning


def test_the_app_plans_without_torch_or_plotly_express() -> None:
    code = (
        "import sys; sys.path.insert(0, '.');"
        "from streamlit.testing.v1 import AppTest;"
        "app = AppTest.from_file('app.py', default_timeout=60).run();"
        "assert app.success, app.error;"
        "print([m for m in ('torch', 'triton', 'plotly.express', 'huggingface_hub')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith("[]")


def test_a_context_beyond_the_stated_positions_is_no_plain_fit() -> None:
    """qwen3-8b states 40,960 positions and its bytes fit; within them nothing is added."""
    app = page(model="qwen3-8b", context="131072", users="1")
    assert not app.success
    assert "states 40,960 positions, and engines refuse longer" in app.warning[0].value
    assert page(model="qwen3-8b", context="40960", users="1").success


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("abc", "'abc' is no number of tokens: write 32768 or 32k"),
        ("1e9", "'1e9' is no number of tokens"),
        ("", "'' is no number of tokens"),
        ("0", "context must be at least 1, not 0"),
        ("-5", "context must be at least 1, not -5"),
        ("999m", "context must be at most 134,217,728"),
    ],
)
def test_what_is_no_context_is_refused_and_stays(typed: str, said: str) -> None:
    app = page()
    app.text_input(key="context").set_value(typed).run()
    no_trace(app)
    assert said in app.error[0].value.replace("\\", "")
    assert not app.success
    assert app.text_input(key="context").value == typed
    app.text_input(key="context").set_value("32,768").run()
    assert app.success[0].value == f"**{verdict(expected())}**"


def test_a_link_may_say_32k_too() -> None:
    assert page(context="32k").success[0].value == f"**{verdict(expected())}**"
