"""`plan` and `inspect` of folders and weight files, written by hand and cut after their headers."""

import json
from pathlib import Path
from typing import Any

import pytest

from planner.formats.quantization import assign
from planner.hf_config import parse
from planner.weights import weights_bytes
from presets.models import load_model_config
from tests.cli.test_cli import answer, complaint
from tests.planner.files.written import gguf, gguf_name, llama_shapes, safetensors

LLAMA = load_model_config("llama-3.1-8b")
WEIGHTS = 16_060_522_496
INDEX = "model.safetensors.index.json"
TENSORS = {name: ("BF16", shape) for name, shape in llama_shapes(LLAMA).items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    return tmp_path


def files_of(capsys: pytest.CaptureFixture[str], model: Path, *flags: str) -> dict[str, Any]:
    out = answer(
        capsys, "plan", "--model", str(model), "--gpu", "h200-sxm-141gb", "--format", "json", *flags
    )
    found: dict[str, Any] = json.loads(out)["weights"]
    return found


def sparse(path: Path, header: bytes, data: int) -> None:
    """A file of that length, of which only the header takes space."""
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + data)


def shards(folder: Path, *, count: int = 2) -> None:
    """Two files of half the tensors each, as they are published, and their index."""
    names = list(TENSORS)
    listed = {}
    for number in range(count):
        part = f"model-{number + 1:05}-of-{count:05}.safetensors"
        own = {name: TENSORS[name] for name in names[number::count]}
        sparse(folder / part, safetensors(own), 0)
        listed |= dict.fromkeys(own, part)
    index = {"metadata": {"total_size": WEIGHTS}, "weight_map": listed}
    (folder / INDEX).write_text(json.dumps(index))


def test_one_file_in_a_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sparse(folder / "model.safetensors", safetensors(TENSORS), WEIGHTS)
    for given in (folder, folder / "config.json", folder / "model.safetensors"):
        found = files_of(capsys, given)["files"]
        assert (found["name"], found["bytes"]) == ("model.safetensors", WEIGHTS)
        assert (found["difference_bytes"], found["cut"]) == (0, [])
    out = answer(capsys, "plan", "--model", str(folder), "--gpu", "h200-sxm-141gb")
    assert "what the plan counts, to\n  the byte" in out


def test_shards_by_their_index(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shards(folder)
    for given in (folder, folder / INDEX, folder / "model-00002-of-00002.safetensors"):
        found = files_of(capsys, given)["files"]
        assert (found["name"], found["bytes"]) == ("2 .safetensors files", WEIGHTS)
        assert (found["difference_bytes"], len(found["cut"])) == (0, 2)
    (folder / "model-00001-of-00002.safetensors").unlink()
    found = files_of(capsys, folder)["files"]
    assert found["name"] == f"{INDEX} (1 of its 2 files are here)"
    assert (found["bytes"], found["difference_bytes"]) == (WEIGHTS, 0)


def test_pointers_of_git_are_no_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert files_of(capsys, folder)["files"] is None


def test_files_without_an_index_are_summed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards(folder)
    (folder / INDEX).unlink()
    sparse(folder / "consolidated.safetensors", safetensors(TENSORS), WEIGHTS)
    for given in (folder, folder / "model-00002-of-00002.safetensors"):
        found = files_of(capsys, given)["files"]
        assert (found["name"], found["bytes"]) == ("2 .safetensors files", WEIGHTS)
        assert found["difference_bytes"] == 0
    for number in (1, 2):
        path = folder / f"model-0000{number}-of-00002.safetensors"
        path.rename(folder / f"part{number}.safetensors")
    (folder / "consolidated.safetensors").unlink()
    found = files_of(capsys, folder)["files"]
    assert (found["name"], found["bytes"]) == ("2 .safetensors files", WEIGHTS)
    assert files_of(capsys, folder / "part1.safetensors")["files"]["bytes"] < WEIGHTS


def test_files_that_hold_one_tensor_twice_are_no_set(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        sparse(folder / f"{name}.safetensors", safetensors({"x": ("BF16", (2,))}), 4)
    said = complaint(capsys, "plan", "--model", str(folder), "--gpu", "l4")
    assert "x is in two of the files: 2 .safetensors files are not one set" in said


def test_of_two_checkpoints_in_a_folder_neither_is_taken(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for stem in ("a", "b"):
        for number in (1, 2):
            tensors = {f"{stem}{number}": ("BF16", (2,))}
            path = folder / f"{stem}-0000{number}-of-00002.safetensors"
            sparse(path, safetensors(tensors), 4)
    assert files_of(capsys, folder)["files"] is None
    one = folder / "b-00001-of-00002.safetensors"
    assert files_of(capsys, one)["files"]["bytes"] == 8


def test_a_folder_with_an_index_larger_than_a_configuration(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {f"model.layers.{i % 32}.{i:050}": "x.safetensors" for i in range(80_000)}
    index = {"metadata": {"total_size": WEIGHTS}, "weight_map": names}
    (folder / INDEX).write_text(json.dumps(index))
    assert files_of(capsys, folder)["files"]["tensors"] == 80_000


def test_an_index_without_a_total_still_names_its_files(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards(folder)
    index = {**json.loads((folder / INDEX).read_text()), "metadata": {}}
    (folder / INDEX).write_text(json.dumps(index))
    assert files_of(capsys, folder)["files"]["bytes"] == WEIGHTS
    (folder / "model-00001-of-00002.safetensors").unlink()
    assert files_of(capsys, folder)["files"] is None


def q8_0(folder: Path, name: str = "Llama-Q8_0.gguf", **metadata: Any) -> Path:
    """Llama-3.1-8B in Q8_0, with the factors of its rotary positions."""
    tensors = {
        gguf_name(n): ("f32" if len(shape) == 1 else "q8_0", shape)
        for n, (_, shape) in TENSORS.items()
    } | {"rope_freqs.weight": ("f32", (64,))}
    keys = {
        "general.architecture": "llama", "llama.block_count": 32, "llama.embedding_length": 4096,
        "llama.feed_forward_length": 14336, "llama.attention.head_count": 32,
        "llama.attention.head_count_kv": 8, "llama.context_length": 131072,
        "llama.rope.freq_base": 500000.0, "llama.vocab_size": 128256, **metadata,
    }  # fmt: skip
    path = folder / name
    path.write_bytes(gguf(keys, tensors))
    return path


def test_a_gguf_file_is_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """8,029,995,008 weights in blocks of 32 and 34 bytes, 266,240 and 64 in fp32. With the header
    of 7,840,928 bytes this is bartowski's published file of 8,540,775,840."""
    path = q8_0(tmp_path)
    matrices, norms = 8_029_995_008 // 32 * 34, 266_240 * 4
    for given in (path, tmp_path):
        found = files_of(capsys, given)
        assert found["bytes"] == matrices + norms
        assert found["files"]["bytes"] == matrices + norms + 256 == 8_540_775_840 - 7_840_928
        assert found["files"]["cut"] == ["Llama-Q8_0.gguf"]
        assert [line["label"] for line in found["files"]["differences"]] == [
            "rotary factors and masks"
        ]
    recipe = weights_bytes(assign(parse(LLAMA), "q8_0")).total
    assert recipe == matrices + norms


def test_llama_server_is_given_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Buffers as of the preset planned in q8_0."""
    path = q8_0(tmp_path)
    flags = ("--gpu", "l40s", "--engine", "llama.cpp")
    own = answer(capsys, "plan", "--model", str(path), *flags)
    assert f"llama-server -m {path.resolve()}" in own
    asked = answer(capsys, "plan", "--model", "llama-3.1-8b", "--weights-dtype", "q8_0", *flags)
    buffers = [line for line in own.splitlines() if "buffer size" in line]
    assert buffers
    assert buffers == [line for line in asked.splitlines() if "buffer size" in line]
    other = answer(capsys, "plan", "--model", str(path), "--weights-dtype", "q6_k", *flags)
    assert "llama-server -m /path/to/Llama-Q8_0-Q6_K.gguf" in other
    said = answer(capsys, "plan", "--model", str(path), "--gpu", "l40s", "--engine", "transformers")
    assert f'from_pretrained("{path.parent}", gguf_file="Llama-Q8_0.gguf"' in said
    assert "dequantises a GGUF file" in said
    refused = complaint(
        capsys, "plan", "--model", str(path), "--gpu", "l40s", "--engine", "tensorrt-llm"
    )
    assert "TensorRT-LLM reads no GGUF files" in refused


def test_a_folder_of_gguf_files_wants_a_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    q8_0(tmp_path)
    q8_0(tmp_path, "mmproj-Llama.gguf", **{"general.architecture": "clip"})
    assert files_of(capsys, tmp_path)["files"]["name"] == "Llama-Q8_0.gguf"
    q8_0(tmp_path, "Other-Q8_0.gguf")
    said = complaint(capsys, "plan", "--model", str(tmp_path), "--gpu", "l4")
    assert "it holds 2 GGUF models: name one (Llama-Q8_0.gguf, Other-Q8_0.gguf)" in said


def test_a_split_gguf_file_is_read_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = q8_0(tmp_path, "L-00001-of-00002.gguf", **{"split.count": 2, "split.no": 0})
    said = complaint(capsys, "plan", "--model", str(path), "--gpu", "l4")
    assert "split.count: the file has 2 parts, and 1 of them are here" in said
    rest = gguf({"split.count": 2, "split.no": 1}, {"rope_factors_long.weight": ("f32", (64,))})
    (tmp_path / "L-00002-of-00002.gguf").write_bytes(rest)
    assert files_of(capsys, path)["files"]["name"] == "2 parts of L.gguf"


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("x.gguf", b"", "x.gguf: it is empty"),
        ("x.gguf", b"version https://git-lfs.github.com/", "x.gguf: git has not fetched this file"),
        ("x.gguf", b"not one", "x.gguf: it does not begin as a GGUF file does"),
        ("model.safetensors", b"\xff" * 64, "model.safetensors: its header would have"),
        (INDEX, b"{}", f"{INDEX}: weight_map is no object"),
        (INDEX, b"[", f"{INDEX}: this is not valid JSON"),
        (INDEX, b'{"weight_map": {"a": "b"}}', "metadata.total_size is missing"),
    ],
)
def test_broken_files_are_refused_in_a_sentence(
    folder: Path, name: str, data: bytes, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / name).write_bytes(data)
    assert message in complaint(capsys, "plan", "--model", str(folder / name), "--gpu", "l4")


def test_weights_without_a_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sparse(tmp_path / "model.safetensors", safetensors(TENSORS), 0)
    said = complaint(capsys, "plan", "--model", str(tmp_path / "model.safetensors"), "--gpu", "l4")
    assert "it has no config.json beside it" in said


def test_inspect_says_what_the_files_hold(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sparse(folder / "model.safetensors", safetensors(TENSORS), WEIGHTS)
    assert "files       model.safetensors holds 14.96 GiB" in answer(capsys, "inspect", str(folder))
    strange = {**LLAMA, "quantization_config": {"quant_method": "unheard"}}
    (folder / "config.json").write_text(json.dumps(strange))
    said = answer(capsys, "inspect", str(folder))
    assert "8,030,261,248" in said
    assert "quantization_config.quant_method: 'unheard'" in said


def test_a_folder_may_be_named_like_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "Llama.gguf"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(LLAMA))
    assert files_of(capsys, folder)["files"] is None


def test_one_of_several_files_is_not_the_model(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without an index; the folder is planned as if nothing were there."""
    shard = folder / "model-00002-of-00004.safetensors"
    sparse(shard, safetensors(dict(list(TENSORS.items())[:9])), 0)
    said = complaint(capsys, "plan", "--model", str(shard), "--gpu", "l4")
    assert "is one of 4 files, and 1 of them are here: give all, or the" in said
    assert files_of(capsys, folder)["files"] is None
