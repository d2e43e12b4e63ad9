"""Times of one deployment on the command line."""

import json
import re

import pytest

from cli import main
from presets.gpus import load_gpu
from presets.offers import cheapest_offer

BASE = ["latency", "--model", "llama-3.3-70b-instruct", "--gpu", "h100-sxm5-80gb", "-tp", "4",
        "--weights-dtype", "fp8", "--concurrency", "16"]  # fmt: skip


def run(capsys: pytest.CaptureFixture[str], *more: str) -> str:
    assert main([*BASE, *more]) == 0
    return capsys.readouterr().out


def test_32_bit_weights_are_bounded_by_the_32_bit_peak(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """8.03 B parameters less the embedding, 8,192 tokens, 66.9 TFLOP/s: no less than 1.8 s."""
    flags = ["latency", "--model", "llama-3.1-8b", "--gpu", "h100-sxm5-80gb", "--format", "json"]
    found = {}
    for name in ("bf16", "fp32"):
        assert main([*flags, "--weights-dtype", name]) == 0
        found[name] = json.loads(capsys.readouterr().out)
    assert found["fp32"]["ttft"]["low_s"] > 2 * 7e9 * 8192 / 66.91e12
    for each in found.values():
        assert 0.3 < each["mfu_prefill"] < 1


def test_text_has_times_with_ranges_cost_and_choices(capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys)
    for word in ("TTFT alone", "TPOT alone", "under load", "MFU", "per million", "speculation:"):
        assert word in out
    assert "Times are estimates" in out


def test_json_adds_up(capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(run(capsys, "--format", "json", "--usd-per-gpu-hour", "2.5"))
    assert data["cost"]["usd_per_hour"] == 10
    assert sum(data["tpot"]["shares"].values()) == pytest.approx(1)
    load = data["under_load"]
    rate = load["requests_per_s"] * data["request"]["output_tokens"]
    assert load["output_tokens_per_s"] == pytest.approx(rate)
    assert load["output_tokens_per_s_per_gpu"] == pytest.approx(rate / 4)
    assert data["tpot"]["low_s"] < data["tpot"]["seconds"] < data["tpot"]["high_s"]
    assert data["reach"]["supported_tokens"] == 131072
    assert data["ring"] is None


def test_a_bill_names_its_price(capsys: pytest.CaptureFixture[str]) -> None:
    """Four cards at the cheapest price on the list, or at the one given."""
    listed = cheapest_offer(load_gpu("h100-sxm5-80gb"), 4)
    assert listed is not None
    price = f"${listed.usd_per_gpu_hour:.2f} per GPU-hour, {listed.note}"
    out = run(capsys)
    assert price in out
    assert f"${4 * listed.usd_per_gpu_hour:.2f} an hour" in out
    assert "$2.50 per GPU-hour, as given" in run(capsys, "--usd-per-gpu-hour", "2.5")
    bill = json.loads(run(capsys, "--format", "json"))["cost"]
    assert bill["usd_per_gpu_hour"] == listed.usd_per_gpu_hour
    assert bill["price_source"] == listed.note


def test_a_gpu_sold_by_eights_costs_eight_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    """Lambda's A100 of 40 GB: 8 x $1.99 an hour in `latency`, in `search` and in `train`."""
    model = ["--model", "qwen3-0.6b", "--gpu", "a100-sxm4-40gb", "--format", "json"]
    assert main(["latency", *model]) == 0
    bill = json.loads(capsys.readouterr().out)["cost"]
    assert bill["usd_per_hour"] == pytest.approx(8 * 1.99)
    assert bill["gpus_charged"] == 8
    assert main(["search", *model, "--max-gpus", "1"]) == 0
    found = json.loads(capsys.readouterr().out)["winners"][0]
    assert (found["gpus"], found["usd_per_hour"]) == (1, pytest.approx(8 * 1.99))
    assert main(["train", *model]) == 0
    time = json.loads(capsys.readouterr().out)["time"]
    hours = 1e9 / time["tokens_per_s"] / 3600
    assert time["usd_per_billion_tokens"] == pytest.approx(8 * 1.99 * hours)
    assert "8 paid for, 1 used" in time["price"]


def test_a_ring_says_what_it_sends(capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(run(capsys, "--context-parallel-size", "2", "--format", "json"))
    assert data["ring"]["ranks"] == 2


def test_the_ring_is_in_the_text_too(capsys: pytest.CaptureFixture[str]) -> None:
    """70B on 4: 80 layers x 2 x 2 heads x 128 x 2 B = 80 KiB a token; half of 8,192 are sent."""
    out = run(capsys, "--context-parallel-size", "2")
    assert "ring         of 2 GPUs: each sends 320.00 MiB of a prompt in" in out
    assert "1.5 times as long" in out
    assert "ring         " not in run(capsys)


def test_lengths_have_a_table_and_are_in_the_json(capsys: pytest.CaptureFixture[str]) -> None:
    """320 KiB a token over the whole model, whatever is divided."""
    assert "One sequence alone" not in run(capsys)
    out = run(capsys, "--lengths", "8k,32k,128k")
    rows = re.findall(r"^ +([\d,]+) +([\d.]+) GiB +([\d.]+ m?s) +([\d.]+ ms) +(\d+) %$", out, re.M)
    assert [(tokens, size) for tokens, size, *_ in rows] == [
        ("8,192", "2.50"), ("32,768", "10.00"), ("131,072", "40.00"),
    ]  # fmt: skip
    shares = [int(share) for *_, share in rows]
    assert shares == sorted(shares)
    data = json.loads(run(capsys, "--lengths", "8k,32k", "--format", "json"))["lengths"]
    assert [of["cache_bytes"] for of in data] == [8192 * 320 * 1024, 32768 * 320 * 1024]
    assert json.loads(run(capsys, "--format", "json"))["lengths"] == []


@pytest.mark.parametrize(
    ("lengths", "words"), [("0", "1 to 134,217,728 tokens"), ("8k,much", "no number of tokens")]
)
def test_lengths_that_are_none_are_one_sentence(
    capsys: pytest.CaptureFixture[str], lengths: str, words: str
) -> None:
    with pytest.raises(SystemExit):
        main([*BASE, "--lengths", lengths])
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_a_card_without_rates_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["latency", "--model", "llama-3.1-8b", "--gpu", "custom"]
    assert main([*arguments, "--gpu-memory-bytes", str(2**36)]) == 2
    error = capsys.readouterr().err
    assert "memory bandwidth" in error
    assert error.count("\n") == 1


def failed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    try:
        status = main(["latency", *arguments])
    except SystemExit as stop:
        status = int(str(stop.code))
    assert status == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_a_model_that_does_not_fit_has_times_only_as_if_it_did(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Llama-3.1-405B has 756 GiB of 16-bit weights, an L4 has 22."""
    assert main(["latency", "--model", "llama-3.1-405b", "--gpu", "l4"]) == 0
    out = capsys.readouterr().out
    assert out.index("Does not fit on L4") < out.index("as if it did fit") < out.index("TTFT alone")
    assert "What to choose" not in out


def test_users_beyond_memory_wait(capsys: pytest.CaptureFixture[str]) -> None:
    """Little's law: waiting is the time that all users take, less that of those at once."""
    arguments = ["latency", "--model", "llama-3.1-8b", "--gpu", "h100-sxm5-80gb",
                 "--concurrency", "1000"]  # fmt: skip
    assert main(arguments) == 0
    out = capsys.readouterr().out
    held = int(re.search(r"Memory holds ([\d,]+) sequences at once", out)[1])  # type: ignore[index]
    assert 0 < held < 100
    assert f"the other {1000 - held:,} wait" in out
    assert main([*arguments, "--format", "json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["memory"]["fits"] is False
    assert data["memory"]["users_at_once"] == held
    service_s = held / data["under_load"]["requests_per_s"]
    assert data["memory"]["wait_s"] == pytest.approx(service_s * (1000 - held) / held)


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (("--usd-per-gpu-hour", "-1"), "--usd-per-gpu-hour must be dollars above 0"),
        (("--usd-per-gpu-hour", "nan"), "'nan' is no number"),
        (("--watts", "0"), "watts must be above 0"),
        (("--acceptance", "2"), "acceptance"),
        (("--acceptance", "nan"), "'nan' is no number"),
        (("--cached-tokens", "9000"), "8,192"),
    ],
)
def test_nonsense_is_one_sentence(
    capsys: pytest.CaptureFixture[str], flags: tuple[str, str], word: str
) -> None:
    assert word in failed(capsys, "--model", "llama-3.1-8b", "--gpu", "h100-sxm5-80gb", *flags)


def test_positions_end_hard_or_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    """GPT-2's table has 1,024 rows; Llama-3.1 states 131,072 positions and goes on."""
    error = failed(capsys, "--model", "gpt2-medium", "--gpu", "h100-sxm5-80gb")
    assert "1,024 positions; 9,216 tokens" in error
    assert main(["latency", "--model", "llama-3.1-8b", "--gpu", "h200-sxm-141gb",
                 "--prompt-tokens", "200000"]) == 0  # fmt: skip
    assert "131,072 positions; 201,024 tokens" in capsys.readouterr().out


def test_one_user_is_no_users(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["latency", "--model", "llama-3.1-8b", "--gpu", "h100-sxm5-80gb"]) == 0
    out = capsys.readouterr().out
    for bad in ("1 users", "1 stages", "1 replicas", "kv_cache"):
        assert bad not in out


def test_users_are_said_to_be_counted_by_bytes_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert "by bytes alone" in run(capsys, "--concurrency", "50")


def test_an_fp8_cache_is_said_to_hold_what_its_plan_does(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """64 users of 8,192 + 500 tokens: memory holds 58 of them, and 117 at half the bytes."""
    eight = ["--model", "llama-3.1-8b", "--gpu", "h100-sxm5-80gb", "--concurrency", "64"]
    assert main(["latency", *eight, "--prompt-tokens", "8k", "--output-tokens", "500"]) == 0
    out = capsys.readouterr().out
    held = {}
    for name in ("auto", "fp8"):
        flags = ["--context", "8692", "--kv-cache-dtype", name, "--format", "json"]
        assert main(["plan", *eight, *flags]) == 0
        held[name] = json.loads(capsys.readouterr().out)["max_concurrency"]
    assert f"Memory holds {held['auto']} sequences at once" in out
    assert f"and memory holds {held['fp8']} users instead of {held['auto']})" in out


def test_rates_are_said_to_be_published_or_reached(capsys: pytest.CaptureFixture[str]) -> None:
    """An H100 is sold with 989 TFLOP/s and 3.35 TB/s: 295 FLOP/B; it reaches less of both."""
    base = ["latency", "--model", "llama-3.1-8b", "--gpu", "h100-sxm5-80gb"]
    assert main(base) == 0
    out = capsys.readouterr().out
    assert main([*base, "--format", "json"]) == 0
    data = json.loads(capsys.readouterr().out)
    mfu = data["ttft"]["flops"] / data["ttft"]["seconds"] / 989e12
    mbu = data["tpot"]["moved_bytes"] / data["tpot"]["seconds"] / 3.35e12
    assert f"MFU {100 * mfu:.0f} % of the published 989 TFLOP/s in prefill" in out
    assert f"MBU {100 * mbu:.0f} % of the published 3.35 TB/s in decode" in out
    shown = re.search(r"(\d+) FLOP/B, of what is reached: (\d+) TFLOP/s / ([\d.]+) TB/s", out)
    assert shown
    ridge, flops, size = map(float, shown.groups())
    assert ridge == pytest.approx(flops / size, rel=0.005)
    assert flops < 989
    assert size < 3.35


def test_energy_needs_no_price(capsys: pytest.CaptureFixture[str]) -> None:
    base = ["--model", "llama-3.1-8b", "--gpu", "l4"]
    assert main(["latency", *base, "--watts", "50", "--format", "json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["cost"] is None
    joule = data["under_load"]["output_tokens_per_s"] / 50
    assert data["energy"]["output_tokens_per_joule"] == pytest.approx(joule)
    assert main(["latency", *base, "--watts", "50"]) == 0
    assert f"{joule:.2f} tokens per joule at 50 W per GPU" in capsys.readouterr().out
    assert main(["latency", *base]) == 0
    assert "tokens per joule at 72 W per GPU" in capsys.readouterr().out  # the board's limit
    assert "watts must be above 0, not -3" in failed(capsys, *base, "--watts", "-3")


def test_a_card_without_a_rate_is_not_sent_to_a_validation_that_needs_cuda(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = failed(capsys, "--model", "llama-3.1-8b", "--gpu", "apple-m2-ultra")
    assert "no times are predicted for it" in error
    assert "if it runs CUDA" in error


def drafted(capsys: pytest.CaptureFixture[str], config: str, *more: str) -> str:
    base = ["latency", "--model", "llama-3.1-8b", "--gpu", "rtx-4090", "--prompt-tokens", "1000",
            "--output-tokens", "200"]  # fmt: skip
    assert main([*base, "--speculative-config", config, *more]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "config",
    [
        '{"method": "ngram", "num_speculative_tokens": 3}',
        '{"method": "medusa", "num_speculative_tokens": 3}',
        '{"method": "eagle", "num_speculative_tokens": 3}',
        '{"model": "llama-3.2-1b", "num_speculative_tokens": 3}',
    ],
)
def test_every_drafter_has_a_time(capsys: pytest.CaptureFixture[str], config: str) -> None:
    data = json.loads(drafted(capsys, config, "--acceptance", "0.7", "--format", "json"))
    found = data["drafting"]
    assert found["tokens_per_step"] == pytest.approx((1 - 0.7**4) / 0.3)
    assert found["tpot_s"] == pytest.approx(found["step_s"] / found["tokens_per_step"])
    assert found["speedup"] == pytest.approx(data["tpot"]["seconds"] / found["tpot_s"])
    assert found["low_s"] < found["tpot_s"] < found["high_s"]
    assert found["by_users"]["1"]["speedup"] == pytest.approx(found["speedup"])
    assert (found["draft_s"] == 0) == ("ngram" in config)


def test_an_assumed_acceptance_is_said_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    config = '{"method": "eagle", "num_speculative_tokens": 4}'
    assert "acceptance is an assumption" in drafted(capsys, config)
    assert "is an assumption" not in drafted(capsys, config, "--acceptance", "0.5")
    assert "loses with any number" in drafted(capsys, config, "--acceptance", "0")


def test_a_draft_of_another_vocabulary_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    config = '{"model": "qwen3-0.6b", "num_speculative_tokens": 3}'
    error = failed(capsys, "--model", "llama-3.1-8b", "--gpu", "rtx-4090",
                   "--speculative-config", config)  # fmt: skip
    assert "vocabulary" in error
