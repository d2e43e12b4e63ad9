"""The Engine page without a browser: the engine's figure, its log lines, files, a pasted log."""

import json
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
from presets.models import load_model_config
from ui.engine_bar import budget_table, engine_bar
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


def test_only_what_an_engine_prints_is_said_to_be_printed() -> None:
    assert "as the engine prints it" in text(page())
    said = text(page(engine="transformers", users="4"))
    assert "as the engine prints it" not in said
    assert "has room to cache" in said
    assert "16.00 GiB" in said  # 4 x 32,768 x 128 KiB, fewer tokens than there is room for
    assert "Tokens in it" not in said


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
    app.text_input("vllm_max_model_len").set_value("1k").run()
    assert not app.exception
    assert "1,024 tokens" in text(app)


def test_a_refusal_is_one_sentence_and_keeps_the_inputs() -> None:
    app = page(model="llama-3.3-70b-instruct")
    assert not app.exception
    assert "would refuse" in app.error[0].value
    assert app.selectbox("engine").value == "vllm"
    app = page(engine="llama.cpp", weights="fp8")
    assert "no GGUF file holds it" in app.error[0].value


def test_a_link_has_version_and_flags() -> None:
    link = {"version_vllm": "0.19.1", "vllm_max_model_len": "40000", "vllm_max_num_seqs": "64"}
    script = "import runpy\nfrom ui import inputs\ninputs.draw()\nrunpy.run_path({!r})"
    app = AppTest.from_string(script.format(str(ROOT / "ui/pages/engine.py")), default_timeout=60)
    for key, value in link.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    found = figures(version="0.19.1", max_model_len=40000, max_num_seqs=64)
    assert f"vLLM 0.19.1 caches {found.kv_cache_tokens:,} tokens" in app.success[0].value
    assert "of 40,000 tokens" in app.success[0].value


def test_what_no_user_fits_in_is_an_error() -> None:
    app = page(engine="sglang", model="qwen3-32b", users="12")
    said = app.error[0].value
    assert "room for 0 users at 32,768 tokens" in said
    assert "a request that long never runs" in said
    assert "wait" not in said


def test_a_refusal_is_said_once() -> None:
    app = page(model="llama-3.1-70b", gpus="2")
    assert "Based on the available memory" in app.error[0].value
    captions = [caption.value for caption in app.caption]
    assert "No deployment files: it would not start." in captions
    assert not [caption for caption in captions if "Based on the available memory" in caption]


def test_files_are_offered() -> None:
    app = page()
    picker = app.selectbox("deploy_file")
    assert "compose.yaml" in picker.options[0]
    assert len(picker.options) == 5
    yaml_text = app.code[-1].value
    assert "vllm/vllm-openai:v0.33.0" in yaml_text
    assert "meta-llama" in yaml_text


def test_nodes_are_asked_for_where_there_is_more_than_one_gpu() -> None:
    asked = [{box.key for box in page(gpus=gpus).number_input} for gpus in ("1", "2")]
    assert [("gpus_per_node" in keys) for keys in asked] == [False, True]


def test_a_log_is_laid_beside_the_plan_and_calibrates_it() -> None:
    app = page()
    app.text_area("engine_log").set_value(
        "Model loading took 15.99 GiB memory\nAvailable KV cache memory: 55.00 GiB"
    ).run()
    assert not app.exception
    said = text(app)
    assert "Furthest off: Weights, of which the log has 1.00 GiB more" in said
    assert "55.00 GiB" in said
    app.button("keep_log").click().run()
    assert not app.exception
    assert "With the log's differences" in app.info[0].value
    assert "55.00 GiB" in app.info[0].value
    app.button("forget_log").click().run()
    assert not app.info


def test_a_log_that_died_says_what_to_change() -> None:
    app = page()
    app.text_area("engine_log").set_value(
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total "
        "capacity of 79.19 GiB of which 1.00 GiB is free."
    ).run()
    assert not app.exception
    assert not app.error
    said = app.info[0].value
    assert said.startswith("2.00 GiB were asked for where 1.00 GiB of 79.19 GiB were free. It fail")


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


def test_a_refusal_leaves_what_it_is_short_of() -> None:
    """vLLM's own line before its refusal says the same negative size."""
    choice, gpu = from_preset("qwen3-next-80b-a3b"), load_gpu(H100)
    deployment, work = Deployment(tensor_parallel_size=2), Workload(context=32768, concurrency=12)
    plan = make_plan(choice.model, gpu, deployment, work)
    refused = ENGINES["vllm"].figures(
        choice.model, gpu, deployment, options_of("vllm", {}), work, config=choice.config
    )
    found = gap(plan, refused)
    assert found.ideal_bytes - sum(size for _, size in found.reasons) == found.engine_bytes
    printed = f"Available KV cache memory: {found.engine_bytes / 2**30:.2f} GiB"
    assert printed in refused.log_lines
    assert found.engine_bytes < 0
    said = text(page(model="qwen3-next-80b-a3b", gpus="2"))
    assert "given to nothing" not in said
    assert f"{found.engine_bytes / 2**30:.2f} GiB" in said


def test_a_refused_batch_is_in_the_table() -> None:
    refused = figures("transformers")
    assert refused.refused
    assert refused.kv_cache.bytes == 12 * 32768 * 131072
    assert "48.00 GiB" in budget_table(refused)


def test_graphs_in_the_budget_have_their_row_and_their_part_of_the_bar() -> None:
    found = figures()
    assert found.components["cuda_graphs"].low_bytes > 0
    assert "CUDA graphs" in budget_table(found)
    assert "CUDA graphs" in engine_bar(found, load_gpu(H100))


def test_users_are_of_the_length_that_the_engine_takes() -> None:
    said = text(page(model="llama-3.1-8b", context="262144", users="1"))
    assert "<dd>3<small>of 131,072 tokens, its limit</small>" in said
    assert "<dd>1<small>of 262,144 tokens, all memory, no reserve</small>" in said
    assert "<small>at your context</small>" in text(page())


def test_users_by_bytes_alone_say_their_passes_where_the_engine_s_differ() -> None:
    """vLLM takes 8,192 tokens a pass on an H100 and 2,048 on an L4; the Plan page 8,192."""
    apart = "no reserve, passes of 8,192 tokens</small>"
    model = "llama-3.2-1b"
    assert apart in text(page(model=model, gpu="l4"))
    assert apart not in text(page(model=model, gpu="h100-sxm5-80gb"))


def test_positions_are_stretched_where_the_context_asks_for_it() -> None:
    app = page(model="qwen3-8b", context="131072", users="1")
    assert any("--hf-overrides" in block.value for block in app.code)
    assert "<small>at your context</small>" in text(app)


def test_blocks_of_states_have_no_size_in_tokens() -> None:
    said = text(page(model="mamba-2.8b", context="2048"))
    assert "5,670.00 sequences of 2,048 tokens" in said
    assert "<small>5,670 blocks</small>" in said
    assert "blocks x 0" not in said


HEAD = """{"architectures": ["LlamaForCausalLMEagle3"], "model_type": "llama", "hidden_size": 4096,
"intermediate_size": 14336, "num_attention_heads": 32, "num_key_value_heads": 8,
"num_hidden_layers": 1, "vocab_size": 128256, "draft_vocab_size": 32000,
"max_position_embeddings": 2048, "tie_word_embeddings": false, "torch_dtype": "bfloat16"}"""


def test_a_draft_model_is_chosen_on_the_page() -> None:
    app = page()
    plain = figures()
    app.selectbox("spec").set_value("Draft model").run()
    assert not app.exception
    assert "Choose the draft model" in app.info[0].value
    app.selectbox("draft").set_value("llama-3.2-1b").run()
    assert not app.exception
    found = ENGINES["vllm"].figures(
        from_preset("llama-3.1-8b").model, load_gpu(H100), Deployment(),
        options_of("vllm", {"version": "0.33.0", "speculative_config": {
            "method": "draft_model", "num_speculative_tokens": 3,
            "model": "meta-llama/Llama-3.2-1B"}}),
        Workload(context=32768, concurrency=12), config=from_preset("llama-3.1-8b").config,
        draft=from_preset("llama-3.2-1b").model,
    )  # fmt: skip
    assert found.kv_cache_tokens < plain.kv_cache_tokens
    said = text(app)
    assert f"{found.kv_cache_tokens:,} tokens" in said
    assert "Draft model" in said
    assert format_bytes(found.bytes_of("draft_weights")) in said
    command = next(c.value for c in app.code if c.value.startswith("vllm serve"))
    spoken = '{"method":"draft_model","num_speculative_tokens":3,"model":"meta-llama/Llama-3.2-1B"}'
    assert spoken in command
    assert "--speculative-config" in app.code[-1].value


def test_a_head_is_pasted_and_needs_no_embedding() -> None:
    app = page()
    app.selectbox("spec").set_value("EAGLE3").run()
    assert app.selectbox("draft_head").value == "yuhuili/EAGLE3-LLaMA3.1-Instruct-8B"
    assert "810.78 MiB" in text(app)
    app.segmented_control("draft_from").set_value("config.json").run()
    assert "Open or paste the config.json" in app.info[0].value
    app.text_input("draft_name").set_value("yuhuili/EAGLE3-LLaMA3.1-Instruct-8B").run()
    app.text_area("draft_config").set_value(HEAD).run()
    assert not app.exception
    assert "810.78 MiB" in text(app)
    assert "EAGLE3-LLaMA3.1-Instruct-8B" in next(
        c.value for c in app.code if c.value.startswith("vllm serve")
    )
    app.text_area("draft_config").set_value("{]").run()
    assert "the draft's configuration: this is not valid JSON" in app.error[0].value
    assert app.selectbox("spec").value == "EAGLE3"


def test_a_pasted_model_has_a_name_in_the_command() -> None:
    app = page(**{"from": "config.json"})
    app.text_area("config").set_value(json.dumps(load_model_config("llama-3.1-8b"))).run()
    assert "A link cannot hold this configuration" in text(app)
    assert "vllm serve /path/to/model" in text(app)
    assert "# Replace /path/to/model: no name was given for it." in text(app)
    app.text_input("model_name").set_value("/data/mine").run()
    assert not app.exception
    said = text(app)
    assert "vllm serve /data/mine" in said
    assert '"/data/mine:/data/mine:ro"' in said
    assert "/path/to/model" not in said


def test_a_draft_can_be_uploaded() -> None:
    app = page()
    app.selectbox("spec").set_value("EAGLE3").run()
    app.segmented_control("draft_from").set_value("config.json").run()
    app.file_uploader(key="draft_file").upload(
        "config.json", HEAD.encode(), "application/json"
    ).run()
    assert not app.exception
    assert "810.78 MiB" in text(app)


def test_a_shorter_name_is_its_repository_in_the_command() -> None:
    app = page(model="llama-3.3-70b", gpus="4")
    assert "vllm serve meta-llama/Llama-3.3-70B-Instruct " in text(app)


def test_n_grams_need_no_draft_and_mtp_is_offered_with_its_layers() -> None:
    app = page()
    app.selectbox("spec").set_value("n-gram").run()
    assert not app.exception
    assert '{"method":"ngram","num_speculative_tokens":3}' in text(app)
    assert "MTP" not in app.selectbox("spec").options
    app = page(model="qwen3.5-27b", context="8192")
    app.selectbox("spec").set_value("MTP").run()
    assert not app.exception
    assert '{"method":"mtp","num_speculative_tokens":3}' in text(app)
    app.selectbox(key="model").set_value("llama-3.1-8b").run()
    assert not app.exception
    assert app.selectbox("spec").value == "Off"


def test_sglang_drafts_by_its_own_names() -> None:
    app = page(engine="sglang")
    assert "DFlash" not in str(app.selectbox("spec").options)
    app.selectbox("spec").set_value("Draft model").run()
    app.selectbox("draft").set_value("llama-3.2-1b").run()
    assert not app.exception
    assert "--speculative-algorithm STANDALONE" in text(app)
    app.selectbox("engine").set_value("llama.cpp").run()
    assert not app.exception
    assert "speculative" not in text(app).lower()


def test_the_plans_report_has_the_engine_chosen() -> None:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    assert not any("Engine page" in c.value for c in app.caption)
    app.switch_page("ui/pages/engine.py").run()
    app.selectbox("engine").set_value("llama.cpp").run()
    app.switch_page("ui/pages/plan.py").run()
    assert not app.exception
    assert any("With llama.cpp 2026, as chosen" in c.value for c in app.caption)
    app.selectbox("weights").set_value("fp8").run()
    assert not app.exception
    assert any("Without the engine chosen" in c.value for c in app.caption)


def test_a_drafter_has_its_gain_by_users() -> None:
    app = page()
    assert "Drafting, in time" not in text(app)
    app.selectbox("spec").set_value("n-gram").run()
    assert not app.exception
    assert "is an assumption" in text(app)
    app.number_input("acceptance").set_value(0.5).run()
    said = text(app)
    assert "3 tokens a step by n-grams of the prompt, acceptance 0.5: TPOT" in said
    assert "yields 1.88 tokens" in said
    assert "Times as fast" in said
    assert "is an assumption" not in said
