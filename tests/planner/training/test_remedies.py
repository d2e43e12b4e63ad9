"""What is offered where training does not fit, each change planned by itself."""

from planner.hf_config import parse
from planner.training.capacity import remedies
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


def test_fsdp2_is_offered_its_own_offloading() -> None:
    """70.6 B x 16 bytes over 8 GPUs are 141 GB each, whichever the sharding; or on the host."""
    plan = adapters(sharding="fsdp2", lora=None)
    offered = remedies(plan)
    assert "everything on the host (FSDP2)" in offered
    assert not any("ZeRO" in each for each in offered)
    assert adapters(
        sharding="fsdp2", lora=None, offload_optimizer="cpu", offload_parameters="cpu"
    ).fits
