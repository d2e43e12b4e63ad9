"""The engine's answer leads every format, and the flags it names lift the refusal."""

import csv
import io
import json
import re

import pytest

from cli import main

REFUSED = ["plan", "--model", "gpt-oss-120b", "--gpu", "h100-sxm5-80gb", "--engine", "vllm"]
REFUSED += ["--gpu-memory-utilization", "0.88"]
FORMATS = ("text", "json", "markdown", "html", "csv")


def flags_of(change: str) -> list[str]:
    """A change that an engine's verdict names, as the command takes it."""
    change = change.replace("a KV cache in", "--kv-cache-dtype")
    change = re.sub(r"\d+ GPUs \(tensor parallel (\d+)\)", r"--tensor-parallel-size \1", change)
    change = re.sub(r"\d+ GPUs \((\d+) pipeline stages\)", r"--gpus \1", change)
    return change.replace(" with ", " ").replace(" and ", " ").split()


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    main([*words])
    return capsys.readouterr().out


@pytest.mark.parametrize("shape", FORMATS)
def test_a_refusal_is_in_every_format(shape: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = " ".join(said(capsys, *REFUSED, "--format", shape).split())
    assert "vLLM 0.33.0 would refuse to start; --max-model-len 15360" in out
    assert "gpu_memory_utilization" in out
    assert "vllm serve" in out


def test_the_flags_named_start_it(capsys: pytest.CaptureFixture[str]) -> None:
    """vLLM's own estimate, in its refusal, is the same 15360."""
    found = json.loads(said(capsys, *REFUSED, "--format", "json"))
    remedies = found["engine"]["remedies"]
    assert "--max-model-len 15360" in remedies
    assert len(remedies) > 1
    assert "estimated maximum model length is 15360" in found["engine"]["refused"]
    for remedy in remedies:
        flag, value = remedy.split()
        again = json.loads(said(capsys, *REFUSED, flag, value, "--format", "json"))
        assert again["engine"]["refused"] is None, remedy
        assert again["verdict"].startswith("vLLM 0.33.0 starts")
    tighter = json.loads(said(capsys, *REFUSED, "--max-model-len", "15376", "--format", "json"))
    assert tighter["engine"]["refused"] is not None


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        (
            "llama.cpp",
            ["--model", "llama-3.3-70b", "--weights-dtype", "q8_0", "-c", "131072", "-ngl", "99"],
        ),
        ("sglang", ["--model", "llama-3.1-8b", "--mem-fraction-static", "0.15"]),
        ("transformers", ["--model", "llama-3.1-8b", "--context", "131072", "--concurrency", "4"]),
    ],
)
def test_other_engines_lead_too(
    engine: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = said(capsys, "plan", *words, "--gpu", "h100-sxm5-80gb", "--engine", engine)
    assert "would refuse to start" in out.split("By bytes")[0].replace("\n", " ")


def test_a_start_says_how_many_of_the_users_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("plan", "--model", "llama-3.1-8b", "--gpu", "h100-sxm5-80gb", "--engine", "vllm")
    some = json.loads(said(capsys, *words, "--concurrency", "8", "--format", "json"))
    assert some["verdict"].startswith("vLLM 0.33.0 starts and holds 8 sequences of 8,192 tokens")
    most = some["engine"]["requests"]
    many = json.loads(said(capsys, *words, "--concurrency", str(most + 1), "--format", "json"))
    assert f"holds only {most} of {most + 1} sequences" in many["verdict"]


def test_the_csv_has_parts_that_add_up_to_the_budget(capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(csv.reader(io.StringIO(said(capsys, *REFUSED, "--format", "csv"))))
    sizes = {row[0].removeprefix("vLLM 0.33.0: "): row[3] for row in rows}
    inside = ("Weights", "Peak activation", "Communication and libraries", "CUDA graphs")
    spent = sum(int(sizes[part]) for part in (*inside, "KV cache"))
    assert spent == int(sizes["Budget"])


@pytest.mark.parametrize("name", ["vllm", "sglang", "llama.cpp"])
def test_every_format_has_the_engine_s_notes_and_name(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("plan", "--model", "qwen3-8b", "--gpu", "l40s", "--engine", name)
    notes = json.loads(said(capsys, *words, "--format", "json"))["engine"]["notes"]
    called = {"vllm": "vLLM 0.33.0", "sglang": "SGLang 0.5.23", "llama.cpp": "llama.cpp 2026"}[name]
    for shape in ("text", "markdown", "csv"):
        out = said(capsys, *words, "--format", shape).replace('""', '"')
        assert all(note in out for note in notes)
    assert f"\n{called}, one GPU\n" in said(capsys, *words)
    assert f"\n{called},pool," in said(capsys, *words, "--format", "csv")


def test_the_pools_refusal_is_in_the_csv(capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(csv.reader(io.StringIO(said(capsys, *REFUSED, "--format", "csv"))))
    (pool,) = (row[2] for row in rows if row[1] == "pool")
    assert pool.startswith("vLLM 0.33.0 would refuse: ")


def test_a_refusal_is_a_status_where_one_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*REFUSED, "--exit-code"]) == 1
    assert main([*REFUSED, "--exit-code", "--max-model-len", "15360"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("more", [2, 20])
def test_changes_that_hold_all_are_named_and_do(
    more: int, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plan", "--model", "llama-3.1-8b", "--gpu", "h100-sxm5-80gb", "--engine", "vllm"]
    words += ["--max-num-seqs", "128", "--format", "json"]
    held = json.loads(said(capsys, *words))["engine"]["requests"]
    many = [*words, "--concurrency", str(held + more)]
    few = json.loads(said(capsys, *many))
    assert "; the rest would wait. Any one of these will do: " in few["verdict"]
    known = {
        "a KV cache in fp8": ["--kv-cache-dtype", "fp8"],
        "2 GPUs (tensor parallel 2)": ["-tp", "2"],
        f"{held} sequences at once": ["--concurrency", str(held)],
    }
    changes = few["engine"]["remedies"]
    assert len(changes) == 3
    assert more == 20 or any(change.startswith("--gpu-memory-utilization") for change in changes)
    for change in changes:
        out = json.loads(said(capsys, *many, *known.get(change, change.split())))
        assert " starts and holds " in out["verdict"], change
        assert out["engine"]["remedies"] == []


def test_a_batch_that_is_too_small_is_named_first(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "--model", "llama-3.1-8b", "--gpu", "h100-sxm5-80gb", "--engine", "vllm"]
    out = said(capsys, *words, "--concurrency", "20", "--max-num-seqs", "8", "--format", "json")
    assert json.loads(out)["engine"]["remedies"][0] == "--max-num-seqs 20"


def test_the_workloads_length_is_proposed(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "--model", "llama-3.1-8b", "--gpu", "h100-sxm5-80gb", "--engine", "vllm"]
    notes = " ".join(said(capsys, *words, "--context", "9216").split())
    assert "own 131,072 tokens, as vLLM does: --max-model-len 9216 is enough" in notes
    assert "is enough for" not in said(capsys, *words, "--max-model-len", "9216")


def test_a_flag_that_starts_it_says_how_many_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    """Each number is what a run with that flag holds, and the change named serves all 8."""
    words = ["plan", "--model", "gemma-3-27b", "--context", "32k", "--concurrency", "8"]
    words += ["--engine", "vllm", "--format", "json"]
    one = [*words, "--gpu", "h100-sxm5-80gb"]
    found = json.loads(said(capsys, *one))
    held = []
    for remedy in found["engine"]["remedies"]:
        flag, value = remedy.split()
        held.append(json.loads(said(capsys, *one, flag, value))["engine"]["requests"])
    assert max(held) < 8
    shown = " or ".join(str(n) for n in dict.fromkeys(held))
    assert f"but then holds {shown} of 8 sequences" in found["verdict"]
    serving = found["engine"]["serving"]
    assert serving[-1] == "2 GPUs (tensor parallel 2)"
    assert f"these will serve all: {'; '.join(serving)}." in found["verdict"]
    for change in serving:
        assert json.loads(said(capsys, *one, *flags_of(change)))["engine"]["requests"] >= 8


def test_a_flag_that_starts_it_and_holds_all_says_no_more(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("plan", "--model", "gemma-3-27b", "--gpu", "h100-sxm5-80gb", "--engine", "vllm")
    out = " ".join(said(capsys, *words).split())
    assert "would refuse to start" in out
    assert "but then holds" not in out
    assert "serve all" not in out


def test_sequences_beyond_the_engines_limit_are_said_to_be_cut(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("plan", "--model", "qwen3-8b", "--gpu", "h100-sxm5-80gb", "--engine", "vllm")
    assert "9 of this workload, each cut to 40,960 tokens\n" in said(
        capsys, *words, "--context", "128k", "--max-model-len", "40960"
    )
    assert "each cut" not in said(capsys, *words, "--context", "40k")
    assert "each cut" not in said(capsys, *words, "--context", "128k")


def test_slots_of_llama_cpp_are_offered_where_there_is_memory(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """12 slots of 32,768 tokens are 12 x 32,768 cells of 128 KiB: 48 GiB of the card's 79."""
    words = ["plan", "--model", "llama-3.1-8b", "--gpu", "h100-sxm5-80gb", "--engine", "llama.cpp"]
    words += ["--context", "32k", "--concurrency", "12", "--format", "json"]
    offered = json.loads(said(capsys, *words))["engine"]["remedies"][0]
    assert offered == "-np 12 -c 393216"
    engine = json.loads(said(capsys, *words, *offered.split()))["engine"]
    assert engine["kv_cache"]["bytes"] == 12 * 32768 * 128 * 1024
    assert engine["requests"] == 12


def test_flags_that_do_only_together_are_named_and_do(capsys: pytest.CaptureFixture[str]) -> None:
    """gpt-oss-120b on one H100, as people run it: 0.95 of the card and few sequences."""
    words = [*REFUSED, "--context", "8k", "--concurrency", "32", "--format", "json"]
    found = json.loads(said(capsys, *words))
    first, *more = found["engine"]["serving"]
    assert first.startswith("--max-model-len 8192 with --max-num-seqs 32 and --gpu-memory-util")
    assert more[-1] == "2 GPUs (tensor parallel 2)"
    flags = flags_of(first)
    again = json.loads(said(capsys, *words, *flags))
    assert again["verdict"].startswith("vLLM 0.33.0 starts and holds 32 sequences")
    assert 0.94 <= float(flags[-1]) <= 0.96
    less = [*flags[:-1], str(float(flags[-1]) - 0.01)]
    assert json.loads(said(capsys, *words, *less))["engine"]["requests"] < 32


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (
            ("llama-3.3-70b-instruct", "rtx-3090", "vllm", "-tp", "2", "--weights-dtype", "awq"),
            "4 GPUs (tensor parallel 4) and --max-model-len 8192",
        ),
        (("gpt-oss-120b", "rtx-4090", "llama.cpp", "--gpus", "2"), "3 GPUs (3 pipeline stages)"),
        (
            ("deepseek-v3.1", "h200-sxm-141gb", "vllm", "-tp", "8", "--concurrency", "45"),
            "--decode-context-parallel-size 2",
        ),
    ],
)
def test_the_fewest_gpus_are_named_with_the_flags_that_they_need(
    words: tuple[str, ...], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """8,192 tokens: 70 B in int4 on 24 GB cards, MXFP4's 60.8 GiB, latents that 8 ranks copy."""
    model, gpu, engine, *rest = words
    asked = ("plan", "--model", model, "--gpu", gpu, "--engine", engine, "--format", "json")
    asked += ("--context", "16k" if "deepseek" in model else "8k")
    found = json.loads(said(capsys, *asked, *rest))["engine"]
    changes = found["serving"] or found["remedies"]
    assert named in changes
    for change in changes:
        if change.endswith("at once") or "CPU" in change:
            continue
        again = json.loads(said(capsys, *asked, *changed(rest, flags_of(change))))
        assert " starts and holds " in again["verdict"], change


def changed(words: list[str], flags: list[str]) -> list[str]:
    """`words` with what `flags` sets instead of their own."""
    pairs = dict(zip(words[::2], words[1::2], strict=True))
    pairs = {"--tensor-parallel-size" if k == "-tp" else k: v for k, v in pairs.items()}
    pairs |= dict(zip(flags[::2], flags[1::2], strict=True))
    return [word for pair in pairs.items() for word in pair]


def test_llama_cpp_deals_layers_to_any_number_of_gpus(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("plan", "--model", "llama-3.1-70b", "--gpu", "rtx-3090", "--engine", "llama.cpp")
    words += ("--weights-dtype", "q4_k_m", "--format", "json")
    three = said(capsys, *words, "--gpus", "3")
    assert three == said(capsys, *words, "--pipeline-parallel-size", "3")
    assert json.loads(three)["engine"]["refused"] is None


@pytest.mark.parametrize(
    ("words", "needed_gib", "said_so"),
    [
        ([*REFUSED[:-1], "0.92"], 5.07, "At the low end of the estimates it would start."),
        (
            ["plan", "--model", "llama-3.1-8b", "--gpu", "rtx-4090", "--engine", "vllm",
             "--max-model-len", "32k"],
            4.0, "It is tight: at the high end of the estimates it would refuse to start.",
        ),
        (["plan", "--model", "llama-3.1-8b", "--gpu", "h100-sxm5-80gb", "--engine", "vllm"],
         16.0, ""),
        (["plan", "--model", "gpt-oss-120b", "--gpu", "l4", "--engine", "vllm"], 5.07, ""),
    ],
)  # fmt: skip
def test_a_verdict_that_hangs_on_estimates_says_so(
    words: list[str], needed_gib: float, said_so: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """needed_gib: the cache of a request of the longest length, which the range holds or not."""
    found = json.loads(said(capsys, *words, "--format", "json"))
    low, high = (found["engine"]["kv_cache"][f"{end}_bytes"] / 2**30 for end in ("low", "high"))
    assert (low < needed_gib < high) is bool(said_so) is found["engine"]["doubtful"]
    assert ("end of the estimates" in found["verdict"]) is bool(said_so)
    assert said_so in found["verdict"]


def test_fewer_at_once_serve_all_in_turn(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "--model", "llama-3.1-8b", "--gpu", "h100-sxm5-80gb", "--context", "2048"]
    words += ["--engine", "transformers", "--format", "json", "--concurrency"]
    out = json.loads(said(capsys, *words, "3000"))
    (change,) = (c for c in out["engine"]["serving"] if "at once" in c)
    held, _, rest = change.partition(" ")
    assert rest == "sequences at once, while the others wait"
    assert " starts and holds " in json.loads(said(capsys, *words, held))["verdict"]


def test_a_gpu_that_would_hold_no_block_is_no_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    """3,000 x 131,072 tokens of 128 KiB are 46.9 TiB, which llama-server would leave to the CPU."""
    words = ["plan", "--model", "llama-3.1-8b", "--gpu", "h100-sxm5-80gb", "--engine", "llama.cpp"]
    words += ["--context", "131072", "--format", "json", "--concurrency"]
    assert not any(
        "-np" in c for c in json.loads(said(capsys, *words, "3000"))["engine"]["remedies"]
    )
    some = json.loads(said(capsys, *words, "8"))["engine"]["remedies"]
    assert any("-np 8 -c 1048576 (with" in c and "of its memory)" in c for c in some)
