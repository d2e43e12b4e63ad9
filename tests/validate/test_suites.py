"""Which checks run: every target once, and no size predicted that was measured before."""

from validate.ladders import HELD_OUT, KERNELS, MORE_KERNELS, ladders_for
from validate.suites import FULL_DRY_RUNS, suite


def test_every_model_of_the_targets_is_made_real() -> None:
    names = [run.model for run in FULL_DRY_RUNS]
    for model in (
        "llama-3.1-8b", "qwen3-8b", "qwen3-30b-a3b", "deepseek-v2-lite", "gemma-3-27b-it",
        "deepseek-v3",
    ):  # fmt: skip
        assert model in names


def test_no_check_runs_twice() -> None:
    for name in ("quick", "full"):
        for device in ("cuda:0", "cpu"):
            ids = [check.id for check in suite(name, device=device)]
            assert len(ids) == len(set(ids))


def test_sizes_that_are_predicted_are_on_no_ladder() -> None:
    timed = {
        (check.arguments["kernel"], tuple(size))
        for check in (*KERNELS, *MORE_KERNELS)
        for size in check.arguments["sizes"]
    }
    for check in HELD_OUT:
        for size in check.arguments["sizes"]:
            assert (check.arguments["kernel"], tuple(size)) not in timed


def test_a_model_brings_the_ladders_that_its_prediction_takes() -> None:
    assert ladders_for("llama-3.1-8b") == ()
    needed = {check.id for check in ladders_for("deepseek-v2-lite")}
    assert {"kernels/grouped_matmul", "kernels/routing", "kernels/mla_decode"} <= needed
    assert "kernels/flash_attention-1024" in {c.id for c in ladders_for("gemma-3-27b-it")}
    assert {c.id for c in ladders_for("qwen3-30b-a3b")} == {
        "kernels/grouped_matmul", "kernels/routing"
    }  # fmt: skip
