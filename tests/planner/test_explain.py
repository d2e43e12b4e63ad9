"""Lines of the derivation against hand arithmetic, and each against the bytes it stands for."""

import re

import pytest

from planner.deployment import Deployment
from planner.explain import derivation
from planner.explain.step import Step
from planner.hardware import Gpu, custom_gpu
from planner.hf_config import parse
from planner.model import Model
from planner.plan import make_plan
from planner.workload import Workload
from presets.gpus import load_gpu
from presets.models import load_model_config
from tests.planner.models import DEEPSEEK_V3, GEMMA_3_27B, JAMBA, LLAMA_8B, model

BIG = custom_gpu(1 << 44)
MODELS = {
    "llama": model(LLAMA_8B),
    "gemma": model(GEMMA_3_27B),
    "deepseek": model(DEEPSEEK_V3),
    "jamba": model(JAMBA),
    "mamba": parse(load_model_config("mamba-2.8b-hf")),
    "gpt-oss": parse(load_model_config("gpt-oss-20b")),
}


def line(label: str, of: Model, gpu: Gpu, work: Workload, deployment: Deployment) -> Step:
    steps = derivation(make_plan(of, gpu, deployment, work))
    return next(step for step in steps if step.label == label)


def values(substitution: str) -> list[int]:
    """The products of a substitution, worked out; its words are left out."""
    found = []
    for part in substitution.split("; "):
        sum_ = re.sub(r"(?<=\d),(?=\d)", "", part).replace(" x ", " * ")
        if re.fullmatch(r"(?:min|[\d\s,()+*-])+", sum_):
            found.append(int(eval(sum_)))
    return found


def test_working_memory_of_llama_by_hand() -> None:
    work = Workload(context=32768, concurrency=6)
    given = (MODELS["llama"], load_gpu("l40s"), work, Deployment())
    flash = line("Flash attention workspace", *given)
    # 142 multiprocessors x 4 blocks / 8 KV heads = 71 rows in a wave, of 6 x 32.
    assert flash.substitution == (
        "4 x 32 x 8,192; 4 x 32 x (128 + 1) x min(6 x 32, 71); 71 split rows fill the GPU"
    )
    assert flash.bytes == 1_172_352
    found = line("Activations (estimate)", *given)
    assert found.formula == (
        "larger of: chunk x (widest part of a layer + hidden) x bytes; "
        "sequences x vocabulary x bytes per logit"
    )
    assert found.substitution == (
        "8,192 x (43,008 + 4,096) x 2; 6 x 128,256 x 15; range 733,164,339 to 848,927,129"
    )
    assert found.bytes == 771_751_936


def test_empty_ends_of_blocks_by_hand() -> None:
    work = Workload(context=30_001, concurrency=3)
    label = "Empty ends of last blocks"
    found = line(label, MODELS["llama"], BIG, work, Deployment())
    # 1,876 blocks of 16; 32 layers x 8 heads x 128 x 2 tensors x 2 bytes a token.
    assert found.substitution == "3 x (30,016 - 30,001) x 131,072"
    assert found.bytes == 5_898_240
    # 52 layers keep a window of 1,024, which is whole blocks; 10 of 16 x 128 x 2 x 2 bytes do not.
    found = line(label, MODELS["gemma"], BIG, work, Deployment())
    assert found.substitution == "3 x (30,016 - 30,001) x 81,920"
    found = line(label, MODELS["llama"], BIG, Workload(context=32_768), Deployment())
    assert (found.substitution, found.bytes) == ("every block is full", 0)


def test_activations_of_deepseek_by_hand() -> None:
    work, deployment = Workload(context=8192), Deployment(tensor_parallel_size=8)
    found = line("Activations (estimate)", MODELS["deepseek"], BIG, work, deployment)
    assert found.formula.startswith("largest of: ")
    # Latents out: (128 x 192 + 128 x 256 + 128 x 128) / 8; experts: 8 x (7168 + 7168);
    # keys and values of 16 heads: 16 x (128 + 128).
    assert found.substitution.split("; ")[:4] == [
        "8,192 x (9,216 + 7,168) x 2",
        "(8,192 x 2 x 7,168 + 8,192 x 114,688) x 2",
        "(8,192 x (9,216 + 7,168) + 8,192 x 4,096) x 2",
        "1 x 129,280 x 15",
    ]
    assert found.bytes == (8192 * 2 * 7168 + 8192 * 114688) * 2 == 2_113_929_216


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("context", [1, 100, 3001, 100_000])
@pytest.mark.parametrize("pp", [1, 2])
def test_substitutions_come_to_the_bytes(name: str, context: int, pp: int) -> None:
    work = Workload(context=context, concurrency=7, beam_width=2)
    deployment = Deployment(max_num_batched_tokens=80_000, pipeline_parallel_size=pp)
    labels = ("Flash attention workspace", "Activations (estimate)", "Empty ends of last blocks")
    for label in labels:
        found = line(label, MODELS[name], BIG, work, deployment)
        assert max(values(found.substitution), default=0) == found.bytes
