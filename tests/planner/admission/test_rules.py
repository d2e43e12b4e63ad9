"""What the rules admit against the engines' own figures, one candidate at a time."""

import random

import numpy as np
import pytest

from planner.admission.admission import Asked
from planner.admission.rules import RULES, label_of, rule_of
from planner.deployment import Deployment
from planner.engines.platforms import not_on
from planner.engines.registry import ENGINES
from planner.errors import PlanRefused
from planner.hf_config import parse
from planner.plan import make_plan
from planner.search.space import CACHES, CHUNKS, IDEAL, WEIGHTS, Space, deployments
from planner.workload import Workload
from presets.gpus import load_gpu
from presets.models import load_model_config

CARDS = ("h200-sxm-141gb", "h100-sxm5-80gb", "a100-pcie-80gb", "l4", "rtx-4090", "mi300x", "l40s")
MODELS = (
    "llama-3.1-8b",
    "llama-3.1-70b",
    "gemma-3-27b-it",
    "deepseek-v3",
    "qwen3-30b-a3b",
    "qwen3-next-80b-a3b-thinking",
    "gpt-oss-20b",
    "deepseek-v4-flash",
)
FORMATS = Space(max_gpus=16, weights_dtypes=(*WEIGHTS, "q4_k_m"), kv_cache_dtypes=(*CACHES, "q8_0"))
USERS = (5, 33, 70, 300, 2500)


@pytest.mark.parametrize("engine", [name for name in RULES if name != IDEAL])
@pytest.mark.parametrize("name", MODELS)
def test_admitted_is_the_engines_own_answer(engine: str, name: str) -> None:
    """On a random sample of deployments, GPUs, chunk sizes, contexts and loads."""
    config = load_model_config(name)
    model, draw = parse(config), random.Random(f"{engine} {name}")
    rule = rule_of(engine, model, config)
    everything = list(deployments(model, FORMATS))
    if engine == "llama.cpp":
        everything = [d for d in everything if d.gpus == d.pipeline_parallel_size]
    gpus = tuple(load_gpu(card) for card in CARDS)
    compared = refused = 0
    for deployment in draw.sample(everything, min(40, len(everything))):
        context, least = draw.choice((700, 4096, 9216, 40_000)), draw.choice(USERS)
        sequences = np.array([least, 2 * least, 4 * least, 32 * least])
        asked = Asked(gpus, deployment, context, sequences, CHUNKS)
        try:
            found = rule.admission(asked)
        except PlanRefused:
            found = None
        for _ in range(6):
            g, k = draw.randrange(len(gpus)), draw.randrange(len(CHUNKS))
            chosen = deployment.replace(max_num_batched_tokens=CHUNKS[k])
            work = Workload(context=context, concurrency=least)
            options = rule.options(gpus[g], chosen, context, least)
            try:
                one = ENGINES[engine].figures(model, gpus[g], chosen, options, work, config=config)
                running = int(one.settings["max_num_seqs"] or 0)
                admitted = 0 if one.refused else min(one.requests, running)
            except PlanRefused:
                admitted = 0
            if found is None:
                assert admitted == 0
                refused += 1
                continue
            mine = int(found.admitted[g, k, 0])
            if engine == "llama.cpp":
                assert (mine >= least) == (admitted >= least)
            else:
                assert mine == admitted, (deployment, gpus[g].id, CHUNKS[k], context, least)
            fits = found.over(sequences)[g, k] <= 1
            assert fits.tolist() == [mine >= n for n in sequences]
            compared += 1
    assert compared + refused > 30
    assert compared > 0 or name in NOT_DESCRIBED.get(engine, ())


NOT_DESCRIBED = {
    "llama.cpp": ("deepseek-v3", "gpt-oss-20b", "deepseek-v4-flash"),
    "sglang": ("deepseek-v4-flash",),
    "tensorrt-llm": ("deepseek-v4-flash",),
}
"""Formats that no GGUF file holds (others are drawn rarely), and compressed caches."""


def test_plain_bytes_are_the_plans() -> None:
    model = parse(load_model_config("llama-3.1-8b"))
    gpus = tuple(load_gpu(card) for card in CARDS[:2])
    deployment = Deployment(tensor_parallel_size=2)
    sequences = np.array([3, 50])
    found = rule_of(IDEAL, model).admission(Asked(gpus, deployment, 9216, sequences, (512, 8192)))
    for g, gpu in enumerate(gpus):
        for k, chunk in enumerate((512, 8192)):
            for u, users in enumerate(sequences):
                plan = make_plan(
                    model, gpu, deployment.replace(max_num_batched_tokens=chunk),
                    Workload(context=9216, concurrency=int(users)),
                )  # fmt: skip
                assert found.needed_bytes[g, k, u] == plan.total_bytes_per_gpu


def test_engines_run_where_they_have_builds() -> None:
    assert not_on("tensorrt-llm", load_gpu("mi300x")) == (
        "TensorRT-LLM does not run on Instinct MI300X"
    )
    assert not_on("vllm", load_gpu("mi300x")) is None
    assert not_on("sglang", load_gpu("v100-sxm2-16gb")) is not None
    assert not_on("tensorrt-llm", load_gpu("jetson-agx-orin-64gb")) is not None
    for version, runs in (("0.19.1", True), ("0.20.2", False), (None, False)):  # sm_70 in the wheel
        assert (not_on("vllm", load_gpu("v100-sxm2-16gb"), version) is None) is runs
        assert not_on("vllm", load_gpu("t4"), version) is None
    assert not_on("vllm", load_gpu("apple-m2-ultra")) is not None
    assert not_on("llama.cpp", load_gpu("apple-m2-ultra")) is None
    assert not_on(IDEAL, load_gpu("tpu-v5e")) is None


@pytest.mark.parametrize(
    ("gpu", "engines"),
    [
        ("m40-24gb", ["llama.cpp"]),
        ("p40", ["llama.cpp"]),
        ("v100s-pcie-32gb", ["llama.cpp"]),  # vLLM before 0.20 too
        ("titan-rtx", ["vllm", "sglang", "llama.cpp"]),
        ("rtx-3060-laptop", ["vllm", "sglang", "tensorrt-llm", "llama.cpp"]),
        ("jetson-agx-thor-128gb", ["vllm", "sglang", "tensorrt-llm", "llama.cpp"]),
        ("mi50-32gb", ["llama.cpp"]),  # gfx906
        ("mi100", ["llama.cpp"]),  # gfx908
        ("mi300a", ["vllm", "sglang", "llama.cpp"]),
        ("radeon-rx-6800", ["llama.cpp"]),  # gfx1030
        ("radeon-rx-7600-xt", ["llama.cpp"]),  # gfx1102
        ("radeon-rx-7800-xt", ["vllm", "llama.cpp"]),  # gfx1101
        ("radeon-ai-pro-r9700", ["vllm", "llama.cpp"]),  # gfx1201
        ("radeon-8060s-128gb", ["vllm", "llama.cpp"]),  # gfx1151
        ("arc-b580", ["vllm", "llama.cpp"]),
        ("apple-m4-16gb", ["llama.cpp"]),
        ("tpu-v7x", ["vllm"]),
        ("trainium2", []),
    ],
)
def test_which_engines_a_card_has(gpu: str, engines: list[str]) -> None:
    """vLLM's installation notes of 0.14 and 0.26, SGLang's, TensorRT-LLM's matrix, llama.cpp's
    build notes."""
    found = load_gpu(gpu)
    known = ("vllm", "sglang", "tensorrt-llm", "llama.cpp")
    assert [e for e in known if not_on(e, found) is None] == engines


def test_whole_heads_leave_tensorrt_llm_a_smaller_share() -> None:
    """8 KV heads: 16 ranks keep one each at the price of half, 4 ranks two at their price."""
    model, gpu = parse(load_model_config("llama-3.1-8b")), load_gpu("h100-sxm5-80gb")
    rule = rule_of("tensorrt-llm", model)
    for ranks, share in ((16, 0.45), (32, 0.22), (4, 0.9)):
        options = rule.options(gpu, Deployment(tensor_parallel_size=ranks), 9216, 8)
        assert options.model_dump()["free_gpu_memory_fraction"] == share
    asked = Asked((gpu,), Deployment(tensor_parallel_size=16), 9216, np.array([8]), (8192,))
    cache = int(rule.admission(asked).admitted[0, 0, 0]) * 9216 * 32 * 2 * 128 * 2
    weights = 518_918_144 * 2  # of a rank, whose keys and values of one head are its own
    assert 0 < cache < gpu.memory_bytes - weights
    for name, ranks, share in (("gemma-2b", 8, 0.11), ("deepseek-v3", 8, 0.9)):  # one head; latents
        rule = rule_of("tensorrt-llm", parse(load_model_config(name)))
        options = rule.options(gpu, Deployment(tensor_parallel_size=ranks), 8192, 8)
        assert options.model_dump()["free_gpu_memory_fraction"] == share


def test_names() -> None:
    assert label_of("vllm").startswith("vLLM 0.")
    assert label_of(IDEAL) == "bytes alone"
    with pytest.raises(PlanRefused, match="choose any, ideal, vllm"):
        rule_of("triton", parse(load_model_config("llama-3.1-8b")))
