"""Draft models and heads: the tensors that engines hold for them, and what they refuse.

Sizes of published checkpoints: EAGLE3-LLaMA3.1-Instruct-8B's file has 850 MB, and
EAGLE-LLaMA3-Instruct-8B's 1.55 GB, of which 1.05 are a copy of the target's embedding (vllm#9565).
"""

import json
from pathlib import Path
from typing import Any

import pytest

from cli import main
from planner.deployment import Deployment
from planner.engines.answer import opening
from planner.engines.drafter import drafter
from planner.engines.engine import EngineFigures
from planner.engines.gap import gap
from planner.engines.sglang.figures import sglang_figures
from planner.engines.sglang.options import SglangOptions
from planner.engines.vllm.figures import vllm_figures
from planner.engines.vllm.options import SpeculativeConfig, VllmOptions
from planner.errors import ConfigRefused, PlanRefused
from planner.hf_config import parse
from planner.model import Model
from planner.plan import make_plan
from planner.units import GIB, MIB
from planner.workload import Workload
from presets.gpus import load_gpu
from presets.models import load_model_config
from tests.planner.models import LLAMA_8B, model

H100 = load_gpu("h100-sxm5-80gb")
HEAD = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
    "num_attention_heads": 32, "num_key_value_heads": 8, "num_hidden_layers": 1,
    "vocab_size": 128256, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
    "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
}  # fmt: skip
EAGLE3 = {**HEAD, "architectures": ["LlamaForCausalLMEagle3"], "draft_vocab_size": 32000}
LAYER = 2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 4096 * 14336
EMBEDDING = 128256 * 4096


def elements(found: Model) -> int:
    """Of all tensors but the embedding."""
    inside = sum(
        weight.parameters * group.count
        for group in found.groups
        for weight in group.weights(found.hidden_size)
    )
    return inside + sum(weight.parameters for weight in found.head + found.extras)


def test_an_eagle_head_is_a_layer_and_a_projection() -> None:
    found = drafter({**HEAD, "bias": True}, "head", "eagle")
    assert elements(found) == LAYER + 4096 + 4096 * 8192
    assert (elements(found) + EMBEDDING) * 2 / 1e9 == pytest.approx(1.55, abs=0.01)


def test_an_eagle3_head_has_its_own_vocabulary() -> None:
    found = drafter(EAGLE3, "head", "eagle3")
    wider = 4096 * 4096 + 2 * 1024 * 4096
    projection, head, mapped = 3 * 4096 * 4096, 32000 * 4096, 32000 * 4
    assert elements(found) == LAYER + wider + projection + head + mapped + 4 * 4096
    assert elements(found) * 2 / 1e6 == pytest.approx(850, abs=1)


def test_both_published_forms_are_the_same_head() -> None:
    inner = {k: v for k, v in HEAD.items() if k != "draft_vocab_size"}
    wrapped = {
        "architectures": ["Eagle3Speculator"], "speculators_model_type": "eagle3",
        "draft_vocab_size": 32000, "norm_before_residual": False,
        "transformer_layer_config": inner, "speculators_config": {"algorithm": "eagle3"},
    }  # fmt: skip
    assert elements(drafter(wrapped, "h", "eagle3")) == elements(drafter(EAGLE3, "h", "eagle3"))


def test_a_dflash_head_reads_the_layers_it_names() -> None:
    config = {
        **HEAD, "model_type": "qwen3", "head_dim": 128, "num_hidden_layers": 5, "block_size": 16,
        "dflash_config": {"target_layer_ids": [1, 9, 17], "mask_token_id": 0},
    }  # fmt: skip
    found = drafter(config, "head", "dflash")
    layer = LAYER + 2 * 4096 + 2 * 128
    assert elements(found) == 5 * layer + 3 * 4096 * 4096 + 3 * 4096
    assert found.head == ()


def test_heads_of_other_shapes_are_refused() -> None:
    with pytest.raises(ConfigRefused, match="eagle heads with layers of deepseek_v3"):
        drafter(load_model_config("deepseek-v3"), "head", "eagle")


@pytest.mark.parametrize(
    ("method", "field", "value"),
    [
        ("eagle", "target_hidden_size", {"text": 4096}),
        ("eagle3", "draft_vocab_size", -1),
        ("eagle3", "num_aux_hidden_states", 1.5),
        ("eagle3", "eagle_config", 5),
        ("eagle3", "fc_norm", "yes"),
        ("dflash", "dflash_config", [1, 2]),
    ],
)
def test_fields_of_a_head_that_mean_nothing_are_named(
    method: str, field: str, value: object
) -> None:
    with pytest.raises(ConfigRefused, match=f"^{field}: "):
        drafter({**EAGLE3, field: value}, "head", method)


def planned(method: str, draft: Model, version: str = "0.33.0", **deployment: Any) -> EngineFigures:
    options = VllmOptions(
        version=version, max_model_len=8192, max_num_seqs=64,
        speculative_config=SpeculativeConfig(method=method, model="d", num_speculative_tokens=3),
    )  # fmt: skip
    target = model(LLAMA_8B)
    return vllm_figures(target, H100, Deployment(**deployment), options, draft=draft)


def test_vllm_loads_one_embedding_for_both() -> None:
    head = drafter(EAGLE3, "head", "eagle3")
    found = planned("eagle3", head)
    weights = found.components["draft_weights"]
    assert weights.bytes / 1e6 == pytest.approx(850, rel=0.01)
    assert weights.high_bytes - weights.bytes == pytest.approx(2 * EMBEDDING, rel=0.01)
    assert weights.low_bytes == weights.bytes
    plan = make_plan(model(LLAMA_8B), H100, Deployment(), Workload(context=4096))
    assert dict(gap(plan, found).reasons)["Draft model"] == weights.bytes
    block = 16 * 33 * 2 * 8 * 128 * 2
    assert found.num_blocks == found.kv_cache.bytes // block
    stages = planned("eagle3", head, pipeline_parallel_size=2)
    assert stages.bytes_of("draft_weights") == weights.high_bytes
    assert planned("eagle3", head, version="0.8.5").bytes_of("draft_weights") == weights.high_bytes


def test_ranks_share_a_head_but_not_its_projection() -> None:
    head = drafter(EAGLE3, "head", "eagle3")
    one = planned("eagle3", head).bytes_of("draft_weights")
    four = planned("eagle3", head, tensor_parallel_size=4).bytes_of("draft_weights")
    whole = 2 * (3 * 4096 * 4096 + 32000 * 4)
    assert four - whole == pytest.approx((one - whole) / 4, rel=0.02)


def test_drafts_for_another_model_are_refused() -> None:
    other = drafter({**HEAD, "vocab_size": 151936}, "draft", "draft_model")
    with pytest.raises(PlanRefused, match=r"151,936 tokens and the model's 128,256"):
        planned("draft_model", other)
    small = drafter({**EAGLE3, "hidden_size": 2560, "head_dim": 128}, "head", "eagle3")
    with pytest.raises(PlanRefused, match="drafts for another"):
        planned("eagle3", small)
    same = drafter(HEAD, "draft", "draft_model")
    with pytest.raises(PlanRefused, match=r"0\.11\.0 takes no draft model"):
        planned("draft_model", same, version="0.11.0")
    assert planned("draft_model", same, version="0.19.1").refused is None


def test_a_name_says_how_it_drafts() -> None:
    """The examples of vLLM's own configuration module."""
    for name, method in (
        ("yuhuili/EAGLE-LLaMA3-Instruct-8B", "eagle"),
        ("yuhuili/EAGLE3-LLaMA3.1-Instruct-8B", "eagle3"),
        ("AngelSlim/Qwen3-8B_eagle3", "eagle3"),
        ("meta-llama/Llama-3.2-1B", "draft_model"),
    ):
        assert SpeculativeConfig(model=name, num_speculative_tokens=2).method == method  # type: ignore[call-arg]


def test_qwen3_next_drafts_with_a_layer_that_its_configuration_leaves_out() -> None:
    """Its checkpoint's `mtp.*`: one attention layer with experts, a projection and three norms."""
    config = load_model_config("qwen3-next-80b-a3b")
    target = parse(config, "m")

    def planned_with(**options: Any) -> EngineFigures:
        return vllm_figures(
            target, H100, Deployment(tensor_parallel_size=4),
            VllmOptions(max_model_len=8192, **options), config=config,
        )  # fmt: skip

    drafting = {"method": "qwen3_next_mtp", "num_speculative_tokens": 2}
    found = planned_with(speculative_config=drafting)
    experts = 512 * 3 * 512 * 2048 + 3 * 512 * 2048
    attention = 2048 * (2 * 16 * 256 + 2 * 2 * 256) + 16 * 256 * 2048
    layer = 2 * (experts + attention + 2 * 2048 * 2048)
    added = found.bytes_of("weights") - planned_with().bytes_of("weights")
    assert added * 4 == pytest.approx(layer, rel=0.01)
    assert "1 drafting layer caches 1,024 B" in " ".join(found.notes)
    options = SglangOptions(speculative_algorithm="NEXTN", speculative_num_draft_tokens=2)
    four = Deployment(tensor_parallel_size=4)
    drafts, plain = (
        sglang_figures(target, H100, four, o, config=config).bytes_of("weights")
        for o in (options, SglangOptions())
    )
    assert drafts - plain == added
    assert found.mtp_bytes == added
    plan = make_plan(target, H100, four, Workload(context=4096))
    reasons = dict(gap(plan, found).reasons)
    assert reasons["Multi-token-prediction layers, which draft"] == added
    without = dict(gap(plan, planned_with()).reasons)
    assert (
        reasons["Weights as the engine holds them"] == without["Weights as the engine holds them"]
    )
    assert ", without what drafts: " in opening(plan, found)
    assert "By bytes alone: " in opening(plan, planned_with())


def test_drafting_samples_a_row_a_request() -> None:
    """The profiling run's rows do not grow with drafts; up to 0.27 it rejects one a request."""
    draft = drafter(EAGLE3, "head", "eagle3")

    def activation(version: str, drafts: bool) -> int:
        options: dict[str, Any] = {}
        if drafts:
            options["speculative_config"] = SpeculativeConfig(
                method="eagle3", model="d", num_speculative_tokens=5
            )
        return vllm_figures(
            model(LLAMA_8B), H100, Deployment(), VllmOptions(version=version, **options),
            draft=draft if drafts else None,
        ).bytes_of("activation")  # fmt: skip

    assert activation("0.33.0", True) == activation("0.33.0", False)
    assert activation("0.19.1", True) - activation("0.19.1", False) == 1024 * 128256 * 10


def test_sglang_sets_the_targets_embedding_too() -> None:
    head = drafter(EAGLE3, "head", "eagle3")
    options = SglangOptions(speculative_algorithm="EAGLE3", speculative_draft_model_path="d")
    found = sglang_figures(model(LLAMA_8B), H100, Deployment(), options, draft=head)
    assert found.bytes_of("draft_weights") / 1e6 == pytest.approx(850, rel=0.01)


@pytest.mark.parametrize(
    ("algorithm", "words"),
    [(None, "no model drafts"), ("NGRAM", "no model drafts"), ("EAGLE3", "drafts for another")],
)
def test_sglang_ignores_no_draft(algorithm: Any, words: str) -> None:
    """A head of another model, and any head where nothing says that it drafts."""
    small = drafter({**EAGLE3, "hidden_size": 2560, "head_dim": 128}, "head", "eagle3")
    options = SglangOptions(speculative_algorithm=algorithm, speculative_draft_model_path="d")
    with pytest.raises(PlanRefused, match=f"speculative_draft_model_path: .*{words}"):
        sglang_figures(model(LLAMA_8B), H100, Deployment(), options, draft=small)


def test_lookups_are_in_order() -> None:
    with pytest.raises(PlanRefused, match="prompt_lookup_min 5 is above prompt_lookup_max 2"):
        SpeculativeConfig(
            method="ngram", num_speculative_tokens=3, prompt_lookup_min=5, prompt_lookup_max=2
        )


def test_the_command_line_reads_heads_and_names_drafts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(EAGLE3))
    given = ["plan", "--model", "llama-3.1-8b", "--gpu", H100.id, "--engine", "vllm", "--format"]
    spoken = {"method": "eagle3", "model": str(tmp_path), "num_speculative_tokens": 3}
    assert main([*given, "json", "--speculative-config", json.dumps(spoken)]) == 0
    engine = json.loads(capsys.readouterr().out)["engine"]
    assert engine["components"]["draft_weights"]["bytes"] / MIB == pytest.approx(810, abs=2)
    assert str(tmp_path) in engine["command"]
    spoken = {"model": "llama-3.2-1b", "num_speculative_tokens": 3}
    assert main([*given, "json", "--speculative-config", json.dumps(spoken)]) == 0
    engine = json.loads(capsys.readouterr().out)["engine"]
    assert engine["components"]["draft_weights"]["bytes"] / GIB == pytest.approx(2.32, rel=0.01)
    assert "meta-llama/Llama-3.2-1B" in engine["command"]


MEDUSA = {"model_type": "medusa", "hidden_size": 4096, "vocab_size": 32000, "medusa_num_heads": 5,
          "medusa_num_layers": 1, "torch_dtype": "float16"}  # fmt: skip


def test_medusa_has_a_head_for_each_token_of_a_step() -> None:
    """A linear layer and an output head each; as many as num_speculative_tokens asks for."""
    each = 4096 * 4096 + 32000 * 4096
    assert elements(drafter(MEDUSA, "heads", "medusa")) == 5 * each
    assert elements(drafter(MEDUSA, "heads", "medusa", 3)) == 3 * each
    shared = drafter({**MEDUSA, "original_lm_head": True}, "heads", "medusa", 3)
    assert elements(shared) == 3 * 4096 * 4096 + 32000 * 4096
    fewer = drafter({**MEDUSA, "truncated_vocab_size": 8000}, "heads", "medusa", 1)
    assert elements(fewer) == 4096 * 4096 + 8000 * 4096
    with pytest.raises(ConfigRefused, match="5 heads propose no 6 tokens"):
        drafter(MEDUSA, "heads", "medusa", 6)


def test_medusas_heads_take_memory_and_no_cache() -> None:
    target = model(LLAMA_8B)
    heads = drafter({**MEDUSA, "vocab_size": 128256}, "heads", "medusa", 3)
    alone = VllmOptions(version="0.32.0", max_model_len=8192, max_num_seqs=64)
    found = planned("medusa", heads, "0.32.0")
    without = vllm_figures(target, H100, Deployment(), alone)
    size = 2 * 3 * (4096 * 4096 + 128256 * 4096)
    assert found.components["draft_weights"].bytes == pytest.approx(size, rel=0.01)
    per_token = found.kv_cache.bytes / found.kv_cache_tokens
    assert per_token == pytest.approx(without.kv_cache.bytes / without.kv_cache_tokens, rel=1e-3)
    assert found.drafts
    other = drafter({**MEDUSA, "hidden_size": 2048}, "heads", "medusa", 3)
    with pytest.raises(PlanRefused, match="draft for another"):
        planned("medusa", other, "0.32.0")
    with pytest.raises(PlanRefused, match="takes no medusa"):
        planned("medusa", heads)
