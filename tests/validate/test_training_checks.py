"""Training steps on the processor: storages watched as they come and go, against the plan."""

import pytest
import torch

from planner.hf_config import parse
from validate import training_checks
from validate.bench import Bench
from validate.training_stack import refusal

TINY = {
    "model_type": "llama", "hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 3,
    "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 512,
    "max_position_embeddings": 1024, "torch_dtype": "bfloat16", "tie_word_embeddings": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("attention", "recomputation"),
    [
        ("flash", "none"),
        ("flash", "full"),
        ("naive", "none"),
        ("naive", "full"),
        ("naive_16_bit", "none"),
    ],
)
def test_a_step_peaks_where_the_plan_says(
    attention: str, recomputation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU PyTorch's softmax multiplies gradient and output before its backward kernel, into
    8 heads x 192 x 192 numbers of its own; on the processor it does not.
    """
    monkeypatch.setattr(training_checks, "model_of", lambda name: parse(TINY, name))
    bench = Bench(torch.device("cpu"))
    setting = {
        "sequence_length": 192, "attention": attention, "recomputation": recomputation
    }  # fmt: skip
    with torch.no_grad():
        (case,) = training_checks.training_cases(bench, "tiny", [setting])
    assert case.measured is not None
    assert case.predicted is not None
    product = 8 * 192 * 192 * {"flash": 0, "naive": 4, "naive_16_bit": 2}[attention]
    if case.details["loss_bytes"] > case.details["layer_bytes"]:
        product = 0
    assert case.measured + product == pytest.approx(case.predicted, rel=0.03), case


def test_layers_it_cannot_train_are_named() -> None:
    odd = parse({**TINY, "model_type": "qwen3"}, "odd")
    assert "query norms" in refusal(odd)
    assert refusal(parse(TINY, "plain")) == ""
