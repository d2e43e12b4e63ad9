"""Which layers of a GGUF file slide."""

from typing import Any

import pytest

from planner.errors import ConfigRefused
from planner.files.gguf_config import config_of
from planner.files.gguf_header import GgufHeader
from planner.hf_config import parse
from tests.planner.files.converted import converted


def kinds(name: str = "gemma-3-1b-it", **changes: Any) -> dict[str, int]:
    """Layers by kind with other values under attention.*; None is no such key."""
    header = converted(name).header
    prefix = header.metadata["general.architecture"]
    metadata = {**header.metadata, **{f"{prefix}.attention.{k}": v for k, v in changes.items()}}
    metadata = {key: value for key, value in metadata.items() if value is not None}
    return parse(config_of([GgufHeader(metadata, header.tensors, 0)])).layer_counts


def test_windows_by_period_by_list_and_by_default() -> None:
    assert kinds() == {"sliding": 22, "full": 4}  # every sixth of 26 sees everything
    assert kinds(sliding_window_pattern=2) == {"sliding": 13, "full": 13}
    assert kinds(sliding_window_pattern=[True] * 25 + [False]) == {"sliding": 25, "full": 1}
    assert kinds(sliding_window_pattern=[True] * 26) == {"sliding": 26}
    assert kinds(sliding_window=0) == {"full": 26}


def test_periods_of_nothing_and_of_one() -> None:
    """llama-hparams.h, set_swa_pattern: a period of 0 slides everywhere, one of 1 nowhere."""
    assert kinds(sliding_window_pattern=0) == {"sliding": 26}
    assert kinds(sliding_window_pattern=1) == {"full": 26}


def test_a_list_that_describes_no_layers_is_refused() -> None:
    with pytest.raises(ConfigRefused, match="is no list of yes and no"):
        kinds(sliding_window_pattern=["no"] * 26)
    with pytest.raises(ConfigRefused, match="does not describe 26 layers"):
        kinds(sliding_window_pattern=[True, False])


def test_periods_that_begin_with_a_full_layer() -> None:
    """llama.cpp's cohere2moe.cpp and laguna.cpp ask load_swa_pattern for dense_first."""
    by_list = {"sliding": 30, "full": 10}
    assert kinds("cohere2_moe") == by_list
    assert kinds("cohere2_moe", sliding_window_pattern=None) == by_list
    header = converted("cohere2_moe").header
    metadata = {k: v for k, v in header.metadata.items() if not k.endswith("window_pattern")}
    config = config_of([GgufHeader(metadata, header.tensors, 0)])
    assert config["layer_types"][:5] == ["full_attention", *["sliding_attention"] * 3,
                                         "full_attention"]  # fmt: skip


def test_windows_that_jump() -> None:
    """Llama 4: chunks of 8192 whatever the file says, but none where it says 0 (llama4.cpp)."""
    name = "llama-4-scout-17b-16e-instruct"
    assert kinds(name) == {"chunked": 36, "full": 12}
    assert kinds(name, sliding_window=0) == {"full": 48}
