"""Which multimodal files share the head with the embedding, against every class of transformers.

data/wrapper_ties.json was made by make_wrapper_ties.py.
"""

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from planner.errors import ConfigRefused
from planner.hf_config import parse
from planner.hf_config.ties import NEVER_TIED, TIES, share_head
from tests.planner.models import text

WRAPPERS = json.loads((Path(__file__).parent / "data" / "wrapper_ties.json").read_text())
ROWS = WRAPPERS["wrappers"]
VALUES = (None, True, False)


def stated(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


@pytest.mark.parametrize("wrapper", ROWS)
def test_a_file_that_says_it_ties_as_its_class_does(wrapper: str) -> None:
    for (outer, inner), tied in zip(product(VALUES, VALUES), ROWS[wrapper]["ties"], strict=True):
        config = stated(model_type=wrapper, tie_word_embeddings=outer)
        decoder = stated(tie_word_embeddings=inner)
        if wrapper in NEVER_TIED and (outer or inner):
            assert tied == "F"
            with pytest.raises(ConfigRefused, match="keeps lm_head apart"):
                share_head(config, decoder, "text_config")
            continue
        notes = share_head(config, decoder, "text_config")
        found = decoder.get(TIES, ROWS[wrapper]["default"])
        if outer is None and wrapper not in NEVER_TIED:
            assert decoder == stated(tie_word_embeddings=inner)
            continue
        assert ("T" if found else "F") == tied, (outer, inner)
        assert bool(notes) is (inner not in (None, found))


def test_a_file_that_contradicts_itself_is_read_with_a_note_or_refused() -> None:
    config = {
        "model_type": "mistral3", "tie_word_embeddings": True,
        "text_config": text(64, tie_word_embeddings=False),
    }  # fmt: skip
    found = parse(config)
    assert found.tie_word_embeddings
    assert any("text_config.tie_word_embeddings says False" in note for note in found.notes)
    remote = {**config, "model_type": "a_new_one", "auto_map": {"AutoModel": "modeling.Own"}}
    with pytest.raises(ConfigRefused, match="no field says which"):
        parse(remote)


@pytest.mark.parametrize("model_type", ["gemma4_assistant", "gemma4_unified_assistant"])
def test_a_drafter_is_no_plain_decoder(model_type: str) -> None:
    config = {"model_type": model_type, "text_config": text(64, model_type="gemma4_unified_text")}
    with pytest.raises(ConfigRefused, match="drafts for another model") as refused:
        parse(config)
    assert refused.value.field == "model_type"
