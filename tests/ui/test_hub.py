"""Reading a configuration from the Hub, against a server here that answers as the Hub does."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from planner.errors import ConfigRefused
from tests.planner.files.written import llama_shapes, safetensors
from ui.hub import fetch_from_hub
from ui.model_source import from_preset, from_text, hub_preset

hub = pytest.importorskip("huggingface_hub")

CONFIG = json.dumps(from_preset("qwen3-8b").config)
BESIDE = json.dumps(
    {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8",
     "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]}}
)  # fmt: skip
INDEX = json.dumps({"metadata": {"total_size": 16_381_470_720}, "weight_map": {
    "model.layers.0.mlp.up_proj.weight": "1", "lm_head.weight": "1"}})  # fmt: skip
LLAMA = from_preset("llama-3.1-8b").config
TENSORS = {name: ("BF16", shape) for name, shape in llama_shapes(LLAMA).items()}
PARTS = {
    f"model-0000{number}-of-00002.safetensors": safetensors(dict(list(TENSORS.items())[half]))
    for number, half in ((1, slice(150)), (2, slice(150, None)))
}
SHARDED = ("sharded", "whole")
"""Owners of weight files without an index; the second sends all of a file, whatever is asked."""
ANSWERS = {
    **dict.fromkeys(SHARDED, (200, None)),
    "indexed": (200, None),
    "good": (200, None),
    "modelopt": (200, None),
    "gated": (403, "GatedRepo"),
    "missing": (404, "RepoNotFound"),
    "nofile": (404, "EntryNotFound"),
    "broken": (500, None),
}


class Hub(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/api/models/"):
            self._list()
            return
        owner, name = self.path.split("/")[1], self.path.rpartition("/")[2]
        if owner in SHARDED and name in PARTS:
            self._file(PARTS[name], owner)
            return
        beside = self.path.endswith("hf_quant_config.json")
        index = self.path.endswith("index.json")
        none = (beside and owner != "modelopt") or (index and owner != "indexed")
        status, code = ANSWERS["nofile" if none and ANSWERS[owner][0] == 200 else owner]
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        config = json.dumps(LLAMA) if owner in SHARDED else CONFIG
        text = BESIDE if beside else INDEX if index else config
        self.wfile.write(text.encode() if status == 200 else b"{}")

    def _list(self) -> None:
        self.send_response(200)
        self.end_headers()
        names = ["config.json", *PARTS, "original/x.safetensors"]
        if self.path.split("/")[3] not in SHARDED:
            names = ["config.json"]
        self.wfile.write(json.dumps({"siblings": [{"rfilename": n} for n in names]}).encode())

    def _file(self, header: bytes, owner: str) -> None:
        first, last = self.headers["Range"].removeprefix("bytes=").split("-")
        assert first == "0"
        self.send_response(206 if owner == "sharded" else 200)
        self.end_headers()
        self.wfile.write((header + b"\0" * 2**18)[: int(last) + 1])

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def served(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        hub, "hf_hub_url", lambda repo, name: f"{endpoint}/{repo}/resolve/main/{name}"
    )
    monkeypatch.setattr(hub.constants, "ENDPOINT", endpoint)


@pytest.mark.usefixtures("served")
def test_a_configuration_is_read() -> None:
    choice = from_text(fetch_from_hub("good/model"), "good/model")
    assert choice.model.num_hidden_layers == 36
    assert choice.model.source == "good/model"


@pytest.mark.usefixtures("served")
def test_quantisation_in_a_file_beside_it_is_read_too() -> None:
    model = from_text(fetch_from_hub("modelopt/model"), "modelopt/model").model
    assert model.quantization is not None
    assert model.own_cache == "fp8"


@pytest.mark.usefixtures("served")
def test_the_index_of_its_weights_is_read_too() -> None:
    """8,190,735,360 parameters of Qwen3-8B in bf16."""
    model = from_text(fetch_from_hub("indexed/model"), "indexed/model").model
    assert model.files is not None
    assert (model.files.bytes, model.files.name) == (
        2 * 8_190_735_360,
        "model.safetensors.index.json",
    )


@pytest.mark.usefixtures("served")
def test_without_an_index_headers_are_read() -> None:
    """8,030,261,248 parameters of Llama-3.1-8B in bf16, in two files."""
    model = from_text(fetch_from_hub("sharded/model"), "sharded/model").model
    assert model.files is not None
    assert (model.files.bytes, model.files.name) == (2 * 8_030_261_248, "2 .safetensors files")
    assert from_text(fetch_from_hub("whole/model"), "whole/model").model.files is None


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize(
    ("owner", "sentence"),
    [
        ("gated", "is gated: accept its licence"),
        ("missing", "does not exist on the Hub"),
        ("nofile", "has no config.json"),
        ("broken", "cannot be read: the Hub does not answer"),
    ],
)
def test_the_hub_says_no(owner: str, sentence: str) -> None:
    with pytest.raises(ConfigRefused, match=f"^{owner}/model {sentence}"):
        fetch_from_hub(f"{owner}/model")


@pytest.mark.parametrize(
    ("owner", "printed"), [("good", CONFIG), ("gated", "gated/model is gated: accept its licence")]
)
def test_the_first_thing_that_a_process_does(endpoint: str, owner: str, printed: str) -> None:
    """The package loads its parts lazily, and tests before this one have loaded them here."""
    script = (
        "from planner.errors import SizewellError\n"
        "from ui.hub import fetch_from_hub\n"
        f"try: print(fetch_from_hub('{owner}/model'))\n"
        "except SizewellError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "HF_ENDPOINT": endpoint}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.startswith(printed), done.stderr


def test_no_network_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "hf_hub_url", lambda repo, name: "http://127.0.0.1:9/x")
    with pytest.raises(ConfigRefused, match="does not answer from here"):
        fetch_from_hub("some/model")


@pytest.mark.parametrize("hub_id", ["", "no-slash", "a/b/c", "../../etc/passwd", "a b/c"])
def test_what_is_no_hub_id_is_not_asked_for(hub_id: str) -> None:
    with pytest.raises(ConfigRefused, match="not a Hub id"):
        fetch_from_hub(hub_id)


def test_a_well_known_repository_needs_no_network() -> None:
    assert hub_preset(" qwen/Qwen3-8B ") == "qwen3-8b"
    assert hub_preset("someone/else") is None
