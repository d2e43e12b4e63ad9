"""Model states against the ZeRO paper, DeepSpeed's estimators and Megatron-LM's report.

DeepSpeed's figures were printed by its own functions (release 0.18.2) for Llama-3.1-8B;
Megatron-LM's follow from theoretical_memory_usage.py with each case's arguments, by hand.
"""

from typing import Any

import pytest

from planner.errors import PlanRefused
from planner.hf_config import parse
from planner.model import Model
from planner.training.notes import notes
from planner.training.optimizers import OPTIMIZERS
from planner.training.plan import TrainingPlan, plan_training
from planner.training.published import megatron, published
from planner.training.recipe import Lora, Recipe
from planner.units import format_bytes
from presets.gpus import load_gpu
from presets.models import load_model_config
from tests.planner.models import DEEPSEEK_V3, JAMBA, LLAMA_8B

P = 8_030_261_248
GPT3 = {
    "model_type": "gpt2", "n_embd": 12288, "n_layer": 96, "n_head": 96, "vocab_size": 50257,
    "n_positions": 2048,
}  # fmt: skip
MODEL = parse(LLAMA_8B)


def planned(model: Model = MODEL, **recipe: Any) -> TrainingPlan:
    return plan_training(model, load_gpu("h100-sxm5-80gb"), Recipe(**recipe))


@pytest.mark.parametrize(
    ("sharding", "each"),
    [("ddp", 16), ("zero1", 4 + 12 / 64), ("zero2", 2 + 14 / 64), ("zero3", 16 / 64)],
)
def test_the_zero_paper_s_bytes_per_parameter(sharding: str, each: float) -> None:
    """Figure 1: 16 bytes a parameter, of which 64 ways of sharding leave 4.19, 2.22, 0.25."""
    stage = planned(sharding=sharding, data_parallel_size=64).stage
    assert sum(s.bytes for s in stage.states.states) == pytest.approx(P * each, rel=1e-9)


@pytest.mark.parametrize(
    ("recipe", "nodes", "host", "gpu"),
    [
        ({"sharding": "zero2", "gradient_dtype": "both"}, 1, None, 34_128_610_304),
        ({"sharding": "zero2", "gradient_dtype": "both"}, 4, None, 20_577_544_448),
        ({"sharding": "zero2", "offload_optimizer": "cpu"}, 1, 192_726_269_952, 16_060_522_496),
        ({"sharding": "zero3", "gradient_dtype": "fp32"}, 1, None, 20_169_434_112),
        ({"sharding": "zero3", "gradient_dtype": "fp32"}, 4, None, 6_618_368_256),
        ({"sharding": "zero3", "offload_optimizer": "cpu"}, 1, 192_726_269_952, 4_108_911_616),
        ({"sharding": "zero3", "offload_optimizer": "cpu"}, 4, 48_181_567_488, 2_603_237_632),
        (
            {"sharding": "zero3", "offload_optimizer": "cpu", "offload_parameters": "cpu"},
            1, 216_817_053_696, 2_101_346_304,
        ),
        (
            {"sharding": "zero3", "offload_optimizer": "cpu", "offload_parameters": "cpu"},
            4, 54_204_263_424, 2_101_346_304,
        ),
    ],
)  # fmt: skip
def test_deepspeed_s_estimators(
    recipe: dict[str, Any], nodes: int, host: int | None, gpu: int
) -> None:
    plan = planned(**recipe, data_parallel_size=8 * nodes)
    assert plan.stage.states.gpu_bytes == gpu
    if host is not None:
        assert plan.host.bytes == host


@pytest.mark.parametrize(
    ("sharding", "offload", "gpus", "gpu", "host"),
    [
        ("zero2", "none", 8, 34_128_610_304, 385_452_539_904),
        ("zero2", "none", 16, 2 * P + 18 * P // 16, P * 4 * 8 * 3 // 2),
        ("zero2", "cpu", 8, 16_060_522_496, 385_452_539_904),
        ("zero3", "none", 8, 20_169_434_112, 25_216_155_648),
        ("zero3", "none", 16, 4 * 525_336_576 + 18 * P // 16, 525_336_576 * 4 * 8 * 3 // 2),
        ("zero3", "cpu", 8, 4_108_911_616, 192_726_269_952),
    ],
)
def test_deepspeed_s_formulas_restated(
    sharding: str, offload: str, gpus: int, gpu: int, host: int
) -> None:
    """Of machines of eight GPUs, each of which keeps its own copy; 1.5 is their buffer factor."""
    recipe = Recipe(sharding=sharding, offload_optimizer=offload, data_parallel_size=gpus)
    (found,) = published(MODEL, recipe, P)
    assert (found.states_bytes, found.host_bytes) == (gpu, host)


@pytest.mark.parametrize(
    ("config", "recipe", "states", "activations", "kept_too"),
    [
        (GPT3, {"tensor_parallel_size": 8, "pipeline_parallel_size": 8, "sharding": "ddp",
                "sequence_length": 2048, "attention": "naive_16_bit", "dropout": True},
         50_339_273_472, 10_292_838_400, True),
        (GPT3, {"tensor_parallel_size": 8, "pipeline_parallel_size": 8, "data_parallel_size": 16,
                "sequence_length": 2048, "attention": "naive_16_bit", "dropout": True,
                "pipeline_schedule": "interleaved", "virtual_stages": 3},
         18_877_227_552, 13_294_916_266, True),
        ("meta-llama-3-70b", {"tensor_parallel_size": 8, "pipeline_parallel_size": 4,
                              "data_parallel_size": 8, "sequence_length": 8192},
         17_034_426_240, 21_508_423_680, False),
        ("mixtral-8x7b-v0.1", {"tensor_parallel_size": 2, "pipeline_parallel_size": 4,
                               "data_parallel_size": 8},
         44_028_645_120, 8_623_554_560, False),
    ],
)  # fmt: skip
def test_megatron_s_report(
    config: Any, recipe: dict[str, Any], states: int, activations: int, kept_too: bool
) -> None:
    """The report leaves out biases and positions, and all experts but one in activations."""
    model = parse(load_model_config(config) if isinstance(config, str) else config)
    plan = planned(
        model, gradient_dtype="fp32", recomputation="selective", gradient_accumulation_steps=64,
        **recipe,
    )  # fmt: skip
    report = megatron(model, plan.recipe)
    assert report is not None
    assert (report.states_bytes, report.activation_bytes) == (states, activations)
    first = plan.stages[0]
    assert first.states.gpu_bytes == pytest.approx(states, rel=3e-4)
    if kept_too:
        assert first.kept_bytes == pytest.approx(activations, rel=2e-5)


def test_optimizer_states() -> None:
    shape = (4096, 1024)
    n = 4096 * 1024
    expected = {
        "adamw": 8 * n, "adamw_bf16": 4 * n, "adamw_8bit": 2 * n + 2 * 4 * n // 256,
        "adafactor": 4 * (4096 + 1024), "muon": 4 * n, "lion": 4 * n, "sgd": 0,
        "sgd_momentum": 4 * n, "adam": 8 * n,
    }  # fmt: skip
    assert {k: o.state_bytes(shape, "linear") for k, o in OPTIMIZERS.items()} == expected
    assert OPTIMIZERS["muon"].state_bytes(shape, "embedding") == 8 * n
    assert OPTIMIZERS["adamw_8bit"].state_bytes((100,), "norm") == 800


def test_fsdp2_keeps_one_sharded_fp32_copy() -> None:
    """Parameters, gradients and both moments in fp32: 16 bytes over the shards."""
    stage = planned(sharding="fsdp2", data_parallel_size=8).stage
    assert stage.states.gpu_bytes == pytest.approx(16 * P / 8, rel=1e-9)
    assert "parameters" not in {s.name for s in stage.states.states}


def test_fsdp2_offloads_every_state_and_pins_shards_and_gradients() -> None:
    """Of 16 bytes 8 are pinned, each allocation rounded up to a power of two: 16 to 24 P."""
    everything = {"offload_optimizer": "cpu", "offload_parameters": "cpu"}
    plan = planned(sharding="fsdp2", data_parallel_size=8, **everything)
    assert plan.stage.states.gpu_bytes == 0
    assert plan.stage.states.in_place("cpu") == pytest.approx(16 * P / 8, rel=1e-9)
    host = plan.host
    assert (host.low_bytes, host.bytes, host.high_bytes) == pytest.approx(
        (16 * P, 20 * P, 24 * P), rel=1e-9
    )
    here = planned(sharding="fsdp2", data_parallel_size=8)
    layer = 2 * 4096**2 + 2 * 1024 * 4096 + 3 * 14336 * 4096 + 2 * 4096
    passing = plan.stage.buffers["fsdp_gathered"].bytes - here.stage.buffers["fsdp_gathered"].bytes
    assert passing == (4 + 4) * layer / 8
    assert any("CPUOffloadPolicy" in note for note in notes(plan))
    assert not any("CPUOffloadPolicy" in note for note in notes(here))


def gathered(**recipe: Any) -> int:
    """Bytes that FSDP2 on eight GPUs has whole at a time."""
    plan = planned(sharding="fsdp2", data_parallel_size=8, **recipe)
    return plan.stage.buffers["fsdp_gathered"].bytes


def test_what_fsdp2_has_whole_at_a_time() -> None:
    """Of Llama-3.1-8B: the root, two layers and a layer's gradients; all where nothing is freed.

    In a pipeline also all gradients, which PyTorch 2.13 adds up unsharded (_fsdp_param.py
    to_accumulated_grad_if_needed) until the last micro-batch: the last of two stages has 16 layers.
    """
    layer = 2 * 4096**2 + 2 * 1024 * 4096 + 3 * 14336 * 4096 + 2 * 4096
    root = (2 * 128256 + 1) * 4096
    assert gathered() == 2 * (root + 2 * layer) + 2 * layer
    assert gathered(reduce_dtype="fp32") == 2 * (root + 2 * layer) + 4 * layer
    assert gathered(reshard_after_forward="always") == gathered()
    assert gathered(reshard_after_forward="never") == 2 * P + 2 * layer
    last = 16 * layer + (128256 + 1) * 4096
    pipeline = {"pipeline_parallel_size": 2, "gradient_accumulation_steps": 4}
    plan = planned(sharding="fsdp2", data_parallel_size=4, reduce_dtype="fp32", **pipeline)
    assert plan.stages[1].buffers["fsdp_gathered"].bytes == (2 + 4) * last


def test_zero_3_holds_its_live_parameters() -> None:
    """A bucket of 5e8 gradients, and up to 1e9 live parameters, the largest module among them."""
    plan = planned(sharding="zero3", data_parallel_size=8)
    assert plan.stage.buffers["zero_buckets"].bytes == 2 * (5 * 10**8 + 10**9 - 128256 * 4096)
    fewer = planned(sharding="zero3", data_parallel_size=8, stage3_max_live_parameters=0)
    assert fewer.stage.buffers["zero_buckets"].bytes == 2 * (5 * 10**8 + 5 * 10**7)


def test_qlora_counts_adapters_and_four_bit_matrices() -> None:
    """Rank 16 on all seven matrices of Llama-3.1-8B: 41,943,040 parameters (PEFT prints them)."""
    plan = planned(lora=Lora(base="nf4"))
    states = {s.name: s.bytes for s in plan.state_parts}
    assert plan.stage.states.trainable == 41_943_040
    assert states["optimizer states"] == 8 * 41_943_040
    matrices = P - 2 * 128256 * 4096 - 65 * 4096
    sixteen_bit = 2 * (P - matrices)
    assert states["frozen parameters"] == sixteen_bit + matrices // 2
    assert states["quantisation scales"] == pytest.approx(matrices * 0.127 / 8, rel=1e-3)


GPT_OSS = parse(load_model_config("gpt-oss-20b"))
EXPERTS = 24 * 32 * 3 * 2880**2
"""Matrices of 32 experts in 24 layers, gate, up and down."""


def test_experts_are_no_linear_layers() -> None:
    """OpenAI's recipe for gpt-oss-20b adapts with rank 8 all linear layers and, by name, experts of
    3 of 24 layers: 15,040,512 parameters as PEFT counts them (openai-cookbook, articles/gpt-oss/
    fine-tune-transfomers.ipynb), gate and up being one tensor of 32 x 2,880 x 5,760.
    """
    linear, both = (
        planned(GPT_OSS, lora=Lora(rank=8, targets=targets)).stage.states.trainable
        for targets in ("all", "experts")
    )
    attention = planned(GPT_OSS, lora=Lora(rank=8, targets="attention")).stage.states.trainable
    assert linear == attention == 24 * 8 * (2 * (2880 + 4096) + 2 * (2880 + 512))
    assert linear + (both - linear) * 3 // 24 == 15_040_512


def test_bitsandbytes_leaves_experts_in_16_bits() -> None:
    """It replaces linear layers only (transformers 5.24, integrations/bitsandbytes)."""
    found = {}
    for quantised in (False, True):
        plan = planned(GPT_OSS, lora=Lora(base="nf4", quantize_moe_experts=quantised))
        states = {s.name: s.bytes for s in plan.state_parts}
        found[quantised] = states["frozen parameters"], states["quantisation scales"]
        buffer = plan.stage.buffers["dequantised_matrix"].bytes
        assert buffer == (2 * 32 * 2 * 2880**2 if quantised else 2 * 2880 * 4096)
        said = any("stay in 16 bits" in note for note in notes(plan))
        assert said is not quantised
    assert found[False][0] - found[True][0] == EXPERTS * 3 // 2
    assert found[True][1] - found[False][1] == pytest.approx(EXPERTS * 0.127 / 8, rel=1e-3)


def test_fsdp2_says_what_uint8_codes_would_take() -> None:
    """accelerate leaves them out of sharding: 7/8 of half a byte a matrix parameter."""
    recipe = {"lora": Lora(base="nf4"), "data_parallel_size": 8}
    matrices = P - 2 * 128256 * 4096 - 65 * 4096
    more = format_bytes(matrices // 2 * 7 // 8)
    assert any(f"{more} more" in note for note in notes(planned(sharding="fsdp2", **recipe)))
    assert not any("uint8" in note for note in notes(planned(sharding="zero1", **recipe)))


@pytest.mark.parametrize("sharding", ["zero3", "fsdp2"])
def test_four_bit_codes_are_shared_out_and_their_scales_are_not(sharding: str) -> None:
    """bitsandbytes issue 1945: scales are no parameters, which FSDP2 leaves on every rank."""
    shared = planned(lora=Lora(base="nf4"), sharding=sharding, data_parallel_size=8)
    alone = planned(lora=Lora(base="nf4"))
    (frozen, scales), (all_frozen, all_scales) = (
        [
            s.bytes
            for s in plan.state_parts
            if s.name in ("frozen parameters", "quantisation scales")
        ]
        for plan in (shared, alone)
    )
    assert frozen == pytest.approx(all_frozen / 8, rel=1e-6)
    assert scales == all_scales


def test_estimators_are_asked_what_they_know() -> None:
    """Megatron-LM's report knows neither context parallelism nor layers that are recomputed."""

    def found(**recipe: Any) -> Any:
        r = Recipe(**recipe)
        return published(MODEL, r, P)

    (report,) = found(recomputation="selective")
    assert report.activation_bytes
    (report,) = found(recomputation="full")
    assert report.states_bytes
    assert report.activation_bytes is None
    assert found(context_parallel_size=2) == ()
    assert found(sharding="zero3", offload_optimizer="nvme", data_parallel_size=2) == ()


def test_fp32_and_pure_bf16_have_no_master() -> None:
    assert planned(precision="fp32").stage.states.gpu_bytes == 16 * P
    pure = planned(master_weights=False, optimizer="adamw_bf16")
    assert pure.stage.states.gpu_bytes == 8 * P


def test_nvme_holds_the_optimizer_and_the_host_only_buffers() -> None:
    plan = planned(sharding="zero3", data_parallel_size=8, offload_optimizer="nvme",
                   offload_parameters="nvme")  # fmt: skip
    assert plan.nvme_bytes == pytest.approx(18 * P, rel=1e-6)
    assert plan.host.low_bytes < 2 * P
    assert plan.stage.states.gpu_bytes == plan.stage.states.gathered_bytes


def test_experts_are_sharded_over_fewer_replicas() -> None:
    """8 experts over 8 ranks: one each, with nobody to shard it over."""
    model = parse(load_model_config("mixtral-8x7b-v0.1"))
    expert = 32 * 3 * 4096 * 14336
    dense = 46_702_792_704 - 8 * expert
    plan = planned(model, sharding="zero3", data_parallel_size=8, expert_parallel_size=8)
    stored = sum(s.bytes for s in plan.state_parts)
    assert stored == pytest.approx(16 * expert + 16 * dense / 8, rel=1e-6)


@pytest.mark.parametrize(
    ("model", "recipe", "words"),
    [
        (MODEL, {"tensor_parallel_size": 3}, "num_attention_heads"),
        (MODEL, {"offload_optimizer": "cpu", "sharding": "ddp"}, "zero1, zero2, zero3 or fsdp2"),
        (MODEL, {"offload_optimizer": "cpu", "sharding": "fsdp2"}, "both to cpu or both to none"),
        (MODEL, {"offload_parameters": "cpu", "sharding": "fsdp2"}, "both to cpu or both to none"),
        (MODEL, {"offload_optimizer": "nvme", "offload_parameters": "nvme", "sharding": "fsdp2"},
         "to the host only"),
        (MODEL, {"offload_optimizer": "cpu", "offload_parameters": "nvme", "sharding": "fsdp2"},
         "choose sharding zero3"),
        (MODEL, {"offload_optimizer": "nvme", "sharding": "zero2"}, "zero3"),
        (MODEL, {"offload_parameters": "cpu", "sharding": "zero2"}, "zero3"),
        (MODEL, {"gradient_dtype": "16-bit", "sharding": "fsdp2"}, "here fp32"),
        (MODEL, {"lora": Lora(quantize_moe_experts=True)}, "choose base nf4 or int8"),
        (MODEL, {"gradient_dtype": "fp32", "sharding": "fsdp2", "master_weights": False},
         "here 16-bit"),
        (MODEL, {"sharding": "zero3", "pipeline_parallel_size": 2}, "pipeline"),
        (MODEL, {"expert_parallel_size": 2, "data_parallel_size": 2}, "no routed experts"),
        (MODEL, {"pipeline_schedule": "interleaved", "pipeline_parallel_size": 4,
                 "gradient_accumulation_steps": 6}, "multiple of"),
        (parse(JAMBA), {"context_parallel_size": 2}, "Mamba-1 layers cannot"),
        (parse(DEEPSEEK_V3), {"expert_parallel_size": 8, "data_parallel_size": 12}, "4 would"),
    ],
)  # fmt: skip
def test_contradictions_are_refused(model: Model, recipe: dict[str, Any], words: str) -> None:
    with pytest.raises(PlanRefused, match=words):
        planned(model, **recipe)
