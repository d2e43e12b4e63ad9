"""Activations against Korthikanti et al. 2022 (table 2), schedules against their papers."""

from typing import Any

import pytest

from planner.hf_config import parse
from planner.training.capacity import limits
from planner.training.plan import TrainingPlan, plan_training
from planner.training.recipe import Lora, Recipe
from planner.training.saved import kept_bytes, layer_saved
from planner.training.schedule import bubble, in_flight
from presets.gpus import load_gpu
from presets.models import load_model_config
from tests.planner.models import DEEPSEEK_V3, JAMBA, LLAMA_8B

GPT = {"22B": (6144, 64, 48), "175B": (12288, 96, 96), "530B": (20480, 128, 105)}
S = 2048


def layer_bytes(size: str, **recipe: Any) -> tuple[float, float, float]:
    """Bytes kept by one GPT layer per token and width; and a s / h, t of the formulas."""
    h, heads, layers = GPT[size]
    model = parse({
        "model_type": "gpt2", "n_embd": h, "n_layer": layers, "n_head": heads,
        "vocab_size": 51200, "n_positions": S,
    })  # fmt: skip
    r = Recipe(
        sequence_length=S, dropout=True, attention="naive_16_bit", micro_batch_size=4, **recipe
    )  # fmt: skip
    kept = kept_bytes(layer_saved(model.groups[0], h, r), r, h)
    return kept / (S * 4 * h), heads * S / h, r.tensor_parallel_size


@pytest.mark.parametrize("size", GPT)
def test_korthikanti_table_2(size: str) -> None:
    kept, scores, _ = layer_bytes(size)
    assert kept == 34 + 5 * scores
    kept, scores, t = layer_bytes(size, tensor_parallel_size=8, sequence_parallel=False)
    assert kept == 10 + 24 / t + 5 * scores / t
    kept, scores, t = layer_bytes(size, tensor_parallel_size=8)
    assert kept == (34 + 5 * scores) / t
    kept, _, t = layer_bytes(size, tensor_parallel_size=8, recomputation="selective")
    assert kept == 34 / t
    kept, _, _ = layer_bytes(
        size, tensor_parallel_size=8, sequence_parallel=False, recomputation="full"
    )
    assert kept == 2


@pytest.mark.parametrize("attention", ["naive", "naive_16_bit"])
@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_pairs_keep_what_autograd_saves_of_them(
    attention: Any, dropout: bool, precision: Any
) -> None:
    """transformers' eager attention casts its fp32 softmax back: 6 B a pair, 2 if it did not."""
    torch = pytest.importorskip("torch")
    heads, s, width = 2, 64, 16
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    q, k, v = (torch.randn(heads, s, width, dtype=dtype, requires_grad=True) for _ in range(3))
    softmax_in = torch.float32 if attention == "naive" else dtype
    kept: dict[int, int] = {}

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes() if tensor.shape[-2:] == (s, s) else 0
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        scores = (q @ k.transpose(-1, -2)) * width**-0.5
        found = torch.softmax(scores, -1, dtype=softmax_in).to(dtype)
        if dropout:
            found = torch.native_dropout(found, 0.1, True)[0]
        _ = found @ v
    config = {**LLAMA_8B, "num_attention_heads": heads, "num_key_value_heads": heads}
    r = Recipe(attention=attention, dropout=dropout, precision=precision)
    saved = layer_saved(parse(config).groups[0], 4096, r)
    assert sum(kept.values()) == s * s * sum(each.bytes_per_pair for each in saved)


def planned(config: Any = LLAMA_8B, **recipe: Any) -> TrainingPlan:
    return plan_training(parse(config), load_gpu("h100-sxm5-80gb"), Recipe(**recipe))


def test_a_llama_layer_by_hand() -> None:
    """4h norms, 2h + 2h inputs, q, k, v, o, 4 B lse a head, gate, up, product."""
    plan = planned(sequence_length=1024)
    expected = 1024 * (
        2 * 2 * 4096 + 2 * 2 * 4096 + 2 * 4096 + 2 * 2 * 1024 + 2 * 4096 + 4 * 32 + 3 * 2 * 14336
    )
    assert plan.stage.parts[0].kept_bytes == expected
    eager = planned(sequence_length=1024, fused_kernels=False)
    assert eager.stage.parts[0].kept_bytes == expected + 1024 * 2 * 14336


def test_flash_grows_linearly_and_naive_with_the_square() -> None:
    for attention, low, high in (("flash", 2.0, 2.0), ("naive", 2.8, 4.0)):
        one, two = (
            planned(sequence_length=n, attention=attention).stage.parts[0].kept_bytes
            for n in (16384, 32768)
        )
        assert low <= two / one <= high


@pytest.mark.parametrize(
    ("attention", "precision", "expected"),
    [("naive", "bf16", 12), ("naive", "fp16", 10), ("naive_16_bit", "bf16", 6)],
)
def test_scores_backward_as_an_h200_measured_it(
    attention: Any, precision: Any, expected: int
) -> None:
    """Per pair, above what is kept, while the gradient of a 2 B probability is at hand: torch 2.11
    took 12 B where bf16 scores went through an fp32 softmax, 10 where fp16 ones did (each with 2 B
    of cast probabilities freed before), and 4 for a softmax in 16 bits beside that gradient of 2.
    """
    copy = 2 if attention == "naive" else 0
    short, long, longer = (
        planned(sequence_length=s, attention=attention, precision=precision).stage.parts[0].moments
        for s in (4096, 8192, 12288)
    )
    # What grows with the square of the length, from its second difference.
    second = longer.attention - 2 * long.attention + short.attention
    assert second == 2 * 32 * 4096**2 * (expected - copy)


def test_a_tied_heads_gradient_waits_for_the_embeddings() -> None:
    """autograd adds both before it stores them: 32,000 x 4,096 numbers of 2 B meanwhile."""
    config = {**LLAMA_8B, "vocab_size": 32000}
    recipe = {"recomputation": "full", "sequence_length": 8192}
    tied, untied = (
        planned({**config, "tie_word_embeddings": tie}, **recipe).stage.layer_peak_bytes
        for tie in (True, False)
    )
    assert tied - untied == 32000 * 4096 * 2
    frozen = {**recipe, "lora": Lora(targets="all")}
    tied, untied = (
        planned({**config, "tie_word_embeddings": tie}, **frozen).stage.layer_peak_bytes
        for tie in (True, False)
    )
    assert tied == untied


def test_a_moe_layer_keeps_top_k_tokens() -> None:
    """Mixtral, per token: two experts' gate, up, product, their inputs and outputs."""
    plan = planned(load_model_config("mixtral-8x7b-v0.1"), sequence_length=1024)
    names = {s.name: s.bytes_per_token for s in plan.stage.parts[0].saved}
    assert names["expert activation inputs"] == 2 * 2 * 2 * 14336
    assert names["expert activation output"] == 2 * 2 * 14336
    assert names["tokens by expert"] == names["expert outputs"] == 2 * 2 * 4096


def test_lora_on_attention_keeps_no_feed_forward_inputs() -> None:
    names = {s.name for s in planned(lora=Lora(targets="attention")).stage.parts[0].saved}
    assert "feed-forward input" not in names
    assert {"attention input", "activation inputs"} <= names


def test_full_recomputation_brings_one_layer_back() -> None:
    plan = planned(recomputation="full", sequence_length=65536, loss="chunked")
    whole = planned(sequence_length=65536).stage.parts[0].kept_bytes
    assert plan.stage.parts[0].kept_bytes == 2 * 4096 * 65536
    assert plan.stage.parts[0].moments.recomputed == whole


@pytest.mark.parametrize(
    ("schedule", "batches", "expected"),
    [
        ("gpipe", 16, [16, 16, 16, 16]),
        ("1f1b", 16, [4, 3, 2, 1]),
        ("1f1b", 2, [2, 2, 2, 1]),
        ("interleaved", 16, [4 * (1 + 3 / 8), 4.5, 3.5, 2.5]),
    ],
)
def test_micro_batches_in_flight(schedule: str, batches: int, expected: list[float]) -> None:
    r = Recipe(pipeline_parallel_size=4, pipeline_schedule=schedule, virtual_stages=2,
               gradient_accumulation_steps=batches)  # fmt: skip
    assert [float(in_flight(r, i)) for i in range(4)] == expected


def test_bubbles() -> None:
    r = Recipe(pipeline_parallel_size=4, gradient_accumulation_steps=16)
    assert float(bubble(r)) == 3 / 16
    assert float(bubble(r.replace(pipeline_schedule="interleaved", virtual_stages=4))) == 3 / 64


@pytest.mark.parametrize("config", [LLAMA_8B, DEEPSEEK_V3, JAMBA])
@pytest.mark.parametrize("recomputation", ["none", "full"])
def test_limits_are_tight(config: Any, recomputation: str) -> None:
    plan = planned(
        config, sharding="zero3", data_parallel_size=1024, sequence_length=256,
        recomputation=recomputation,
    )  # fmt: skip
    found = limits(plan)
    for name, n in (("micro_batch_size", found.micro_batch_size),
                    ("sequence_length", found.sequence_length)):  # fmt: skip
        assert n > 0
        for value, fits in ((n, True), (n + 1, False)):
            changed = plan.recipe.replace(**{name: value})
            assert plan_training(plan.model, plan.gpu, changed).fits is fits


def test_gpus_alone_in_their_machine_are_not_joined_by_tensor_parallelism() -> None:
    plan = plan_training(parse(LLAMA_8B), load_gpu("jetson-agx-orin-64gb"), Recipe(sharding="ddp"))
    found = limits(plan).fewest
    assert found is not None
    assert found.gpus > 1
    assert found.tensor_parallel_size == 1


def test_lowest_sharding_and_fewest_gpus() -> None:
    """8 B parameters of 16 B are 120 GiB: two GPUs halve that to 60; 4 + 12 / 8 B each are 41."""
    found = limits(planned(data_parallel_size=8, sharding="zero3", recomputation="full"))
    assert found.sharding == "zero1"
    assert found.fewest is not None
    assert found.fewest.gpus == 2


def test_a_feed_forward_backward_by_hand() -> None:
    """Per token: gradients of gate and up; the residual's, which sequence parallelism splits; and
    the largest matrix's."""
    matrix = 2 * 14336 * 4096
    for split, own, residual in ((1, 2, 1), (8, 2 / 8, 1 / 8)):
        moments = planned(tensor_parallel_size=split).stage.parts[0].moments
        expected = 4096 * 2 * (own * 14336 + residual * 4096) + matrix / split
        assert moments.feed_forward == expected
    whole = planned(tensor_parallel_size=8, sequence_parallel=False).stage.parts[0].moments
    assert whole.feed_forward == 4096 * 2 * (2 / 8 * 14336 + 4096) + matrix / 8


def test_a_moe_backward_by_hand() -> None:
    """Mixtral, per token: two experts' gradients of gate, up and output; and a matrix's."""
    plan = planned(load_model_config("mixtral-8x7b-v0.1"), sequence_length=1024)
    per_token = 2 * (2 * 2 * 14336 + 2 * 4096 + 4096)
    assert plan.stage.parts[0].moments.feed_forward == 1024 * per_token + 2 * 14336 * 4096
