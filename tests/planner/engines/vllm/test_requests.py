"""Requests that fit at once: vLLM's admission, replayed one newcomer at a time."""

import pytest

from planner.deployment import Deployment
from planner.engines.engine import EngineFigures
from planner.engines.vllm.figures import vllm_figures
from planner.engines.vllm.kv_pages import LayerSpec
from planner.engines.vllm.options import Settings, VllmOptions
from planner.engines.vllm.pool import make_pool
from planner.engines.vllm.requests import blocks_of, requests_in
from planner.engines.vllm.versions import rules_of
from planner.hf_config import parse
from planner.units import GIB, ceil_div
from planner.workload import Workload
from presets.gpus import load_gpu
from presets.models import load_model_config

FULL = LayerSpec("full", 16, 4096, (8, 128))
WINDOW, BLOCK = 1024, 16


def settings(version: str, batched: int) -> Settings:
    return Settings(rules_of(version), 0.9, 131072, 256, batched, BLOCK, True, True, 0)


def admitted(blocks: int, context: int, batched: int, batches: int, windows: int) -> int:
    """A newcomer enters when all of its prompt, capped where windows recycle, fits into what is
    free; once decoded it holds its context and its windows. One full group beside the windows."""
    free, count = blocks - 1, 0
    whole = ceil_div(context, BLOCK)
    cap = ceil_div(min(WINDOW - 1 + batches * batched, context), BLOCK) + 1
    held = ceil_div(min(WINDOW - 1 + batches, context), BLOCK) + 1
    while whole + windows * cap <= free:
        free -= whole + windows * held
        count += 1
    return count


@pytest.mark.parametrize(("version", "batches"), [("0.33.0", 2), ("0.20.2", 1)])
@pytest.mark.parametrize("context", [512, 8192, 100_000])
@pytest.mark.parametrize("batched", [2048, 16384])
def test_windows_are_held_only_while_prompts_enter(
    version: str, batches: int, context: int, batched: int
) -> None:
    window = LayerSpec("sliding", BLOCK, 4096, (8, 128), WINDOW)
    chosen = settings(version, batched)
    pool = make_pool(
        [FULL, *[window] * 3], [10 * GIB], chosen.rules, max_model_len=131072,
        max_num_batched_tokens=batched,
    )  # fmt: skip
    assert len(pool.groups) == 4
    found = requests_in(pool, chosen, Workload(context=context), Deployment())
    assert found == admitted(pool.num_blocks, context, batched, batches, 3)


def test_full_attention_holds_what_it_enters_with() -> None:
    chosen = settings("0.33.0", 8192)
    pool = make_pool(
        [FULL] * 4, [4 * GIB], chosen.rules, max_model_len=131072, max_num_batched_tokens=8192
    )
    assert blocks_of(pool.groups, chosen, Deployment(), 8192) == (512, 0)
    found = requests_in(pool, chosen, Workload(context=8192), Deployment())
    assert found == (pool.num_blocks - 1) // 512


def test_the_batch_limit_holds_back_what_the_pool_admits() -> None:
    """256 sequences run on an L4 unless --max-num-seqs says more."""
    config = load_model_config("llama-3.2-1b")
    work = Workload(context=256, concurrency=600)

    def planned(**options: int) -> EngineFigures:
        return vllm_figures(
            parse(config, "m"), load_gpu("l4"), Deployment(), VllmOptions(**options), work,
            config=config,
        )  # fmt: skip

    usual, more = planned(), planned(max_num_seqs=600)
    assert usual.requests == 256
    assert more.requests == 600
    assert "--max-num-seqs raises that" in " ".join(usual.notes)
    assert usual.kv_cache.bytes > more.kv_cache.bytes
