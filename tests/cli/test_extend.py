"""`extend` says the lines of one object, or why there is none."""

import json
import math

import pytest

from cli import main
from planner.hf_config import parse
from planner.rope.extension import extend
from planner.rope.published import claims
from planner.rope.words import lines
from presets.models import load_model_config


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["extend", *words])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_the_terminal_says_the_lines_of_the_extension(capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = run(capsys, "--model", "qwen3-8b", "--context", "128k")
    found = extend(parse(load_model_config("qwen3-8b")), 131072)
    assert code == 0
    assert said.startswith("Qwen/Qwen3-8B: 40,960 to 131,072 tokens by YaRN, factor 3.2\n")
    for name, text in lines(found):
        assert f"  {name}" in said
        assert text in said
    for claim in claims(found):
        assert claim in said
    assert "--yarn-orig-ctx 40960" in said


def test_json_has_every_wavelength(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--model", "qwen3-8b", "--context", "128k", "--original", "32k", "--format", "json")
    found = json.loads(run(capsys, *words)[1])
    assert found["factor"] == 4.0
    assert found["attention_factor"] == pytest.approx(0.1 * math.log(4) + 1)
    assert len(found["wavelengths_before"]) == len(found["wavelengths_after"]) == 64
    assert found["wavelengths_after"][-1] == pytest.approx(4 * found["wavelengths_before"][-1])
    assert set(found["engines"]) == {"vLLM", "SGLang", "llama.cpp", "TensorRT-LLM", "transformers"}


def test_engines_without_dynamic_scaling_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    said = run(capsys, "--model", "qwen3-8b", "--context", "80k", "--method", "dynamic")[1]
    assert "vllm#41277" in said
    assert "--hf-overrides" not in said


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--model", "opt-6.7b", "--context", "8k"), "learned a table of 2,048 positions"),
        (("--model", "qwen3-8b", "--context", "8k"), "nothing needs extending"),
        (("--model", "qwen3-8b", "--context", "128k", "--original", "0"), "length 0 is not within"),
        (("--model", "llama-3.1-8b", "--context", "1m"), "scaled already (llama3)"),
    ],
)
def test_a_refusal_is_one_sentence(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], why: str
) -> None:
    code, said, error = run(capsys, *words)
    assert (code, said) == (2, "")
    assert why in error
    assert error.count("\n") == 1
