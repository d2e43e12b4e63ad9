"""Files of a model as they are opened on the page."""

import json
from dataclasses import dataclass

import pytest

from planner.errors import SizewellError
from planner.hf_config import parse
from presets.models import load_model_config
from tests.planner.files.written import gguf, gguf_name, llama_shapes, safetensors
from ui.model_files import configuration_of, newest

CONFIG = load_model_config("llama-3.2-1b")
SHAPES = llama_shapes(CONFIG)
TOTAL = 2 * 1_235_814_400
INDEX = {
    "metadata": {"total_size": TOTAL},
    "weight_map": {name: "model.safetensors" for name in SHAPES if "lm_head" not in name},
}


@dataclass
class Opened:
    name: str
    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def getvalue(self) -> bytes:
        return self.data


def opened(name: str, content: object) -> Opened:
    return Opened(name, content if isinstance(content, bytes) else json.dumps(content).encode())


CONFIG_FILE = opened("config.json", CONFIG)
INDEX_FILE = opened("model.safetensors.index.json", INDEX)
HEAD = opened(
    "model.safetensors",
    safetensors({n: ("BF16", s) for n, s in SHAPES.items() if "lm_head" not in n}),
)
GGUF_FILE = opened(
    "head.gguf",
    gguf(
        {
            "general.architecture": "llama", "llama.block_count": 16, "llama.vocab_size": 128256,
            "llama.embedding_length": 2048, "llama.feed_forward_length": 8192,
            "llama.attention.head_count": 32, "llama.attention.head_count_kv": 8,
            "llama.context_length": 131072,
        },
        {
            gguf_name(n): ("f32" if len(s) == 1 else "q8_0", s)
            for n, s in SHAPES.items() if "lm_head" not in n
        },
    ),
)  # fmt: skip


def test_a_configuration_alone_stays_as_it_is_written() -> None:
    odd = Opened("config.json", b'{"model_type":   "llama"}')
    assert configuration_of([odd], "before") == odd.data.decode()


@pytest.mark.parametrize("beside", [INDEX_FILE, HEAD])
@pytest.mark.parametrize("first", [True, False])
def test_weights_beside_a_configuration(beside: Opened, first: bool) -> None:
    files = [beside, CONFIG_FILE] if first else [CONFIG_FILE, beside]
    model = parse(json.loads(configuration_of(files, "")))
    assert model.files is not None
    assert (model.files.name, model.files.bytes) == (beside.name, TOTAL)
    assert model.files.cut == ()
    pasted = configuration_of([beside], json.dumps(CONFIG))
    assert parse(json.loads(pasted)) == model


def test_a_model_opened_later_takes_the_place_of_the_one_before() -> None:
    other = opened("config (1).json", {**CONFIG, "num_hidden_layers": 8})
    assert newest([[CONFIG_FILE, INDEX_FILE], [other]]) == [other]
    assert newest([[CONFIG_FILE], [GGUF_FILE], [INDEX_FILE]]) == [GGUF_FILE, INDEX_FILE]
    assert newest([[INDEX_FILE], [CONFIG_FILE], [HEAD]]) == [INDEX_FILE, CONFIG_FILE, HEAD]
    assert newest([[CONFIG_FILE, other]]) == [CONFIG_FILE, other]


def test_headers_of_all_files_say_more_than_an_index() -> None:
    model = parse(json.loads(configuration_of([CONFIG_FILE, INDEX_FILE, HEAD], "")))
    assert model.files is not None
    assert model.files.has_sizes
    part = opened("model-00001-of-00002.safetensors", safetensors({"a": ("BF16", (2,))}))
    model = parse(json.loads(configuration_of([CONFIG_FILE, INDEX_FILE, part], "")))
    assert model.files is not None
    assert not model.files.has_sizes


def test_a_gguf_file_is_a_model_of_its_own() -> None:
    model = parse(json.loads(configuration_of([GGUF_FILE], json.dumps(CONFIG))))
    assert model.groups == parse(CONFIG).groups
    assert model.files is not None
    assert model.files.bytes == (1_235_814_400 - 33 * 2048) // 32 * 34 + 33 * 2048 * 4


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([INDEX_FILE], "model.safetensors.index.json says what tensors there are: open the config"),
        ([HEAD], "model.safetensors says what tensors there are: open the config"),
        ([GGUF_FILE, CONFIG_FILE], "head.gguf is a whole model: open it without other files"),
        ([CONFIG_FILE, CONFIG_FILE], "config.json is a second configuration"),
        ([CONFIG_FILE, Opened("x.safetensors", b"1")], "x.safetensors: it is too short"),
        ([Opened("x.gguf", b"1")], "x.gguf: it does not begin"),
        ([Opened("y.gguf", GGUF_FILE.data[:99])], "y.gguf: its header goes on beyond the 99 bytes"),
        ([CONFIG_FILE, opened("model.safetensors.index.json", {})], "index.json: weight_map"),
        ([Opened("z.bin", b"1")], "z.bin holds weights"),
        (
            [CONFIG_FILE, opened("model-00001-of-00004.safetensors", HEAD.data)],
            "is one of 4 files, and 1 of them are here",
        ),
        ([Opened("big.gguf", b"0" * (24 * 2**20 + 1))], "give the first 24 MiB, which hold its"),
    ],
)
def test_what_cannot_be_put_together_is_said_in_a_sentence(
    files: list[Opened], message: str
) -> None:
    with pytest.raises(SizewellError, match=message):
        configuration_of(files, "")


def test_files_do_not_join_a_gguf_file_that_was_opened_before() -> None:
    before = configuration_of([GGUF_FILE], "")
    for file in (INDEX_FILE, HEAD):
        with pytest.raises(SizewellError, match="is a GGUF file's, which has its own tensors"):
            configuration_of([file], before)
    assert configuration_of([CONFIG_FILE, INDEX_FILE], before)
