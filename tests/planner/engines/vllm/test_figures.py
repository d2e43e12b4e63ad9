"""vLLM's budget, log lines, refusals and command against public start-up logs.

Records are quoted with the version and card of the log; GiB as printed, two decimals.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.deployment import Deployment
from planner.engines.engine import EngineFigures
from planner.engines.loaded_weights import allocated, loaded_weights
from planner.engines.remedies import with_remedies
from planner.engines.vision_tower import tower_of
from planner.engines.vllm.ends import ends_of
from planner.engines.vllm.figures import vllm_figures
from planner.engines.vllm.options import VllmOptions, default_batch
from planner.engines.vllm.overheads import capture_sizes, lora_slots
from planner.engines.vllm.versions import rules_of
from planner.errors import PlanRefused
from planner.formats.quantization import assign
from planner.hf_config import parse
from planner.units import GIB, MIB
from planner.workload import Workload
from presets.gpus import load_gpu
from presets.models import load_model_config

ROOT = Path(__file__).parents[4]
H100 = load_gpu("h100-sxm5-80gb").model_copy(update={"memory_bytes": int(79.19 * GIB)})
LLM_D = {"max_model_len": 8192, "max_num_seqs": 1024, "max_num_batched_tokens": 8192}


def figures(name: str, version: str = "0.19.0", **given: Any) -> EngineFigures:
    config = load_model_config(name)
    own = set(Deployment.model_fields) - set(VllmOptions.model_fields)
    parallel = {k: given.pop(k) for k in list(given) if k in own}
    workload, gpu = given.pop("workload", None), given.pop("gpu", H100)
    model = parse(config, name)
    options = VllmOptions(version=version, **given)
    return vllm_figures(model, gpu, Deployment(**parallel), options, workload, config=config)


@pytest.mark.parametrize(
    ("name", "tp", "weights", "activation", "non_torch", "kv", "tokens"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", 1, 14.99, 1.89, 0.25, 58.11, 476_016),
        ("meta-llama/Llama-3.1-8B-Instruct", 4, 3.77, 1.89, 2.13, 67.44, 2_209_792),
        ("Qwen/Qwen2.5-7B-Instruct", 1, 14.25, 2.21, 0.24, 58.53, 1_095_968),
        ("Qwen/Qwen2.5-7B-Instruct", 2, 7.12, 2.21, 2.06, 63.84, 2_390_592),
        ("Qwen/Qwen3-8B", 1, 15.27, 2.21, 0.25, 57.5, 418_688),
        ("google/gemma-3-4b-it", 1, 8.58, 3.89, 0.25, 62.51, 468_144),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", 2, 43.51, 1.21, 2.07, 28.44, 465_936),
        ("deepseek-ai/DeepSeek-V2-Lite", 1, 29.43, 1.93, 0.26, 43.61, 1_505_552),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", 4, 53.12, 3.19, 2.17, 16.75, 365_968),
    ],
)
def test_start_up_logs_of_0_19_on_h100(
    name: str,
    tp: int,
    weights: float,
    activation: float,
    non_torch: float,
    kv: float,
    tokens: int,
) -> None:
    """llm-d-planner's published runs at utilisation 0.95, none of its rows fitted by itself."""
    found = figures(name, tensor_parallel_size=tp, gpu_memory_utilization=0.95, **LLM_D)
    parts = {part: e.bytes / GIB for part, e in found.components.items()}
    assert parts["weights"] == pytest.approx(weights, rel=0.002)
    assert parts["activation"] == pytest.approx(activation, rel=0.06)
    assert parts["non_torch"] == pytest.approx(non_torch, rel=0.05)
    assert found.kv_cache.bytes / GIB == pytest.approx(kv, rel=0.005)
    assert found.kv_cache_tokens == pytest.approx(tokens, rel=0.005)
    for part in found.components.values():
        assert part.low_bytes <= part.bytes <= part.high_bytes
    assert found.refused is None


def test_the_last_stage_of_a_pipeline_has_the_sampler_and_binds() -> None:
    """Llama-3.1-8B, PP 2, 0.19.0: 66.54 GiB on the first stage, 65.63 on the last."""
    found = figures(
        "meta-llama/Llama-3.1-8B-Instruct",
        pipeline_parallel_size=2,
        gpu_memory_utilization=0.95,
        **LLM_D,
    )
    assert found.binding_stage == 1
    assert found.kv_cache.bytes / GIB == pytest.approx(65.63, rel=0.002)
    assert found.kv_cache_tokens == pytest.approx(1_075_312, rel=0.002)


def test_sorting_samplers_took_38_bytes_a_logit() -> None:
    """Qwen3-14B, 0.15.0 and 0.18.0, same flags: 5.64 and 2.23 GiB."""
    old, new = (
        figures("Qwen/Qwen3-14B", version, gpu_memory_utilization=0.95, **LLM_D)
        for version in ("0.15.0", "0.18.0")
    )
    assert old.bytes_of("activation") / GIB == pytest.approx(5.64, rel=0.01)
    assert new.bytes_of("activation") / GIB == pytest.approx(2.23, rel=0.01)


def test_the_sampler_is_named_where_a_picture_is_held_beside_it() -> None:
    config = load_model_config("google/gemma-3-27b-it")
    figures = vllm_figures(
        parse(config), load_gpu("h100-sxm5-80gb"), Deployment(),
        VllmOptions(version="0.33.0", max_num_seqs=1024), config=config,
    )  # fmt: skip
    peak = figures.components["activation"]
    logits = 1_024 * 262_208
    assert "sampling 1,024 rows of 262,208 logits at 14 bytes" in peak.source
    assert peak.bytes > logits * 14 > 0.89 * peak.bytes
    assert peak.bytes - peak.low_bytes >= logits * (14 - 10)


def test_a_model_that_leaves_nothing_is_refused() -> None:
    """Llama-3.3-70B in fp8 on one H100 at 0.9: 71.26 - 67.72 - 4.84 - 0.14 = -1.44 GiB."""
    found = figures(
        "meta-llama/Llama-3.3-70B-Instruct", "0.13.0",
        weights_dtype="fp8", max_model_len=16000, gpu_memory_utilization=0.9,
    )  # fmt: skip
    assert found.refused is not None
    assert found.refused.startswith("No available memory for the cache blocks.")
    assert found.kv_cache.bytes / GIB == pytest.approx(-1.44, abs=0.1)
    assert found.num_blocks == 0


def test_a_length_that_does_not_fit_is_refused() -> None:
    """Qwen3-32B on one H100, 32,000 tokens need 7.81 GiB of 4.45."""
    found = figures("Qwen/Qwen3-32B", "0.13.0", max_model_len=32000, gpu_memory_utilization=0.9)
    assert found.refused is not None
    assert "(7.81 GiB KV cache is needed" in found.refused


@pytest.mark.parametrize(
    ("tp", "utilization", "refused"),
    [(1, 0.95, True), (2, 0.95, True), (2, 0.90, False), (4, 0.95, False)],
)
def test_gpt_oss_runs_out_of_memory_in_sampler_warm_up(
    tp: int, utilization: float, refused: bool
) -> None:
    found = figures(
        "openai/gpt-oss-20b", tensor_parallel_size=tp, gpu_memory_utilization=utilization, **LLM_D
    )
    assert (found.refused is not None) is refused
    assert not refused or "warming up sampler" in str(found.refused)


@pytest.mark.parametrize(("cache_gib", "refused"), [(4, False), (57, False), (66, True)])
def test_a_cache_given_in_bytes_respects_no_budget(cache_gib: int, refused: bool) -> None:
    """gpt-oss-20b at 0.95 fails beside a budget of 75.23 GiB, which a cache of 4 GiB does not fill.
    One of 57 and the log's 13.67 GiB of weights fit 79.19, one of 66 does not with them alone."""
    found = figures(
        "openai/gpt-oss-20b", gpu_memory_utilization=0.95,
        kv_cache_memory_bytes=cache_gib * GIB, **LLM_D,
    )  # fmt: skip
    assert (found.refused is not None) is refused
    assert found.kv_cache.bytes == cache_gib * GIB


def test_a_cache_beyond_the_card_is_refused_with_one_that_fits() -> None:
    """vLLM 0.33.0 says that it "does not respect the gpu_memory_utilization config"."""

    def of(options: VllmOptions) -> EngineFigures:
        return figures("llama-3.1-8b", **options.model_dump(exclude_none=True))

    asked = VllmOptions(version="0.33.0", kv_cache_memory_bytes=200 * GIB, max_model_len=8192)
    found = with_remedies("vllm", asked, of)
    assert "asks for 200.00 GiB" in str(found.refused)
    (remedy,) = found.remedies
    flag, size = remedy.split()
    assert flag == "--kv-cache-memory-bytes"
    most = H100.memory_bytes - sum(part.bytes for part in found.components.values())
    assert most - GIB < int(size) < most


def test_a_budget_beyond_what_is_free_is_refused() -> None:
    found = figures("llama-3.1-8b", gpu_memory_utilization=1.0)
    assert str(found.refused).startswith("Free memory on device")


@pytest.mark.parametrize(
    ("mib", "held"),
    [(1, 1), (9.5, 9.5), (31.5, 32), (129.5, 130), (259, 260), (24.5, 24.5), (224, 224)],
)
def test_the_allocator_keeps_up_to_a_mebibyte(mib: float, held: float) -> None:
    """Qwen2.5-7B's projections: 28 layers x 2 MiB, and 1 MiB for embedding and head."""
    assert allocated(int(mib * MIB)) == int(held * MIB)


def test_weights_of_qwen2_5_7b_to_the_last_printed_digit() -> None:
    assert f"{figures('Qwen/Qwen2.5-7B-Instruct').bytes_of('weights') / GIB:.4f}" == "14.2487"


def test_siglip_has_its_published_size() -> None:
    """SigLIP-So400m: 27 layers of 1152 and 4304, 416 M without its pooling head."""
    tower = tower_of(load_model_config("google/gemma-3-4b-it"))
    assert tower is not None
    assert tower.parameters / 1e6 == pytest.approx(416 + 1152 * 2560 / 1e6, rel=0.02)
    assert tower_of(load_model_config("llama-3.1-8b")) is None


@pytest.mark.parametrize(
    ("version", "name", "sequences", "sizes"),
    [("0.11.0", "llama-3.1-8b", 1024, 67), ("0.20.2", "llama-3.1-8b", 1024, 51),
     ("0.20.2", "llama-3.1-8b", 128, 35), ("0.19.0", "openai/gpt-oss-20b", 1024, 83)],
)  # fmt: skip
def test_capture_sizes(version: str, name: str, sequences: int, sizes: int) -> None:
    model = parse(load_model_config(name), name)
    assert capture_sizes(rules_of(version), model, sequences) == sizes


@pytest.mark.parametrize("stage", [0, 1])
def test_some_classes_keep_both_ends_on_every_stage(stage: int) -> None:
    """Qwen3-30B at TP 4 and PP 2, 0.10.1: 7.3272 GiB on either stage; Llama-3.1-8B at PP 2 7.51."""
    deployment = Deployment(tensor_parallel_size=4, pipeline_parallel_size=2)
    model = parse({**load_model_config("qwen3-30b-a3b"), "max_position_embeddings": 262144})
    rules = rules_of("0.10.1")
    assert ends_of(model, stage, 2, rules) == (True, True)
    llama = parse(load_model_config("llama-3.1-8b"))
    assert ends_of(llama, stage, 2, rules) == (stage == 0, stage == 1)
    assert ends_of(parse(load_model_config("gemma-2-9b")), 1, 3, rules) == (True, False)
    loaded = loaded_weights(
        model, deployment, assign(model, "auto"), range(24 * stage, 24 * stage + 24),
        first=True, last=True,
    )  # fmt: skip
    assert loaded.total / GIB == pytest.approx(7.3272, abs=0.003)


def test_absorbed_latents_took_their_products_in_0_7() -> None:
    """DeepSeek-Coder-V2-Lite in fp16 at TP 8, 0.7.1: 3.97 GiB a rank; a copy of the
    up-projections alone would be 3.75."""
    config = {**load_model_config("deepseek-v2-lite"), "torch_dtype": "float16"}
    old, new = (
        vllm_figures(
            parse(config), load_gpu("a100-sxm4-40gb"), Deployment(tensor_parallel_size=8),
            VllmOptions(version=version, max_model_len=8192, max_num_seqs=2), config=config,
        ).bytes_of("weights") / GIB
        for version in ("0.7.1", "0.8.5")
    )  # fmt: skip
    assert old == pytest.approx(3.97, rel=0.004)
    assert new == pytest.approx(3.75, rel=0.004)


def test_expert_workspaces_outlive_their_layer_from_0_14() -> None:
    """2 B x 8,192 tokens x 8 experts of (2,048 + 2,048), and of (2,048 + 768) before."""
    old, new = (
        figures("qwen3-30b-a3b", version, max_num_seqs=1024, max_num_batched_tokens=8192)
        for version in ("0.13.0", "0.14.1")
    )
    later = new.bytes_of("activation") - old.bytes_of("activation")
    assert later == 2 * 8192 * 8 * (2048 + 2048)
    few = {"max_num_seqs": 1, "max_num_batched_tokens": 8192}
    old, new = (figures("qwen3-30b-a3b", version, **few) for version in ("0.13.0", "0.14.1"))
    later = new.bytes_of("activation") - old.bytes_of("activation")
    assert later == 2 * 8192 * 8 * (2048 - 768)


def test_the_second_runner_leaves_graphs_out_of_its_budget_until_0_29() -> None:
    """vllm#49224: its estimate was 0; both runners before 0.25 and both after 0.28 take one off."""
    inside = {
        version: "cuda_graphs" in figures("qwen2.5-7b", version).components
        for version in ("0.24.0", "0.25.1", "0.28.0", "0.29.0")
    }
    assert inside == {"0.24.0": True, "0.25.1": False, "0.28.0": False, "0.29.0": True}
    assert "cuda_graphs" in figures("qwen2.5-7b", "0.28.0").outside_budget


def test_graphs_outside_the_budget_of_the_second_runner_must_fit_beside_it() -> None:
    """Qwen2.5-7B at 0.99 of an 80 GB H100: 0.79 GiB are left beside the budget, and the context
    takes 0.51 and graphs of 28 layers 0.34; 0.24 and 0.29 have them inside."""
    refused = {
        version: figures("qwen2.5-7b", version, gpu_memory_utilization=0.99).refused
        for version in ("0.24.0", "0.25.1", "0.28.0", "0.29.0")
    }
    assert [version for version, why in refused.items() if why] == ["0.25.1", "0.28.0"]
    assert "when capturing CUDA graphs" in str(refused["0.28.0"])
    assert figures("qwen2.5-7b", "0.28.0").refused is None


@pytest.mark.parametrize(
    ("name", "tp", "gib"), [("qwen2.5-7b", 2, 0.71), ("llama-3.1-8b", 4, 0.67)]
)
def test_captured_graphs_shrink_with_tensor_parallelism(name: str, tp: int, gib: float) -> None:
    """As logged by 0.19.0 on H100s."""
    found = figures(name, tensor_parallel_size=tp, **LLM_D).outside_budget["cuda_graphs"]
    assert found.bytes / GIB == pytest.approx(gib, abs=0.05)


def test_profiles_of_the_second_runner_hold_the_embedding_only_while_they_compile() -> None:
    """Qwen3-14B on 24 to 32 GB cards, 0.28: 1.46 GiB on a first start (embedding 1.449)."""
    given = {"max_num_seqs": 256, "max_num_batched_tokens": 2048}
    first = figures("qwen3-14b", "0.28.0", **given).components["activation"]
    assert first.bytes / GIB == pytest.approx(1.46, rel=0.03)
    eager = figures("qwen3-14b", "0.28.0", enforce_eager=True, **given).components["activation"]
    assert first.low_bytes < eager.bytes < 0.4 * GIB


def test_adapters_of_a_rank_by_hand() -> None:
    """Inputs and outputs of a layer of Llama-3.1-8B: q and o 8,192 each, k and v 5,120 each, three
    of 18,432; both ends are 128,256 + 4,096. Rank 16 in 16 bits, two adapters at once.
    """
    model = parse(load_model_config("llama-3.1-8b"))
    layer, ends = 2 * 8192 + 2 * 5120 + 3 * 18432, 2 * (128256 + 4096)
    assert lora_slots(model, 16, 2, 16, 1) == 2 * 16 * 2 * (16 * layer + ends)
    # Four ranks: columns split the outputs, rows the inputs.
    layer, ends = 2 * 5120 + 2 * (4096 + 256) + 3 * (4096 + 3584), 2 * (128256 // 4 + 4096)
    assert lora_slots(model, 32, 2, 16, 4) == 2 * 16 * 2 * (32 * layer + ends)


def test_a_machine_that_shares_its_memory_takes_the_batch_of_small_cards() -> None:
    """All GB10 logs of 0.13 to 0.27: max_num_batched_tokens=2048, 256 sequences."""
    for version in ("0.13.0", "0.27.1", "0.33.0"):
        assert default_batch(load_gpu("gb10"), rules_of(version), 32768) == (2048, 256)


def test_adapters_are_reserved() -> None:
    """Qwen3-4B at rank 16 reserves 79 MiB a slot."""
    model = parse(load_model_config("Qwen/Qwen3-4B"), "qwen3-4b")
    assert lora_slots(model, 36, 1, 16, 1) / MIB == pytest.approx(79, rel=0.15)
    plain, with_slots = figures("Qwen/Qwen3-4B"), figures("Qwen/Qwen3-4B", max_loras=2)
    slots = with_slots.bytes_of("lora_slots")
    assert slots == lora_slots(model, 36, 2, 16, 1)
    assert plain.kv_cache.bytes - with_slots.kv_cache.bytes == slots


def test_defaults_follow_version_and_card() -> None:
    old, new = figures("llama-3.1-8b", "0.19.1"), figures("llama-3.1-8b", "0.20.2")
    assert old.settings["gpu_memory_utilization"] == 0.90
    assert new.settings["gpu_memory_utilization"] == 0.92
    assert old.settings["max_num_seqs"] == 1024
    assert old.settings["max_num_batched_tokens"] == 8192
    assert "cuda_graphs" in old.outside_budget
    assert "cuda_graphs" in new.components


def test_mtp_layers_bring_weights_and_cache() -> None:
    one = {"tensor_parallel_size": 8, "max_model_len": 8192, "weights_dtype": "int4"}
    plain = figures("deepseek-v3", "0.19.0", **one)
    drafting = figures(
        "deepseek-v3", "0.19.0", **one,
        speculative_config={"method": "deepseek_mtp", "num_speculative_tokens": 1},
    )  # fmt: skip
    assert drafting.bytes_of("weights") > plain.bytes_of("weights") + GIB // 2
    block = plain.block_size * 576 * 2
    assert plain.num_blocks > 0
    assert plain.kv_cache.bytes // plain.num_blocks == pytest.approx(61 * block, rel=0.001)
    assert drafting.kv_cache.bytes // drafting.num_blocks == pytest.approx(62 * block, rel=0.001)
    assert "holds room for" in " ".join(drafting.notes)


def test_drafting_needs_what_drafts() -> None:
    with pytest.raises(PlanRefused, match="no multi-token-prediction layers"):
        figures("llama-3.1-8b", speculative_config={"method": "mtp", "num_speculative_tokens": 1})
    with pytest.raises(PlanRefused, match="needs its 'model'"):
        figures("llama-3.1-8b", speculative_config={"method": "eagle", "num_speculative_tokens": 3})


def test_a_draft_model_shares_the_pool() -> None:
    config = load_model_config("llama-3.1-8b")
    draft = parse(load_model_config("llama-3.2-1b"), "draft")
    options = VllmOptions(
        version="0.19.0", max_model_len=8192,
        speculative_config={"model": "llama-3.2-1b", "num_speculative_tokens": 3},
    )  # fmt: skip
    found = vllm_figures(
        parse(config, "m"), H100, Deployment(), options, config=config, draft=draft
    )
    assert found.bytes_of("draft_weights") / GIB == pytest.approx(2.32, rel=0.02)
    block = 16 * (32 * 4096 + 16 * 2048)
    assert found.num_blocks == found.kv_cache.bytes // block


def test_beams_share_their_prompt() -> None:
    def requests(**workload: int) -> int:
        return figures("llama-3.1-8b", max_model_len=8192, workload=Workload(**workload)).requests

    alone = requests(context=4096)
    assert requests(context=4096, beam_width=4) == pytest.approx(alone / 4, abs=1)
    shared = requests(context=4096, beam_width=4, prompt_tokens=2048)
    assert shared == pytest.approx(alone / 2.5, abs=1)


def test_recurrent_states_follow_vllms_shapes() -> None:
    """Qwen3-Next, 0.24: aligned blocks of 544 tokens at TP 1 and 272 at TP 4, bf16 states."""
    found = [
        figures("qwen3-next-80b-a3b", "0.24.0", tensor_parallel_size=tp, weights_dtype="int4",
                max_model_len=8192).block_size
        for tp in (1, 4)
    ]  # fmt: skip
    assert found == [544, 272]


def test_the_command_has_what_was_asked_for() -> None:
    found = figures(
        "llama-3.1-8b", "0.20.2", tensor_parallel_size=2, kv_cache_dtype="fp8",
        max_model_len=32768, gpu_memory_utilization=0.85, enable_prefix_caching=False, max_loras=2,
        speculative_config={"method": "ngram", "num_speculative_tokens": 4},
    )  # fmt: skip
    assert found.command.split("'")[0] == (
        "vllm serve llama-3.1-8b --tensor-parallel-size 2 --kv-cache-dtype fp8 "
        "--gpu-memory-utilization 0.85 --max-model-len 32768 --no-enable-prefix-caching "
        "--enable-lora --max-loras 2 --max-lora-rank 16 --speculative-config "
    )
    assert json.loads(found.command.split("'")[1]) == {
        "method": "ngram", "num_speculative_tokens": 4,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "version", "said"),
    [("mtp", "0.10.2", "deepseek_mtp"), ("mtp", "0.11.0", "mtp"), ("ngram", "0.10.2", "ngram")],
)
def test_a_models_own_drafting_has_the_versions_name(method: str, version: str, said: str) -> None:
    """vLLM has one name for all families' from 0.11 (config/speculative)."""
    found = figures(
        "deepseek-v3", version, tensor_parallel_size=8, max_model_len=8192,
        speculative_config={"method": method, "num_speculative_tokens": 1},
    )  # fmt: skip
    assert json.loads(found.command.split("'")[1])["method"] == said


@settings(deadline=None)
@given(
    utilization=st.floats(0.5, 0.9),
    sequences=st.integers(1, 512),
    version=st.sampled_from(["0.8.5", "0.11.0", "0.19.1", "0.24.0", "0.33.0"]),
)
def test_more_of_the_gpu_is_more_cache_and_more_sequences_less(
    utilization: float, sequences: int, version: str
) -> None:
    def kv(share: float, most: int) -> int:
        found = figures(
            "llama-3.1-8b", version, max_model_len=4096, gpu_memory_utilization=share,
            max_num_seqs=most, max_num_batched_tokens=2048,
        )  # fmt: skip
        assert sum(e.bytes for e in found.components.values()) + found.kv_cache.bytes == (
            found.budget_bytes
        )
        return found.kv_cache.bytes

    assert kv(utilization, sequences) <= kv(utilization + 0.05, sequences)
    assert kv(utilization, sequences + 64) <= kv(utilization, sequences)


def test_eager_mode_keeps_no_graphs_and_a_fixed_pool_ignores_the_budget() -> None:
    eager = figures("llama-3.1-8b", "0.20.2", enforce_eager=True)
    assert eager.bytes_of("cuda_graphs") == 0
    fixed = figures("llama-3.1-8b", max_model_len=8192, kv_cache_memory_bytes=4 * GIB)
    assert fixed.num_blocks == 4 * GIB // (16 * 131072)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "planner", "plan", "--model", "llama-3.1-8b", "--gpu",
         "h100-sxm5-80gb", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_command_line_has_the_engine_in_its_json() -> None:
    done = run("--engine", "vllm", "--engine-version", "0.19.0", "--max-model-len", "8192",
               "--format", "json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    engine = data["engine"]
    assert engine["kv_cache_tokens"] == engine["num_blocks"] * engine["block_size"]
    assert engine["budget_bytes"] == sum(
        engine[part] for part in (
            "weights_bytes", "activation_bytes", "non_torch_bytes", "kv_cache_bytes")
    )  # fmt: skip
    assert data["deployment"]["max_num_batched_tokens"] == 8192


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--max-num-seqs", "4"), "add --engine vllm"),
        (("--engine", "vllm", "--engine-version", "1.2"), "outside 0.6 to 0.33"),
        (("--engine", "vllm", "--gpu-memory-utilization", "1.5"), "gpu_memory_utilization"),
        (("--engine", "vllm", "--speculative-config", "ngram"), "takes a JSON object"),
        (("--engine", "vllm", "--max-lora-rank", "8"), "without max_loras"),
    ],
)
def test_bad_engine_flags_get_one_sentence(arguments: tuple[str, ...], said: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_was_free_is_less_than_what_was_asked_for() -> None:
    """1,024 rows of 201,088 logits in fp32 are the 785.5 MiB that the log asked for."""
    found = figures("openai/gpt-oss-20b", gpu_memory_utilization=0.95, **LLM_D)
    asked, free = re.findall(r"([\d.]+) MiB", str(found.refused))
    assert asked == "785.50"
    assert 0 < float(free) < 785.5


def test_weights_in_cpu_memory() -> None:
    """vllm#6496: Meta-Llama-3-70B with --cpu-offload-gb 70, "weights took 61.2922 GB".

    43 layers of 1.5938 GiB are 68.53; the 44th passes 70 GiB with its last matrix (0.4375 GiB).
    """
    found = figures("meta-llama-3-70b", version="0.6.0", cpu_offload_gb=70.0, max_model_len=8192)
    assert round(found.bytes_of("weights") / GIB, 4) == 61.2922
    assert found.host_bytes / GIB == pytest.approx(43 * 1.59375 + 1.59375, abs=0.005)
    assert "--cpu-offload-gb 70" in found.command
    whole = figures("meta-llama-3-70b", cpu_offload_gb=999.0)
    ends = 2 * 128256 * 8192 * 2
    assert whole.bytes_of("weights") == pytest.approx(ends, abs=8 * MIB)
    halves = figures("meta-llama-3-70b", cpu_offload_gb=20.0, tensor_parallel_size=2)
    assert 40 <= halves.host_bytes / GIB < 42
    slow = [note for note in found.notes if "over PCIe" in note]
    assert "at least 1,177 ms at 64 GB/s" in slow[0]  # 70.126 GiB over 64e9 B/s


def test_versions_that_lost_the_offloading_are_refused() -> None:
    with pytest.raises(PlanRefused, match="may keep every weight on the GPU"):
        figures("llama-3.1-8b", version="0.27.1", cpu_offload_gb=4.0)
    assert figures("llama-3.1-8b", version="0.28.0", cpu_offload_gb=4.0).host_bytes > 4 * GIB
    # Each stage's rank has as much there, to the end of a layer of 0.41 GiB.
    stages = figures("llama-3.1-8b", version="0.28.0", cpu_offload_gb=4.0, pipeline_parallel_size=2)
    assert 2 * 4 < stages.host_bytes / GIB < 2 * 4.41


@pytest.mark.parametrize(
    ("name", "gpu", "version", "logged"),
    [
        ("gpt-oss-20b", "a100-sxm4-80gb", "0.19.0", 13.72),  # myoceane.fr, vLLM on an A100
        ("gpt-oss-20b", "h100-sxm5-80gb", "0.19.0", 13.64),  # llm-d, Triton's kernels
        ("gpt-oss-20b", "h100-sxm5-80gb", "0.11.0", 13.47),  # llm-d-benchmark
        # vllm#23278, on an H100 with Marlin's kernels
        ("gpt-oss-120b", "a100-sxm4-80gb", "0.10.1", 65.965),
    ],
)
def test_packed_experts_load_as_their_kernels_pad_them(
    name: str, gpu: str, version: str, logged: float
) -> None:
    found = figures(name, version, gpu=load_gpu(gpu)).components["weights"]
    assert found.bytes / GIB == pytest.approx(logged, abs=0.035)


def test_marlins_layout_is_in_the_range_where_triton_is_not_sure_to_be_installed() -> None:
    """vllm#23278: 65.9651 GiB on an H100 with 0.10.1. From 0.13 the wheel has Triton's kernels."""
    old, new = (figures("gpt-oss-120b", v).components["weights"] for v in ("0.10.1", "0.14.1"))
    assert old.low_bytes < 64.38 * GIB < 65.9651 * GIB < old.high_bytes
    assert new.low_bytes < 64.38 * GIB < new.high_bytes < 65.9651 * GIB


def test_a_pair_without_its_bridge_is_in_the_range() -> None:
    """Two RTX 3090 are joined by a bridge that is bought apart; two H100 on a board always are."""
    pair = {"tensor_parallel_size": 2}
    card = load_gpu("rtx-3090")
    bridged = figures("qwen3-8b", "0.24.0", gpu=card, **pair).components["non_torch"]
    board = figures("qwen3-8b", "0.24.0", **pair).components["non_torch"]
    assert bridged.bytes == board.bytes
    assert bridged.low_bytes < 0.3 * GIB < board.low_bytes


def test_pairs_without_links_spend_less_on_communication() -> None:
    """Two RTX PRO 6000 with 0.426 of 95.01 GiB, 0.27: 30.59 GiB of weights and 8.22 of cache."""
    card = load_gpu("rtx-pro-6000-blackwell-server")
    card = card.model_copy(update={"memory_bytes": int(95.01 * GIB)})
    found = figures(
        "qwen3-32b", "0.27.1", gpu=card, tensor_parallel_size=2, max_model_len=32768,
        gpu_memory_utilization=0.426,
    )  # fmt: skip
    assert found.components["weights"].bytes / GIB == pytest.approx(30.59, abs=0.005)
    assert found.kv_cache.bytes / GIB == pytest.approx(8.22, abs=0.1)


@pytest.mark.parametrize(
    ("model_type", "last", "left"),
    [
        ("deepseek", "0.11.0", "0.13.0"),  # models/deepseek.py, then deepseek_v2.py
        ("starcoder2", "0.24.0", "0.25.1"),  # the others: models/transformers
        ("olmo2", "0.25.1", "0.26.0"),
        ("olmo3", "0.28.0", "0.29.0"),
        ("gpt_neox", "0.31.0", "0.32.0"),
        ("phi", "0.31.0", "0.32.0"),
    ],
)
def test_some_model_types_leave_their_class(model_type: str, last: str, left: str) -> None:
    """model_executor/models/registry of both versions."""
    llama = parse(load_model_config("llama-3.1-8b"))
    model = llama.model_copy(update={"model_type": model_type})
    found = [ends_of(model, 1, 2, rules_of(version)) for version in (last, left)]
    assert found == [(True, True), (False, True)]
