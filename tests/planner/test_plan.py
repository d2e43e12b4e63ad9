"""The whole plan against hand derivations, and its properties."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.capacity import fewest_gpus, largest, mildest_kv_cache, mildest_weights
from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.explain import derivation
from planner.findings import findings
from planner.fixes import fixes
from planner.hardware import Gpu, custom_gpu
from planner.hf_config import parse
from planner.model import Model
from planner.plan import Plan, make_plan
from planner.units import GIB, MIB, format_bytes
from planner.verdict import verdict
from planner.workload import Workload
from presets.gpus import load_gpu
from presets.models import load_model_config
from tests.planner.models import DEEPSEEK_V3, GEMMA_3_27B, JAMBA, LLAMA_8B, model

MODELS = {
    "llama": model(LLAMA_8B),
    "gemma": model(GEMMA_3_27B),
    "deepseek": model(DEEPSEEK_V3),
    "jamba": model(JAMBA),
}
BIG = custom_gpu(1 << 44)
H100 = custom_gpu(int(79.19 * GIB))


def plan(
    of: Model = MODELS["llama"],
    gpu: Gpu = BIG,
    *,
    context: int = 8192,
    concurrency: int = 1,
    prefix: int = 0,
    beams: int = 1,
    prompt: int | None = None,
    **deployment: Any,
) -> Plan:
    work = Workload(
        context=context,
        concurrency=concurrency,
        shared_prefix_tokens=prefix,
        beam_width=beams,
        prompt_tokens=prompt,
    )
    return make_plan(of, gpu, Deployment(**deployment), work)


def test_llama_by_hand() -> None:
    found = plan(context=32768, concurrency=10)
    assert found.weights_bytes == 8_030_261_248 * 2
    assert found.kv_bytes_per_token == 2 * 32 * 8 * 128 * 2
    assert found.kv_bytes_per_sequence == 4 * GIB
    assert found.parts.kv_cache == 40 * GIB
    assert found.score_matrix_bytes == 32 * 32768**2 * 2
    # 8192 tokens x 2 B x (3 x 14336 + 4096) against 10 x 128256 logits x 15 B.
    assert found.activations.bytes == 8192 * 2 * (3 * 14336 + 4096) == 736 * MIB
    assert found.parts.block_tables == 4 * 10 * 2048


def test_gemma_keeps_ten_full_layers_and_windows() -> None:
    found = plan(MODELS["gemma"], context=131072)
    per_layer = 2 * 16 * 128 * 2
    assert found.kv_bytes_per_sequence == per_layer * (10 * 131072 + 52 * 1024)
    assert found.kv_bytes_per_token_past_windows == 10 * per_layer == 81920


def test_jamba_state_does_not_grow() -> None:
    """28 of 32 layers: 8,192 channels x 4 columns in 16 bits, and x 16 states in 32."""
    short, long = (plan(MODELS["jamba"], context=n) for n in (1024, 131072))
    assert (
        short.state_bytes_per_sequence
        == long.state_bytes_per_sequence
        == 28 * 8192 * (4 * 2 + 16 * 4)
    )
    assert long.kv_bytes_per_sequence == 4 * 2 * 8 * 128 * 2 * 131072


def test_stages_of_llama_carry_embedding_and_head_at_the_ends() -> None:
    found = plan(pipeline_parallel_size=4)
    layer = 4096 * (4096 + 1024 + 1024 + 4096) + 3 * 4096 * 14336 + 2 * 4096
    table = 128256 * 4096
    sizes = [stage.weights_bytes for stage in found.footprint.stages]
    assert sizes == [
        2 * (8 * layer + table),
        2 * 8 * layer,
        2 * 8 * layer,
        2 * (8 * layer + table + 4096),
    ]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("pp", [1, 3, 4])
def test_stages_cover_the_whole(name: str, pp: int) -> None:
    one, many = (
        plan(MODELS[name], context=5000),
        plan(MODELS[name], context=5000, pipeline_parallel_size=pp),
    )
    stages = many.footprint.stages
    tied = MODELS[name].tie_word_embeddings and pp > 1
    copy = 2 * MODELS[name].embedding[0].parameters if tied else 0
    assert sum(s.weights_bytes for s in stages) == one.stage.weights_bytes + copy
    per_sequence = sum(s.sequence_bytes(5000, 16) for s in stages)
    assert per_sequence == one.stage.sequence_bytes(5000, 16)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("tp", [2, 4, 8])
def test_ranks_cover_the_whole(name: str, tp: int) -> None:
    one, split = plan(MODELS[name]), plan(MODELS[name], tensor_parallel_size=tp)
    assert split.stage.weights_bytes * tp >= one.stage.weights_bytes
    assert split.parts.kv_cache * tp >= one.parts.kv_cache


sizes = st.tuples(st.integers(1, 300_000), st.integers(1, 5_000))


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(sorted(MODELS)), at=sizes, more=st.integers(0, 5000))
def test_more_never_costs_less(name: str, at: tuple[int, int], more: int) -> None:
    context, users = at
    base = plan(MODELS[name], context=context, concurrency=users).total_bytes_per_gpu
    longer = plan(MODELS[name], context=context + more, concurrency=users)
    busier = plan(MODELS[name], context=context, concurrency=users + more)
    assert longer.total_bytes_per_gpu >= base
    assert busier.total_bytes_per_gpu >= base


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(["llama", "gemma", "jamba"]),
    at=sizes,
    room=st.integers(1, 200),
    tp=st.sampled_from([1, 2, 8]),
    dp=st.sampled_from([1, 3]),
)
def test_backwards_answers_are_tight(
    name: str, at: tuple[int, int], room: int, tp: int, dp: int
) -> None:
    context, users = at
    gpu = custom_gpu(room * GIB)
    sizes = {"tensor_parallel_size": tp, "data_parallel_size": dp}
    found = plan(MODELS[name], gpu, context=context, concurrency=users, **sizes)
    longest, most = found.max_context_tokens, found.max_concurrency
    assert longest is not None
    assert most is not None
    if longest:
        assert plan(MODELS[name], gpu, context=longest, concurrency=users, **sizes).fits
    assert not plan(MODELS[name], gpu, context=longest + 1, concurrency=users, **sizes).fits
    if most:
        assert plan(MODELS[name], gpu, context=context, concurrency=most, **sizes).fits
    assert not plan(MODELS[name], gpu, context=context, concurrency=most + 1, **sizes).fits


@given(
    fixed=st.integers(0, 10**6),
    slope=st.integers(0, 1000),
    step=st.integers(1, 50),
    budget=st.integers(0, 10**7),
    start=st.integers(1, 10**4),
)
def test_largest_finds_the_edge_of_a_staircase(
    fixed: int, slope: int, step: int, budget: int, start: int
) -> None:
    def total(n: int) -> int:
        return fixed + slope * (n // step) * step

    limit = 10**4
    found = largest(total, budget, limit, start)
    assert found == limit or total(found + 1) > budget
    assert found == 0 or total(found) <= budget


def test_attention_free_models_have_no_longest_context() -> None:
    state_space = model(
        {
            "model_type": "mamba",
            "hidden_size": 2560,
            "num_hidden_layers": 64,
            "vocab_size": 50280,
            "state_size": 16,
            "expand": 2,
            "conv_kernel": 4,
            "time_step_rank": 160,
        }
    )
    found = plan(state_space, H100, max_num_batched_tokens=2048)
    # 5,120 channels: 4 columns in 16 bits, 16 states in 32.
    assert found.state_bytes_per_sequence == 64 * 5120 * (4 * 2 + 16 * 4)
    assert found.max_context_tokens is None


def test_gqa_with_all_heads_is_mha() -> None:
    same = model(LLAMA_8B, num_key_value_heads=32)
    absent = dict(LLAMA_8B)
    del absent["num_key_value_heads"]
    assert plan(same).total_bytes_per_gpu == plan(model(absent)).total_bytes_per_gpu
    assert plan(same).kv_bytes_per_token == 4 * plan().kv_bytes_per_token


def test_shared_prefix_is_stored_once() -> None:
    alone, shared = (plan(concurrency=10, prefix=p) for p in (0, 4100))
    saved = 9 * 4096 * 131072
    assert alone.parts.kv_cache - shared.parts.kv_cache == saved
    assert shared.kv_bytes == alone.kv_bytes - saved
    assert alone.total_bytes_per_gpu - shared.total_bytes_per_gpu == saved


def test_beams_share_their_prompt() -> None:
    found = plan(context=1000, concurrency=2, beams=4, prompt=600)
    whole = 600 // 16 * 16
    assert found.parts.kv_cache == 131072 * 2 * (4 * 1000 - 3 * whole)
    assert found.kv_bytes == found.parts.kv_cache


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("pp", [1, 2])
def test_derivation_adds_up(name: str, pp: int) -> None:
    found = plan(
        MODELS[name], H100, context=3001, concurrency=7, prefix=100, beams=2,
        tensor_parallel_size=2, pipeline_parallel_size=pp,
    )  # fmt: skip
    steps = derivation(found)
    assert sum(step.bytes for step in steps if step.in_total) == found.total_bytes_per_gpu
    assert found.parts.total == found.total_bytes_per_gpu
    low, high = found.range_bytes
    assert low < found.total_bytes_per_gpu < high


def test_a_fit_that_hangs_on_a_shared_prefix_says_so() -> None:
    shared = plan(MODELS["llama"], H100, context=60_000, concurrency=12, prefix=50_000)
    alone = plan(MODELS["llama"], H100, context=60_000, concurrency=12)
    assert shared.fits
    assert not alone.fits
    assert "50,000 of them shared by all" in verdict(shared)
    assert "shared" not in verdict(alone)
    found = next(f for f in findings(shared) if f.code == "prefix_needed")
    assert f"would be {format_bytes(-alone.headroom_bytes)} short" in found.message
    little = plan(MODELS["llama"], H100, context=1_000, concurrency=2, prefix=500)
    assert all(f.code != "prefix_needed" for f in findings(little))


def test_every_fix_alone_makes_it_fit() -> None:
    found = plan(MODELS["llama"], custom_gpu(24 * GIB), context=32768, concurrency=3)
    assert not found.fits
    offered = fixes(found)
    assert len(offered) == 3
    for fix in offered:
        assert make_plan(found.model, found.gpu, fix.deployment, fix.workload).fits
    assert findings(found)[0].code == "does_not_fit"


def test_smaller_chunks_are_offered_where_they_do() -> None:
    """A step of 8,192 tokens holds 736 MiB of Llama, (3 x 14,336 + 4,096) x 2 B a token, and
    attention's workspace of 1 MiB shrinks with it."""
    full = plan(context=65536, concurrency=1).total_bytes_per_gpu
    step = 8192 * (3 * 14336 + 4096) * 2
    for short, tokens in ((1, 4096), (step // 2 + MIB, 2048)):
        found = plan(gpu=custom_gpu(full - short), context=65536)
        first = fixes(found)[0]
        assert first.deployment == found.deployment.replace(max_num_batched_tokens=tokens)
    beyond = fixes(plan(gpu=custom_gpu(full - step * 3 // 4 - MIB), context=65536))
    assert all(fix.deployment.max_num_batched_tokens == 8192 for fix in beyond)


def test_tensor_parallelism_over_machines_is_a_warning() -> None:
    for tp, over in ((8, False), (16, True)):
        found = findings(plan(MODELS["deepseek"], tensor_parallel_size=tp))
        said = [f.message for f in found if f.code == "tensor_parallel_over_network"]
        assert bool(said) == over
        assert all("2 pipeline stages of 8" in message for message in said)
    threes = H100.model_copy(update={"machine_gpus": 3})
    uneven = findings(plan(MODELS["deepseek"], gpu=threes, tensor_parallel_size=4))
    assert any("2 pipeline stages of 2" in finding.message for finding in uneven)


def test_tensor_parallelism_inside_a_rack_s_links_is_no_warning() -> None:
    """GB200 and GB300 NVL72: 72 GPUs in one NVLink domain, over 18 machines."""
    for card in ("gb200-186gb", "gb300-288gb"):
        for tp, over in ((16, False), (64, False), (128, True)):
            found = findings(plan(MODELS["deepseek"], gpu=load_gpu(card), tensor_parallel_size=tp))
            said = [f.message for f in found if f.code == "tensor_parallel_over_network"]
            assert bool(said) == over
            assert all("racks, whose links join 72 of these GPUs" in message for message in said)


def test_a_context_is_cut_by_half_at_most_and_no_prompt_is() -> None:
    """In formats of which no smaller ones are left to offer."""
    card, formats = custom_gpu(8 * GIB), ("int4", "int4_per_token_head")

    def planned(context: int, **work: int) -> Plan:
        return plan(gpu=card, context=context, weights_dtype=formats[0],
                    kv_cache_dtype=formats[1], **work)  # fmt: skip

    longest = planned(1).max_context_tokens
    assert longest is not None

    def offered(context: int, **work: int) -> bool:
        found = planned(context, **work)
        cuts = [fix.workload for fix in fixes(found) if fix.workload.context < context]
        assert all(cut.context == longest for cut in cuts)
        return bool(cuts)

    assert offered(longest + 1)
    assert offered(2 * longest)
    assert not offered(2 * longest + 1)
    assert not offered(longest + 100, prompt=longest - 99)
    assert offered(longest + 100, prompt=longest - 100)
    assert not offered(longest + 100, prefix=longest - 99)


def test_copies_of_latents_are_split_before_a_format_is_touched() -> None:
    """DeepSeek-V3.1 on 8 H200: 12 x 8.58 GiB on every rank, half of it does with 2 parts."""
    model = parse(load_model_config("deepseek-v3.1"))
    base = Deployment(tensor_parallel_size=8)
    work = Workload(context=131072, concurrency=12)
    first = fixes(make_plan(model, load_gpu("h200-sxm-141gb"), base, work))[0]
    assert first.sentence == "split the cache 2 ways (decode context parallel 2)"
    split = make_plan(model, load_gpu("h200-sxm-141gb"), first.deployment, first.workload)
    assert split.fits
    assert split.parts.kv_cache == 12 * 131072 * 70_272 // 2
    one = make_plan(model, load_gpu("h200-sxm-141gb"), Deployment(), Workload(context=131072))
    assert not any("split the cache" in fix.sentence for fix in fixes(one))


def test_backwards_over_formats_and_gpus() -> None:
    gpu = custom_gpu(16 * GIB)
    work = Workload(context=8192, concurrency=4)
    base = Deployment()
    spread = fewest_gpus(MODELS["llama"], gpu, base, work)
    assert spread is not None
    assert spread.gpus == 2
    assert mildest_weights(MODELS["llama"], gpu, base, work) == "fp8"
    assert mildest_kv_cache(MODELS["llama"], gpu, base, work) is None


def test_machines_of_one_gpu_are_joined_by_stages() -> None:
    """A Jetson and a GH200 stand alone in their machines: layers in stages, over the network."""
    for gpu_id, gpus in (("jetson-agx-orin-64gb", 4), ("gh200-96gb", 2)):
        found = make_plan(
            parse(load_model_config("llama-3.3-70b-instruct")), load_gpu(gpu_id), Deployment(),
            Workload(),
        )  # fmt: skip
        spread = next(f for f in fixes(found) if "GPUs" in f.sentence)
        assert f"use {gpus} GPUs ({gpus} pipeline stages)" in spread.sentence


def test_unknown_formats_are_refused() -> None:
    with pytest.raises(PlanRefused, match="banana"):
        plan(weights_dtype="banana")
    with pytest.raises(PlanRefused, match="banana"):
        plan(kv_cache_dtype="banana")


def test_a_context_beyond_the_stated_one_is_a_finding() -> None:
    codes = {f.code for f in findings(plan(context=200_000))}
    assert "beyond_stated_context" in codes


def test_replicated_cache_is_a_finding() -> None:
    codes = {f.code for f in findings(plan(MODELS["deepseek"], tensor_parallel_size=8))}
    assert "cache_replicated" in codes


def test_tokens_split_over_gpus_are_not_said_to_be_replicated() -> None:
    """One latent head on 8 GPUs, its tokens split 8 or 2 ways."""

    def codes(size: int) -> dict[str, str]:
        shape = {"tensor_parallel_size": 8, "decode_context_parallel_size": size}
        return {f.code: f.message for f in findings(plan(MODELS["deepseek"], **shape))}

    assert not {"cache_replicated", "cache_kept_several_times"} & set(codes(8))
    assert "it is kept 4 times" in codes(2)["cache_kept_several_times"]
    assert "cache_replicated" not in codes(2)


def test_the_sparse_layout_holds_a_model_with_an_indexer() -> None:
    """61 layers of 656 bytes, and 132 of the indexer's keys; no engine expands that layout."""
    config = {**DEEPSEEK_V3, "model_type": "deepseek_v32", "num_nextn_predict_layers": 0}
    config |= {"index_n_heads": 64, "index_head_dim": 128, "index_topk": 2048}
    found = plan(model(config), kv_cache_dtype="fp8_ds_mla")
    assert found.kv_bytes_per_token == 61 * (656 + 132) == 48_068
    assert found.kv_bytes_per_token_expanded is None
    assert "latent_cache" not in {f.code for f in findings(found)}


def test_the_sparse_layout_holds_deepseek_v4_which_vllm_keeps_in_it() -> None:
    """DeepSeek-V4-Flash, 2 + 21 + 20 layers: entries of 584 bytes as vLLM 0.33.0 packs them for
    127 past tokens and for every 4 or 128, indexer keys of 132, and in fp32 the values and gates
    of 4 tokens, 512 and 128 wide."""
    flash = parse(load_model_config("deepseek-v4-flash"), "deepseek-v4-flash")
    tokens = 32_768
    found = plan(flash, context=tokens, kv_cache_dtype="fp8_ds_mla")
    entries = 43 * 127 + 21 * tokens // 4 + 20 * tokens // 128
    by_hand = 584 * entries + 132 * 21 * tokens // 4 + 21 * 4 * 2 * 4 * (512 + 128)
    assert found.kv_bytes_per_sequence == by_hand


def test_latents_stand_beside_their_expanded_form() -> None:
    found = plan(MODELS["deepseek"])
    assert found.kv_bytes_per_token == 70_272
    assert found.kv_bytes_per_token_expanded == 61 * 128 * (192 + 128) * 2
    assert plan().kv_bytes_per_token_expanded is None


def test_a_ring_splits_the_cache_and_says_what_it_sends() -> None:
    found = plan(context=131072, context_parallel_size=4)
    assert found.parts.kv_cache == 131072 * 131072 // 4
    assert found.ring is not None
    assert found.ring.bytes_per_step == 32768 * 2 * 8 * 128 * 2
    assert found.ring.steps == 3


def test_a_tower_takes_memory_of_the_first_stage() -> None:
    config = load_model_config("gemma-3-27b-it")
    found = plan(parse(config), pipeline_parallel_size=2)
    first, last = found.footprint.stages
    # 27,432,406,640 with the tower and its projector, 27,009,346,304 without.
    assert first.weights["towers"] == 2 * (27_432_406_640 - 27_009_346_304)
    assert "towers" not in last.weights


def test_a_laptop_takes_no_second_gpu() -> None:
    """Llama 3.1 8B in bf16 is 14.96 GiB, a 3080 Laptop 15.62: one layer stack over two machines."""
    short = plan(gpu=load_gpu("rtx-3080-laptop-16gb"))
    assert not short.fits
    assert any(
        fix.sentence == "use 2 GPUs (2 pipeline stages), each in a machine of its own"
        for fix in fixes(short)
    )
