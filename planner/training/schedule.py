"""Pipeline schedules: how many micro-batches a stage holds at once, and how long it idles.

Sources: Huang et al. 2019 (GPipe), Narayanan et al. 2019 and 2021 (1F1B, interleaved).
"""

from fractions import Fraction

from planner.training.recipe import Recipe


def in_flight(recipe: Recipe, stage: int) -> Fraction:
    """Micro-batches whose activations pipeline stage `stage` (from 0) holds at its peak.

    A fraction under the interleaved schedule, where a rank holds chunks of 1 / virtual_stages of
    its layers: 2 (p - i - 1) + (v - 1) p + 1 of them. Never more than there are micro-batches.
    """
    stages, batches = recipe.pipeline_parallel_size, recipe.gradient_accumulation_steps
    if stages == 1:
        return Fraction(1)
    if recipe.pipeline_schedule == "gpipe":
        return Fraction(batches)
    if recipe.pipeline_schedule == "1f1b":
        return Fraction(min(batches, stages - stage))
    chunks = recipe.virtual_stages
    held = 2 * (stages - stage - 1) + (chunks - 1) * stages + 1
    return min(Fraction(batches), Fraction(held, chunks))


def bubble(recipe: Recipe) -> Fraction:
    """Idle time of a pipeline rank as a share of its busy time: (p - 1) / (v m)."""
    chunks = recipe.virtual_stages if recipe.pipeline_schedule == "interleaved" else 1
    stages = recipe.pipeline_parallel_size
    return Fraction(stages - 1, chunks * recipe.gradient_accumulation_steps)
