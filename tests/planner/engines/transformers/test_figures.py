"""transformers: caches as executed, and what they copy."""

import pytest

from planner.deployment import Deployment
from planner.engines.transformers.cache import Caches
from planner.engines.transformers.figures import transformers_figures
from planner.engines.transformers.options import TransformersOptions
from planner.errors import PlanRefused
from planner.units import MIB
from planner.workload import Workload
from presets.gpus import load_gpu
from tests.planner.models import DEEPSEEK_V3, GEMMA_3_27B, LLAMA_8B, model

H100 = load_gpu("h100-sxm5-80gb")
WINDOWED = {
    **GEMMA_3_27B,
    "num_hidden_layers": 1,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "sliding_window": 1024,
    "sliding_window_pattern": 2,
}


def caches(config: dict[str, object], **options: object) -> Caches:
    return Caches(model(config), TransformersOptions.model_validate(options))


def test_a_window_is_whole_after_prefill() -> None:
    """Executed: 32,768 tokens at window 1,024 store 64 MiB per tensor, 2 MiB after a step."""
    found = caches(WINDOWED)
    after_a_step = found.held(1, 32768)
    assert after_a_step == 2 * 1023 * 8 * 128 * 2
    assert after_a_step / 2 / MIB == pytest.approx(2, rel=0.001)
    copies = 2 * found.largest(1, 32768)
    during_prefill = after_a_step + found.prefill_extra(1, 32768) - copies
    assert during_prefill == 2 * 64 * MIB


def test_growing_copies_two_tensors_of_one_layer() -> None:
    """KV = 2 L B H T d b; torch.cat holds two more of a single layer's K or V, not of all."""
    found = caches(LLAMA_8B)
    assert found.held(4, 8192) == 2 * 32 * 4 * 8 * 8192 * 128 * 2
    assert found.step_extra(4, 8192) == 2 * (4 * 8 * 8192 * 128 * 2)


def test_a_static_cache_is_reserved_at_once() -> None:
    found = caches(LLAMA_8B, cache_implementation="static", max_cache_len=16384)
    assert found.held(1, 100) == found.held(1, 16384) == 131072 * 16384
    assert found.step_extra(1, 100) == 0
    windowed = caches(WINDOWED, cache_implementation="static", max_cache_len=16384)
    assert windowed.held(1, 100) == 2 * 1024 * 8 * 128 * 2


def test_a_quantised_cache_saves_the_past_and_dequantises_whole_layers() -> None:
    """4 bits and 4 B per 64 elements, the latest 128 tokens in full."""
    found = caches(LLAMA_8B, cache_implementation="quantized", nbits=4)
    elements = 8 * 128 * (8192 - 128)
    assert found.held(1, 8192) == 64 * (elements // 2 + elements // 64 * 4 + 128 * 8 * 128 * 2)
    assert found.step_extra(1, 8192) == 4 * 8192 * 8 * 128 * 2


def test_an_offloaded_cache_lives_on_the_host() -> None:
    found = caches(LLAMA_8B, cache_implementation="offloaded")
    assert found.offloaded(1, 8192) == 131072 * 8192
    assert found.held(1, 8192) == 2 * 131072 * 8192 // 32


def test_latents_are_cached_as_they_are_and_expanded_to_attend() -> None:
    """5.23 updates the cache with latent and rotary key, then projects all heads."""
    found = caches(DEEPSEEK_V3)
    assert found.held(1, 1000) == 61 * 576 * 2 * 1000
    assert found.step_extra(1, 1000) == 1000 * (128 * (192 + 128) * 2 + 2 * 576 * 2)


def test_eager_attention_has_its_scores() -> None:
    found = caches(LLAMA_8B, attn_implementation="eager")
    assert found.score_bytes(2, 4096, 4096) == 2 * 32 * 4096 * 4096 * 6
    assert caches(LLAMA_8B).score_bytes(2, 4096, 4096) == 0


def test_batches_grow_until_memory_is_full() -> None:
    work = Workload(context=8192)
    found = transformers_figures(model(LLAMA_8B), H100, Deployment(), TransformersOptions(), work)
    assert found.refused is None
    at = [
        transformers_figures(
            model(LLAMA_8B), H100, Deployment(), TransformersOptions(),
            Workload(context=8192, concurrency=n),
        )
        for n in (found.requests, found.requests + 1)
    ]  # fmt: skip
    assert (at[0].refused, at[1].refused is None) == (None, False)
    assert at[0].requests == found.requests
    assert 10 < found.requests < 60
    small = transformers_figures(
        model(LLAMA_8B), H100, Deployment(),
        TransformersOptions(cache_implementation="quantized", nbits=2), work,
    )  # fmt: skip
    assert small.requests > found.requests


def test_what_it_has_not_is_refused() -> None:
    for deployment, message in (
        (Deployment(kv_cache_dtype="fp8"), "cache_implementation quantized"),
        (Deployment(pipeline_parallel_size=2), "tensor parallel only"),
    ):
        with pytest.raises(PlanRefused, match=message):
            transformers_figures(model(LLAMA_8B), H100, deployment, TransformersOptions())


def test_a_gguf_file_is_dequantised_while_it_is_loaded() -> None:
    """8,030,261,248 parameters at 2 bytes, not the 4.6 GiB of the file."""
    found = transformers_figures(
        model(LLAMA_8B), H100, Deployment(weights_dtype="q4_k_m"), TransformersOptions(),
        name="me/llama",
    )  # fmt: skip
    plain = transformers_figures(model(LLAMA_8B), H100, Deployment(), TransformersOptions())
    assert found.components["weights"].bytes == plain.components["weights"].bytes
    assert found.components["weights"].bytes == pytest.approx(2 * 8_030_261_248, rel=3e-3)
    assert 'gguf_file="' in found.command
    assert '-Q4_K_M.gguf", dtype="bfloat16"' in found.command
    assert any("dequantises" in note for note in found.notes)
