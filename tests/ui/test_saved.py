"""Widget values, inputs and saved plans say the same in every direction."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.deployment import Deployment
from planner.engines.registry import ENGINES, options_of
from planner.errors import SizewellError
from planner.export import as_data
from planner.hardware import custom_gpu
from planner.plan import Plan, make_plan
from planner.units import GIB
from planner.workload import Workload
from presets.gpus import load_gpu
from tests.ui.test_model_files import CONFIG_FILE, GGUF_FILE, INDEX_FILE, Opened
from ui.model_files import configuration_of
from ui.model_source import from_preset, from_text
from ui.options import kv_options, model_names, weight_options
from ui.report_html import report_data
from ui.saved import (
    DEFAULTS,
    deployment_of,
    gpu_of,
    lost,
    values_of,
    values_of_saved,
    workload_of,
)
from validate.calibration import calibrated_gpu
from validate.record import shipped

SMALL = st.integers(1, 6)
CONFIG = {
    "model_type": "llama",
    "hidden_size": 512,
    "intermediate_size": 1024,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
    "max_position_embeddings": 4096,
}


@given(
    SMALL, SMALL, SMALL, SMALL, st.booleans(), st.booleans(),
    st.sampled_from(weight_options()), st.sampled_from(kv_options()),
    st.integers(64, 2**27), st.integers(1, 2**20), st.integers(0, 64), st.integers(0, 64),
)  # fmt: skip
def test_inputs_survive_the_widgets(
    tp: int, pp: int, dp: int, cp: int, ep: bool, eager: bool,
    weights: str, kv: str, context: int, users: int, prefix: int, prompt: int,
) -> None:  # fmt: skip
    deployment = Deployment(
        tensor_parallel_size=tp,
        pipeline_parallel_size=pp,
        data_parallel_size=dp,
        context_parallel_size=cp,
        enable_expert_parallel=ep,
        enforce_eager=eager,
        weights_dtype=weights,
        kv_cache_dtype=kv,
    )
    workload = Workload(
        context=context,
        concurrency=users,
        shared_prefix_tokens=prefix,
        prompt_tokens=prompt or None,
    )
    values = {**DEFAULTS, **values_of(deployment, workload)}
    assert deployment_of(values) == deployment
    assert workload_of(values) == workload


def saved(plan: Plan, config: dict[str, Any] | None) -> str:
    return json.dumps(as_data(plan, config))


def test_a_preset_plan_opens_again() -> None:
    choice = from_preset("deepseek-v3")
    deployment = Deployment(tensor_parallel_size=8, kv_cache_dtype="fp8", weights_dtype="awq")
    workload = Workload(context=65536, concurrency=7, beam_width=2, prompt_tokens=100)
    plan = make_plan(choice.model, load_gpu("h200-sxm-141gb"), deployment, workload)
    values = {**DEFAULTS, **values_of_saved(saved(plan, choice.config))}
    assert (values["from"], values["model"]) == ("Preset", "deepseek-v3")
    assert values["weights"] == "int4"
    again = make_plan(
        from_preset(values["model"]).model,
        gpu_of(values),
        deployment_of(values),
        workload_of(values),
    )
    assert again.total_bytes_per_gpu == plan.total_bytes_per_gpu
    assert again.gpu == plan.gpu


def test_a_pasted_plan_on_a_card_of_ones_own_opens_again() -> None:
    choice = from_text(json.dumps(CONFIG))
    plan = make_plan(choice.model, custom_gpu(11 * GIB), Deployment(), Workload(context=4096))
    values = {**DEFAULTS, **values_of_saved(saved(plan, choice.config))}
    assert values["from"] == "config.json"
    assert json.loads(values["config"]) == CONFIG
    again = make_plan(
        from_text(values["config"]).model,
        gpu_of(values),
        deployment_of(values),
        workload_of(values),
    )
    assert again.total_bytes_per_gpu == plan.total_bytes_per_gpu
    assert again.gpu.memory_bytes == 11 * GIB


@pytest.mark.parametrize("files", [[GGUF_FILE], [CONFIG_FILE, INDEX_FILE]])
def test_a_plan_with_weight_files_opens_with_them(files: list[Opened]) -> None:
    choice = from_text(configuration_of(files, ""), "model.gguf")
    plan = make_plan(choice.model, load_gpu("l40s"), Deployment(), Workload(context=4096))
    found = values_of_saved(json.dumps(as_data(plan, choice.config)))
    again = from_text(found["config"], found["model_name"]).model
    assert again == choice.model
    assert again.files is not None


def test_a_calibrated_plan_opens_calibrated_where_its_record_is() -> None:
    choice = from_preset("llama-3.1-8b")
    (record,) = shipped()
    gpu = calibrated_gpu(load_gpu("h200-sxm-141gb"), record)
    plan = make_plan(choice.model, gpu, Deployment(), Workload())
    text = saved(plan, choice.config)
    values = {**DEFAULTS, **values_of_saved(text)}
    assert values["calibrated"]
    assert values["memory"] is None
    assert lost(text, values) is None
    again = make_plan(choice.model, gpu_of(values), deployment_of(values), workload_of(values))
    assert again.total_bytes_per_gpu == plan.total_bytes_per_gpu
    older = text.replace(f'"date": "{record.date}"', '"date": "2020-01-01"')
    values = {**DEFAULTS, **values_of_saved(older)}
    assert not values["calibrated"]
    assert "its calibration of 2020-01-01 was left out" in str(lost(older, values))


def test_bytes_that_the_page_s_mib_cannot_hold_are_named() -> None:
    """24 GB are 22,888 MiB and 192,512 bytes."""
    choice = from_preset("llama-3.1-8b")
    plan = make_plan(choice.model, custom_gpu(24_000_000_000), Deployment(), Workload())
    text = saved(plan, choice.config)
    said = lost(text, values_of_saved(text))
    assert said == "its GPU memory was cut to whole MiB, 22,888 of them"


def test_an_engine_that_does_not_open_again_is_named() -> None:
    choice, work = from_preset("llama-3.1-8b"), Workload()
    gpu = load_gpu("h100-sxm5-80gb")
    plan = make_plan(choice.model, gpu, Deployment(), work)
    engine = ENGINES["vllm"].figures(
        choice.model, gpu, Deployment(), options_of("vllm", {"version": "0.19.1"}), work,
        config=choice.config,
    )  # fmt: skip
    text = json.dumps(report_data(plan, choice.config, engine))
    said = lost(text, values_of_saved(text))
    assert said == "its engine, vLLM 0.19.1, was left out: choose it on the Engine page"
    assert lost(saved(plan, choice.config), values_of_saved(saved(plan, choice.config))) is None


def test_a_preset_with_changed_fields_is_no_preset_any_more() -> None:
    choice = from_preset("llama-3.1-8b")
    plan = make_plan(choice.model, load_gpu("h100-sxm5-80gb"), Deployment(), Workload())
    values = values_of_saved(saved(plan, choice.config | {"num_hidden_layers": 16}))
    assert values["from"] == "config.json"


BROKEN = (
    ("", "not valid JSON"),
    ("[1, 2]", "no JSON object"),
    ("{}", "schema_version is missing"),
    ('{"schema_version": 1, "cases": []}', "open it on the Validate page"),
    ('{"schema_version": 1, "kind": "training"}', "the Train page's link"),
    ('{"schema_version": 99}', "schema_version"),
    ('{"schema_version": 1}', "deployment"),
    ('{"model_type": "llama"}', "Model from"),
    ('{"schema_version": 1, "deployment": {"weights_dtype": "x"}, "workload": {}}', "weights"),
    ('{"schema_version": 1, "deployment": {"block_size": -1}, "workload": {}}', "block_size"),
    ('{"schema_version": 1, "deployment": {"rm": 1}, "workload": {}}', "rm"),
    ('{"schema_version": 1, "deployment": {}, "workload": {}}', "model"),
    ('{"schema_version": 1, "deployment": {}, "workload": {}, "model": {"source": "x"}}', "config"),
)


@pytest.mark.parametrize(("text", "word"), BROKEN)
def test_a_broken_plan_is_refused_by_name(text: str, word: str) -> None:
    with pytest.raises(SizewellError, match=word):
        values_of_saved(text)


def test_every_preset_is_named_once_and_found() -> None:
    names = model_names()
    assert len(names) >= 95
    assert "llama-3.1-8b" in names
    assert names["llama-3.1-8b"].hub_id == "meta-llama/Llama-3.1-8B"
