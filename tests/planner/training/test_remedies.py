"""What is offered where training does not fit, each change planned by itself."""

from typing import Any

import pytest

from planner.errors import PlanRefused
from planner.hf_config import parse
from planner.training.capacity import limits, longest_sequence, remedies
from planner.training.export import limit_rows, memory_rows
from planner.training.notes import notes
from planner.training.plan import TrainingPlan, plan_training
from planner.training.recipe import Lora, Recipe
from presets.gpus import load_gpu
from presets.models import load_model_config


def adapters(**changes: object) -> TrainingPlan:
    recipe = Recipe(lora=Lora(), data_parallel_size=8, recomputation="full").replace(**changes)
    model = parse(load_model_config("llama-3.1-70b"))
    return plan_training(model, load_gpu("h100-sxm5-80gb"), recipe)


def test_sharding_is_offered_before_what_talks_more() -> None:
    """131 GiB of frozen weights on each card are what ZeRO-3 splits; AdamW of adapters is small."""
    plan = adapters()
    assert not plan.fits
    offered = remedies(plan)
    assert offered[0] == "ZeRO-3 sharding"
    assert adapters(sharding="zero3").fits
    assert not any("host" in each for each in offered)
    assert "each copy on 2 of the GPUs (tensor 1 × pipeline 2)" in offered
    assert adapters(data_parallel_size=4, pipeline_parallel_size=2).fits


def small(name: str = "llama-3.1-8b", **recipe: Any) -> TrainingPlan:
    return plan_training(
        parse(load_model_config(name)), load_gpu("h100-sxm5-80gb"), Recipe(**recipe)
    )


def test_gpus_that_share_sequences_are_among_the_factors() -> None:
    """Powers of two times three: three GPUs, which is what is planned, are few enough."""
    plan = small(lora=Lora(), recomputation="full", context_parallel_size=3)
    rows = dict(limit_rows(plan, limits(plan)))
    assert rows["Fewest GPUs with ZeRO-1"] == "3 (data 1 × tensor 1 × pipeline 1 × context 3)"
    large = small(context_parallel_size=8, sequence_length=10**6, recomputation="full")
    offered = [each for each in remedies(large) if "GPUs" in each]
    assert offered == ["32 GPUs (data 1 × tensor 4 × pipeline 1 × context 8)"]


def test_one_gpu_has_no_sharding_to_choose() -> None:
    one, two = (small(lora=Lora(), data_parallel_size=n) for n in (1, 2))
    asked = "Lowest sharding that fits on these GPUs"
    assert asked not in dict(limit_rows(one, limits(one)))
    assert dict(limit_rows(two, limits(two)))[asked] == "DDP"


def test_sequences_are_a_length_that_ranks_can_share() -> None:
    """torchtitan wants a multiple of tensor parallel x 2 context parallel."""
    plan = small(lora=Lora(), tensor_parallel_size=4, context_parallel_size=2)
    longest = longest_sequence(plan)
    assert longest % 16 == 0
    assert not any("padded" in note for note in notes(plan))
    assert any("multiple of 16 tokens" in note for note in notes(small(
        lora=Lora(), tensor_parallel_size=4, context_parallel_size=2, sequence_length=4100,
    )))  # fmt: skip


def test_sequences_are_not_cut_to_less_than_half() -> None:
    """That many tokens fit, and one micro-batch of more does not."""
    longest = longest_sequence(small(lora=Lora()))
    for tokens, offered in ((longest + 1, True), (2 * longest, True), (2 * longest + 1, False)):
        words = f"sequences of {longest:,} tokens"
        assert (words in remedies(small(lora=Lora(), sequence_length=tokens))) == offered


def test_sequences_beyond_the_stated_positions_are_said_to_be() -> None:
    """131,072 of Llama 3.1; OPT has a table of 2,048, beyond which it cannot run at all."""
    said = " ".join(notes(small(lora=Lora(), sequence_length=200_000)))
    assert "states 131,072 positions; 200,000 tokens are beyond them" in said
    assert "engines" not in said
    assert "beyond" not in " ".join(notes(small(lora=Lora(), sequence_length=131_072)))
    with pytest.raises(PlanRefused, match=r"2,048 positions.* Choose sequence_length 2,048"):
        small("opt-1.3b", sequence_length=4096)
    for split in ({}, {"tensor_parallel_size": 4, "context_parallel_size": 2}):
        plan = small("opt-1.3b", lora=Lora(), sequence_length=1024, **split)
        assert longest_sequence(plan) == 2048
    plan = small(lora=Lora(), recomputation="full", tensor_parallel_size=8)
    (longest,) = (v for k, v in limit_rows(plan, limits(plan)) if k.startswith("Longest"))
    assert longest.endswith("tokens, beyond the stated positions")


def test_fp8_multiplies_no_four_bit_matrices() -> None:
    with pytest.raises(PlanRefused, match="choose precision bf16"):
        small(lora=Lora(base="nf4"), precision="fp8")


def test_fsdp2_s_shards_are_called_parameters() -> None:
    labels = {
        sharding: [label for _, label, *_ in memory_rows(small(sharding=sharding))]
        for sharding in ("fsdp2", "zero1")
    }
    assert "Parameters, fp32 shards" in labels["fsdp2"]
    assert "Master weights" in labels["zero1"]


def test_fsdp2_is_offered_its_own_offloading() -> None:
    """70.6 B x 16 bytes over 8 GPUs are 141 GB each, whichever the sharding; or on the host."""
    plan = adapters(sharding="fsdp2", lora=None)
    offered = remedies(plan)
    assert "everything on the host (FSDP2)" in offered
    assert not any("ZeRO" in each for each in offered)
    assert adapters(
        sharding="fsdp2", lora=None, offload_optimizer="cpu", offload_parameters="cpu"
    ).fits


def test_adapters_are_offered_with_one_change_and_not_as_what_they_are() -> None:
    """A rank of 4,096 beside every linear layer is 10.7 B parameters of 16 bytes; of 16, 42 M."""
    wide = small(lora=Lora(rank=4096), recomputation="full")
    offered = remedies(wide)
    assert "adapters of rank 16" in offered
    assert "LoRA" not in offered
    assert small(lora=Lora(), recomputation="full").fits
    assert "LoRA" in remedies(small(recomputation="full"))


def test_four_bits_alone_are_offered_with_the_rank_that_there_is() -> None:
    """Rank 1,024 is 2.7 B parameters, 43 GB with their states. With 16 GB of weights, and four
    times 6.3 GB of logits and 1.1 GB of activations, it is above 85; 4 bits save 10."""
    asked = {"recomputation": "full", "micro_batch_size": 4}
    plan = small(lora=Lora(rank=1024), **asked)
    assert not plan.fits
    assert small(lora=Lora(rank=1024, base="nf4"), **asked).fits
    assert "QLoRA" in remedies(plan)


def test_adapters_of_experts_can_be_left_out() -> None:
    plan = small("qwen3-30b-a3b", lora=Lora(rank=64, targets="experts"), recomputation="full")
    assert not plan.fits
    assert "no adapters beside routed experts" in remedies(plan)
    assert small("qwen3-30b-a3b", lora=Lora(rank=64), recomputation="full").fits


def test_a_quantised_checkpoint_is_said_to_be_dequantised() -> None:
    """gpt-oss-20b's experts are in 4.25 bits: 20.9 B parameters in 16 bits are 39 GiB."""
    plan = small("gpt-oss-20b", lora=Lora(), recomputation="full")
    (frozen,) = (s for _, label, s, _ in memory_rows(plan) if label == "Frozen parameters")
    assert frozen == pytest.approx(2 * 20.91e9, rel=0.01)
    assert any("quantised (mxfp4): it is taken to be dequantised" in note for note in notes(plan))
    assert not any("dequantised" in note for note in notes(small(lora=Lora())))
