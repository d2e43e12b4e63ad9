"""`train` on the command line."""

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from cli import main

USUAL = ["train", "--model", "llama-3.1-8b", "--gpu", "h100-sxm5-80gb"]
TRAIN = [*USUAL, "--method", "full"]
EIGHT = ["--data-parallel-size", "8", "--sharding", "zero3", "--recomputation", "full"]


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main([*TRAIN, *arguments]) == 0
    return capsys.readouterr().out


def test_every_format_says_the_same_total(capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(answer(capsys, *EIGHT, "--format", "json"))
    total = data["total_bytes_per_gpu"]
    assert f"{total / 2**30:,.2f} GiB" in answer(capsys, *EIGHT)
    assert f"{total:,}" in answer(capsys, *EIGHT, "--format", "markdown")
    rows = answer(capsys, *EIGHT, "--format", "csv").splitlines()
    added = sum(int(row.rsplit(",", 2)[1]) for row in rows if row.endswith(",true"))
    assert added == total
    assert str(total) in "\n".join(rows)


def test_json_has_places_limits_time_and_derivation(capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(
        answer(capsys, *EIGHT, "--offload-optimizer", "cpu", "--price", "2", "--format", "json")
    )
    places = {s["name"]: s["place"] for s in data["states"]}
    assert places["optimizer states"] == "host"
    assert places["parameters"] == "GPU"
    assert data["host"]["low_bytes"] == pytest.approx(16 * 8_030_261_248, rel=1e-6)
    assert data["limits"]["micro_batch_size"] > 0
    assert data["time"]["usd_per_billion_tokens"] == pytest.approx(
        2 * 8 * 1e9 / data["time"]["tokens_per_s"] / 3600
    )
    summed = sum(s["bytes"] for s in data["derivation"] if s["in_total"])
    assert summed == data["total_bytes_per_gpu"]


def test_offloading_says_what_it_assumes_and_takes_given_rates(
    capsys: pytest.CaptureFixture[str],
) -> None:
    nvme = [*EIGHT, "--offload-optimizer", "nvme"]
    said = " ".join(answer(capsys, *nvme).split())
    assert "assumed 10 GB/s read and 5 written" in said
    assert "assumed 54 GB/s" in said
    rates = ["--nvme-gb-per-s", "48", "--host-memory-gb-per-s", "200"]
    said = " ".join(answer(capsys, *nvme, *rates).split())
    assert "assumed" not in said
    assert "at the rate given" in said


def test_no_time_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["train", "--model", "llama-3.1-8b", "--gpu", "gh200-96gb", "--sharding", "zero3",
             "--offload-optimizer", "cpu"]  # fmt: skip
    for form in ("text", "markdown", "json"):
        assert main([*flags, "--format", form]) == 0
        assert "its link to the host is not known" in " ".join(capsys.readouterr().out.split())


def test_what_does_not_fit_says_what_would(capsys: pytest.CaptureFixture[str]) -> None:
    text = answer(capsys)
    assert text.startswith("Does not fit")
    assert "QLoRA" in text
    assert max(len(line) for line in text.splitlines()) <= 100


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--optimizer", "banana"], "banana"),
        (["--sequence-length", "0"], "sequence_length"),
        (["--tensor-parallel-size", "3"], "num_attention_heads"),
        (["--method", "lora", "--lora-rank", "0"], "rank"),
        (["--method", "qlora", "--lora-base", "fp3"], "base"),
        (["--lora-rank", "8"], "--method full"),
        (["--offload-optimizer", "nvme"], "zero3"),
        (["--host-memory-gb-per-s", "0"], "--host-memory-gb-per-s must be above 0"),
        (["--price", "inf", "--format", "json"], "is too large"),
        (["--price", "-1"], "--usd-per-gpu-hour"),
        (["--gpu-memory-bytes", "-5"], "positive"),
    ],
)
def test_one_line_of_complaint(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main([*TRAIN, *arguments])
    except SystemExit as stop:
        status = int(str(stop.code))
    assert status == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert words in captured.err


def test_it_needs_neither_torch_nor_streamlit() -> None:
    code = (
        f"import sys; from cli import main; main({[*TRAIN, '--format', 'markdown']!r}); "
        "sys.exit(bool({'torch', 'numpy', 'pandas', 'streamlit'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_a_price_has_two_decimals(capsys: pytest.CaptureFixture[str]) -> None:
    for flag in ("--usd-per-gpu-hour", "--price"):
        assert "$3.20 per GPU-hour" in answer(capsys, *EIGHT, flag, "3.2")


def test_methods_are_the_pages(capsys: pytest.CaptureFixture[str]) -> None:
    def recipe(*flags: str) -> Any:
        assert main([*USUAL, *flags, "--format", "json"]) == 0
        return json.loads(capsys.readouterr().out)["recipe"]["lora"]

    assert recipe() == recipe("--lora-rank", "16") == recipe("--method", "lora")
    assert recipe("--method", "qlora")["base"] == "nf4"
    assert recipe("--method", "full") is None


def test_a_table_of_positions_is_not_overrun(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--model", "opt-1.3b", "--gpu", "h100-sxm5-80gb"]) == 0
    assert "micro-batches of 1 × 2,048 tokens" in " ".join(capsys.readouterr().out.split())


def test_flags_say_what_is_sent(capsys: pytest.CaptureFixture[str]) -> None:
    """8.03 B parameters on two GPUs: half of 2 P + 2 P + 2 P bytes, or of 4 P + 2 P in fp32."""
    two = ["--data-parallel-size", "2"]
    asked = {
        (): 6, ("--no-use-multi-rank-bucket-allreduce",): 4,
        ("--reduce-dtype", "fp32", "--no-use-multi-rank-bucket-allreduce"): 6,
        ("--sharding", "zero3", "--stage3-max-live-parameters", "0"): 6,
        ("--sharding", "fsdp2", "--reshard-after-forward", "always"): 6,
        ("--sharding", "fsdp2", "--reshard-after-forward", "never"): 4,
    }  # fmt: skip
    for flags, each in asked.items():
        one = ["--gradient-accumulation-steps", "1", "--format", "json"]
        sent = json.loads(answer(capsys, *two, *one, *flags))["time"]["data_bytes"]
        assert sent == each * 8_030_261_248 // 2


def test_qlora_of_experts_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["train", "--model", "gpt-oss-20b", "--gpu", "h100-sxm5-80gb", "--method", "qlora"]

    def frozen(*flags: str) -> int:
        assert main([*asked, *flags, "--format", "json"]) == 0
        states = json.loads(capsys.readouterr().out)["states"]
        return next(int(s["bytes"]) for s in states if s["name"] == "frozen parameters")

    more = frozen() - frozen("--lora-quantize-moe-experts")
    assert more == 24 * 32 * 3 * 2880**2 * 3 // 2


def test_small_times_and_single_things_are_said_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*USUAL, "--format", "markdown"]) == 0
    said = capsys.readouterr().out
    assert "1 micro-batch of 4,096 tokens in flight" in said
    assert re.search(r"\| Optimizer \| [\d.]+ µs \|", said) is not None
    assert "0.000" not in said


def test_gpus_in_all_are_replicas_of_what_the_other_sizes_take(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The number that plan and the page ask for: 8 = 4 x tensor parallel 2."""
    split = ["--tensor-parallel-size", "2"]
    assert answer(capsys, *split, "--gpus", "8") == answer(
        capsys, *split, "--data-parallel-size", "4"
    )
    for more, said in (
        (["--gpus", "5"], "--gpus 5 cannot be replicas of 2 GPUs each"),
        (["--gpus", "8", "--data-parallel-size", "2"], "--gpus 8 contradicts the parallel sizes"),
        (["--gpus", "0"], "--gpus 0 cannot be replicas"),
    ):
        assert main([*TRAIN, *split, *more]) == 2
        assert said in capsys.readouterr().err
