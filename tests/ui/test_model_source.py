"""Reading a configuration from the Hub, against a server here that answers as the Hub does."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from planner.errors import ConfigRefused
from ui.model_source import fetch_from_hub, from_preset, from_text, hub_preset

hub = pytest.importorskip("huggingface_hub")

CONFIG = json.dumps(from_preset("qwen3-8b").config)
ANSWERS = {
    "good": (200, None),
    "gated": (403, "GatedRepo"),
    "missing": (404, "RepoNotFound"),
    "nofile": (404, "EntryNotFound"),
    "broken": (500, None),
}


class Hub(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, code = ANSWERS[self.path.split("/")[1]]
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        self.wfile.write(CONFIG.encode() if status == 200 else b"{}")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(hub, "hf_hub_url", lambda repo, name: f"{base}/{repo}/resolve/main/{name}")
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("served")
def test_a_configuration_is_read() -> None:
    choice = from_text(fetch_from_hub("good/model"), "good/model")
    assert choice.model.num_hidden_layers == 36
    assert choice.model.source == "good/model"


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
