"""Against queueing theory and closed forms: Little's law, M/D/1, Pollaczek-Khinchine, capacity."""

import pytest

from planner.deployment import Deployment
from planner.engines.registry import ENGINES
from planner.engines.vllm.figures import vllm_figures
from planner.engines.vllm.options import VllmOptions
from planner.errors import PlanRefused
from planner.hf_config import parse
from planner.plan import make_plan
from planner.serving.engine_replica import engine_replica, figures_for, options_for
from planner.serving.replica import replica_of
from planner.serving.requests import Request, always, synthetic
from planner.serving.simulator import simulate
from planner.timing.latency import Request as Asked
from planner.timing.latency import latency
from planner.workload import Workload
from presets.gpus import load_gpu
from presets.models import load_model_config
from presets.speed import speed_of
from tests.planner.serving.worlds import Plain, replica, traffic

GPU = load_gpu("h100-sxm5-80gb")


def model(name: str = "llama-3.1-8b"):  # type: ignore[no-untyped-def]
    return parse(load_model_config(name), name)


@pytest.mark.parametrize("rate", [2.0, 8.0])
@pytest.mark.parametrize("replicas", [1, 3])
def test_littles_law(rate: float, replicas: int) -> None:
    found = simulate(traffic(3000, 3, rate), replica(), replicas=replicas)
    in_system = found.mean_queue + found.mean_running
    assert in_system == pytest.approx(found.requests_per_s * found.e2e.mean, rel=1e-6)
    rows = found.timeline_rows()
    queue = sum(r["queue"] for r in rows[:-1]) / len(rows[:-1])
    assert queue == pytest.approx(found.mean_queue, rel=0.1, abs=0.05)


@pytest.mark.parametrize("busy", [0.3, 0.6, 0.8])
def test_one_place_and_equal_service_is_m_d_1(busy: float) -> None:
    one = replica(clock=Plain(1.0), max_num_seqs=1, num_blocks=10)
    waits = []
    for seed in range(4):
        work = list(
            synthetic(rate=busy, count=20_000, prompt=always(8), output=always(1), seed=seed)
        )
        end = total = 0.0
        for request in work:
            start = max(end, request.arrival_s)
            total += start - request.arrival_s
            end = start + 1.0
        found = simulate(work, one)
        assert found.ttft.mean - 1.0 == pytest.approx(total / len(work), rel=1e-9)
        assert found.recorder.busy_s == pytest.approx(len(work))
        waits.append(found.ttft.mean - 1.0)
    assert sum(waits) / 4 == pytest.approx(busy / (2 * (1 - busy)), rel=0.07)


def test_saturated_batch_is_the_closed_form_of_the_plan() -> None:
    plan = make_plan(model(), GPU, Deployment(), Workload(context=8192))
    most = plan.max_concurrency
    assert most is not None
    one = replica_of(
        plan.model, GPU, plan.deployment, speed_of(GPU), max_num_seqs=most, max_model_len=8192
    )
    assert one.num_blocks // one.most_blocks(8192) == most
    work = [Request(0.0, 8190, 2) for _ in range(3 * most)]
    found = simulate(work, one.changed(max_num_seqs=4096, prefix_caching=False,
                                       max_num_batched_tokens=2**24))  # fmt: skip
    assert found.recorder.most_running in (most, one.num_blocks // 512)


@pytest.mark.parametrize(("name", "context"), [("llama-3.1-8b", 8192), ("qwen3-8b", 5000)])
def test_saturated_pool_is_what_vllm_admits(name: str, context: int) -> None:
    deployment = Deployment()
    figures = vllm_figures(
        model(name), GPU, deployment, VllmOptions(), Workload(context=context, concurrency=1)
    )
    settings = figures.settings
    one = replica_of(
        model(name), GPU, deployment, speed_of(GPU), kv_cache_bytes=figures.kv_cache.bytes,
        max_num_seqs=int(settings["max_num_seqs"] or 0),
    )  # fmt: skip
    assert one.num_blocks == figures.num_blocks - 1
    work = [Request(0.0, context - 1, 2) for _ in range(2 * figures.requests)]
    found = simulate(work, one.changed(max_num_batched_tokens=2**24, prefix_caching=False))
    assert found.recorder.most_running == figures.requests


@pytest.mark.parametrize(
    "name", ["llama-3.1-8b", "gemma-3-27b-it", "deepseek-v2-lite", "qwen3-30b-a3b"]
)
@pytest.mark.parametrize("sequences", [1, 8, 24, 100])
@pytest.mark.parametrize("context", [600, 4000, 16384])
def test_steps_take_the_latency_models_time(name: str, sequences: int, context: int) -> None:
    speed = speed_of(GPU)
    deployment = Deployment(tensor_parallel_size=2)
    one = replica_of(model(name), GPU, deployment, speed, max_model_len=32768)
    asked = Asked(prompt_tokens=context - 1, output_tokens=2)
    theirs = latency(model(name), GPU, deployment, speed, asked, sequences)
    assert one.clock.decode_s(sequences, context) == pytest.approx(theirs.tpot.seconds, rel=0.05)
    if context <= 8192:
        chunk = one.clock.mixed_s(0, 0, [(context - 1, context - 1)])
        assert chunk == pytest.approx(theirs.ttft.seconds, rel=0.05)


def test_unloaded_request_is_the_latency_of_one_user() -> None:
    speed = speed_of(GPU)
    one = replica_of(model(), GPU, Deployment(), speed, max_model_len=32768)
    found = simulate([Request(0.0, 12000, 200)], one)
    theirs = latency(model(), GPU, Deployment(), speed,
                     Asked(prompt_tokens=12000, output_tokens=200), 1)  # fmt: skip
    assert found.ttft.largest == pytest.approx(theirs.ttft.seconds, rel=0.03)
    assert found.tpot.largest == pytest.approx(theirs.tpot.seconds, rel=0.03)


@pytest.mark.parametrize(
    ("name", "engine", "given"),
    [
        ("llama-3.1-8b", "vllm", {}),
        ("llama-3.1-8b", "sglang", {}),
        ("llama-3.1-8b", "tensorrt-llm", {}),
        ("llama-3.1-8b", "llama.cpp", {}),
        ("qwen3-8b", "vllm", {"max_model_len": 32768, "gpu_memory_utilization": 0.8}),
        ("gpt-oss-20b", "vllm", {}),
        ("gpt-oss-20b", "sglang", {}),
        ("deepseek-v2-lite", "tensorrt-llm", {"max_num_seqs": 64}),
    ],
)
def test_pool_and_limits_are_the_engines_answer(
    name: str, engine: str, given: dict[str, float]
) -> None:
    deployment, options = Deployment(), options_for(engine, given)
    figures = figures_for(engine, options, model(name), GPU, deployment)
    one = engine_replica(figures, model(name), GPU, deployment, speed_of(GPU))
    assert one.num_blocks + one.kept_blocks == figures.num_blocks
    assert one.kv_cache_bytes == figures.kv_cache.bytes
    assert one.max_num_seqs == figures.settings["max_num_seqs"]
    assert one.max_model_len == figures.settings["max_model_len"]
    assert one.max_num_batched_tokens == figures.settings["max_num_batched_tokens"]
    asked = ENGINES[engine].figures(
        model(name), GPU, deployment, options, Workload(context=8192, concurrency=1)
    )
    held = min(one.max_num_seqs, one.num_blocks // one.most_blocks(8193))
    assert held == pytest.approx(asked.requests, abs=0.01 * asked.requests)


def test_steps_read_every_token_where_the_engine_has_no_windows() -> None:
    """Phi-3's window of 2,047 is none in llama.cpp: a step at 4,000 tokens reads all of them."""
    deployment = Deployment()

    def step_s(engine: str) -> float:
        phi = model("phi-3-mini-4k-instruct")
        figures = figures_for(engine, options_for(engine, {}), phi, GPU, deployment)
        one = engine_replica(figures, phi, GPU, deployment, speed_of(GPU))
        return one.clock.decode_s(1, 4000)

    assert GPU.memory_bandwidth_bytes_per_s
    read = 32 * 2 * 32 * 96 * 2 * (4000 - 2047) / GPU.memory_bandwidth_bytes_per_s
    assert step_s("llama.cpp") - step_s("vllm") > 0.9 * read


def test_an_engine_that_would_not_start_simulates_nothing() -> None:
    gpu = load_gpu("rtx-4090")
    figures = figures_for("vllm", options_for("vllm", {}), model(), gpu, Deployment())
    with pytest.raises(PlanRefused, match=r"vLLM .* would refuse to start \(--max-model-len"):
        engine_replica(figures, model(), gpu, Deployment(), speed_of(gpu))
    longest = int(figures.remedies[0].split()[1])
    options, more = options_for("vllm", {}), {"longest": longest + 1}
    for_longer = figures_for("vllm", options, model(), gpu, Deployment(), **more)
    assert not any("max-model-len" in remedy for remedy in for_longer.remedies)
