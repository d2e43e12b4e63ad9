"""A sweep over every GPU, chunk and number of users is the plan of each, one at a time."""

import random

import pytest

from planner.admission.admission import Asked
from planner.admission.rules import rule_of
from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.plan import make_plan
from planner.search.search import user_steps
from planner.search.space import (
    CHUNKS,
    IDEAL,
    Space,
    Target,
    deployments,
)
from planner.search.sweep import compile_deployment, sweep
from planner.timing.latency import Request, latency
from planner.timing.speed_grid import GpuGrid
from planner.workload import Workload
from presets.gpus import load_gpu
from presets.speed import speed_of
from tests.planner.models import preset
from tests.planner.search.cases import ALL, OFFERS, TARGET


@pytest.mark.parametrize(
    "name",
    [
        "llama-3.1-8b",
        "gemma-3-27b-it",
        "deepseek-v3",
        "qwen3-30b-a3b",
        "qwen3-next-80b-a3b-thinking",
    ],
)
def test_the_sweep_is_the_plan_and_its_latency(name: str) -> None:
    """On a random sample of deployments, GPUs, chunk sizes and users."""
    model, draw = preset(name), random.Random(name)
    gpus = [offer.gpu for offer in OFFERS]
    speeds = [speed_of(gpu) for gpu in gpus]
    grid = GpuGrid(gpus, speeds)
    asked_users = user_steps(TARGET.concurrency)
    tried = list(deployments(model, Space(max_gpus=16, rings=(1, 2, 4), **ALL)))
    checked = 0
    for deployment in draw.sample(tried, 12):
        try:
            compiled = compile_deployment(model, deployment, TARGET, asked_users, CHUNKS)
        except PlanRefused:
            continue
        asked = Asked(tuple(gpus), deployment, TARGET.request.context, compiled.sequences, CHUNKS)
        used = rule_of(IDEAL, model).admission(asked).needed_bytes
        swept = sweep(compiled, grid)
        for _ in range(6):
            g, k, u = (draw.randrange(n) for n in (len(gpus), len(CHUNKS), len(asked_users)))
            chosen = deployment.replace(max_num_batched_tokens=CHUNKS[k])
            wanted = int(asked_users[u])
            work = Workload(context=TARGET.request.context, concurrency=wanted)
            assert used[g, k, u] == make_plan(model, gpus[g], chosen, work).total_bytes_per_gpu
            one = latency(model, gpus[g], chosen, speeds[g], TARGET.request, wanted)
            for swept_figure, figure in (
                (swept.prefill_s[g, k, 0], one.ttft.seconds),
                (swept.decode_s[g, 0, u], one.tpot.seconds),
                (swept.load.ttft_p95_s[g, k, u], one.load.ttft_p95_s),
                (swept.load.tpot_s[g, k, u], one.load.tpot_s),
                (swept.load.requests_per_s[g, k, u], one.load.requests_per_s),
            ):
                assert swept_figure == pytest.approx(figure, rel=1e-9)
            checked += 1
    assert checked >= 12


def test_a_prompt_within_the_smallest_chunk_is_one_pass_at_every_size() -> None:
    """Its passes are alike for all chunk sizes, and so are its times."""
    target = Target(request=Request(prompt_tokens=400, output_tokens=32))
    compiled = compile_deployment(
        preset("llama-3.1-8b"), Deployment(), target, user_steps(1), CHUNKS
    )  # fmt: skip
    swept = sweep(compiled, GpuGrid([load_gpu("l4")], [speed_of(load_gpu("l4"))]))
    one = latency(
        preset("llama-3.1-8b"), load_gpu("l4"), Deployment(), speed_of(load_gpu("l4")),
        target.request, 1,
    )  # fmt: skip
    assert swept.prefill_s[0, :, 0].tolist() == pytest.approx([one.ttft.seconds] * len(CHUNKS))
