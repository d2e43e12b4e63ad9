"""Every model file is found by id and by Hub id, and nothing else is."""

import json
from pathlib import Path

import pytest

from planner.errors import PlanRefused
from planner.formats.quantization import assign
from planner.hf_config import parse
from planner.parameters import count
from presets import models
from presets.models import all_names, load_model_config, load_model_source, search

FOLDER = Path(models.__file__).with_name("models")
FILES = sorted(path for path in FOLDER.glob("*.json") if path.name != "aliases.json")
ALIASES = json.loads((FOLDER / "aliases.json").read_text())
TRUTH = Path(__file__).parents[3] / "shared" / "truth"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_found_by_its_id_and_its_hub_id(path: Path) -> None:
    entry = json.loads(path.read_text())
    assert set(entry) == {"id", "hub_id", "config_kind", "sources", "config"}
    assert entry["id"] == path.stem == entry["hub_id"].split("/")[1].lower()
    assert entry["config_kind"] in {"verbatim", "trimmed", "transcribed"}
    assert entry["sources"]
    for name in (entry["id"], entry["hub_id"], entry["id"].upper(), entry["hub_id"].lower()):
        assert load_model_config(name) == entry["config"]
    assert load_model_source(entry["hub_id"]).hub_id == entry["hub_id"]


@pytest.mark.parametrize("alias", ALIASES["aliases"])
def test_an_alias_gives_the_other_config(alias: str) -> None:
    entry = ALIASES["aliases"][alias]
    assert entry["source"] in ALIASES["sources"]
    expected = load_model_config(entry["config_of"]) | entry.get("set", {})
    assert load_model_config(alias) == load_model_config(alias.split("/")[-1]) == expected


def test_no_two_names_are_alike() -> None:
    names = [name.id for name in all_names()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("name", "hub_id", "layers"),
    [
        ("llama-3-8b", "meta-llama/Meta-Llama-3-8B", 32),
        ("llama-3.1-8b-instruct", "meta-llama/Llama-3.1-8B", 32),
        ("llama-3.3-70b", "meta-llama/Llama-3.3-70B-Instruct", 80),
        ("qwen3-30b-a3b", "Qwen/Qwen3-30B-A3B", 48),
        ("gpt-oss-120b", "openai/gpt-oss-120b", 36),
        ("deepseek-r1", "deepseek-ai/DeepSeek-R1", 61),
        ("DeepSeek-V3-0324", "deepseek-ai/DeepSeek-V3", 61),
    ],
)
def test_well_known_names(name: str, hub_id: str, layers: int) -> None:
    assert load_model_source(name).hub_id == hub_id
    assert load_model_config(name)["num_hidden_layers"] == layers


def test_an_instruct_model_keeps_its_own_context_length() -> None:
    assert load_model_config("qwen2.5-7b")["max_position_embeddings"] == 131072
    assert load_model_config("Qwen/Qwen2.5-7B-Instruct")["max_position_embeddings"] == 32768


def test_repositories_of_one_name_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stem, owner in (("m-1b", "first"), ("second--m-1b", "second")):
        entry = {"id": "m-1b", "hub_id": f"{owner}/M-1B", "config_kind": "verbatim"}
        entry |= {"sources": ["x"], "config": {"hidden_size": owner}}
        (tmp_path / f"{stem}.json").write_text(json.dumps(entry))
    (tmp_path / "aliases.json").write_text('{"sources": {}, "aliases": {}}')
    monkeypatch.setattr(models, "_FOLDER", tmp_path)
    caches = (models._find, models.all_names, models._aliases, models._alias_document)
    for function in caches:
        function.cache_clear()
    try:
        assert load_model_config("m-1b") == {"hidden_size": "first"}
        assert load_model_config("First/M-1B") == {"hidden_size": "first"}
        assert load_model_config("second/m-1b") == {"hidden_size": "second"}
        with pytest.raises(PlanRefused):
            load_model_config("third/m-1b")
    finally:
        for function in caches:
            function.cache_clear()


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("llama-3.1-9b", 3),
        ("someone/gemma-7b", 3),
        ("../gpus", 0),
        ("", 0),
        ("meta-llama/../gpus", None),
        ("a/b/c", 0),
        ("aliases", None),
    ],
)
def test_an_unknown_name_is_refused_with_what_else_to_do(name: str, near: int | None) -> None:
    with pytest.raises(PlanRefused, match=r"Save its config\.json") as refusal:
        load_model_config(name)
    named = str(refusal.value).partition("Close in name: ")[2]
    if near is not None:
        assert (named.count(",") + 1 if named else 0) == near


def test_the_closest_name_is_suggested() -> None:
    with pytest.raises(PlanRefused, match=r"llama-3\.1-8b"):
        load_model_config("llama-3.1-9b")


def test_a_caller_may_change_what_it_was_given() -> None:
    load_model_config("llama-3.1-8b")["hidden_size"] = 0
    assert load_model_config("llama-3.1-8b")["hidden_size"] == 4096


def test_search() -> None:
    assert search("llama-3.1-8b")[0].hub_id == "meta-llama/Llama-3.1-8B"
    assert {name.id for name in search("qwen3 a3b")} >= {"qwen3-30b-a3b", "qwen3.5-35b-a3b"}
    assert search("llama 3.3 70b")[0].id.startswith("llama-3.3-70b")
    assert "gpt-oss-120b" in {name.id for name in search("gptoss120")}
    assert len(search()) == len(all_names()) == len(FILES) + len(ALIASES["aliases"])
    assert search("zzzzzzzz") == []


def test_a_lookup_opens_only_the_file_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    real = Path.read_text

    def spy(path: Path, *args: str, **kwargs: str) -> str:
        opened.append(path.name)
        return real(path, *args, **kwargs)

    models._find.cache_clear()
    monkeypatch.setattr(Path, "read_text", spy)
    load_model_config("mistralai/Mixtral-8x7B-v0.1")
    assert opened == ["mixtral-8x7b-v0.1.json"]


@pytest.mark.skipif(not TRUTH.exists(), reason="shared/truth is not here")
def test_configs_are_those_of_the_reference_set() -> None:
    rows = json.loads((TRUTH / "models.json").read_text())
    assert {row["id"] for row in rows} <= {json.loads(p.read_text())["hub_id"] for p in FILES}
    for row in rows:
        file = TRUTH / "models" / Path(row["config_file"]).name
        reference = json.loads(file.read_text())
        if row["id"] == "MiniMaxAI/MiniMax-M3":  # there, of NVIDIA's quantised files
            del reference["quantization_config"], reference["text_config"]["dtype"]
            reference["text_config"] |= {"num_mtp_modules": 7, "num_nextn_predict_layers": 1}
        assert load_model_config(row["id"]) == reference, row["id"]


@pytest.mark.parametrize(
    ("short", "hub_id"),
    [
        ("llama-3.3-70b", "meta-llama/Llama-3.3-70B-Instruct"),
        ("llama-3-8b-instruct", "meta-llama/Meta-Llama-3-8B-Instruct"),
        ("kimi-k2", "moonshotai/Kimi-K2-Instruct"),
        ("Codestral-Mamba", "mistralai/Mamba-Codestral-7B-v0.1"),
        ("qwen2.5-7b-instruct", "Qwen/Qwen2.5-7B-Instruct"),
    ],
)
def test_a_shorter_name_stands_for_a_repository(short: str, hub_id: str) -> None:
    assert models.served_name(short) == hub_id
    assert models.served_name(hub_id.upper()) == hub_id


def test_every_name_has_a_repository() -> None:
    assert [name.id for name in all_names() if name.hub_id.count("/") != 1] == []
    assert "codestral-mamba" in [name.id for name in search("codestral-mamba")]


def test_an_unknown_repository_is_told_what_else_to_give() -> None:
    with pytest.raises(PlanRefused, match=r"not among the model presets.*list models.*config.json"):
        load_model_config("Qwen/Qwen9-14B")


def test_nonsense_gets_no_suggestion() -> None:
    with pytest.raises(PlanRefused) as refused:
        load_model_config("zzzzzz")
    assert "Close in name" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("qwen2.5-0.5b", 494_032_768),
        ("qwen2.5-14b-instruct", 14_770_033_664),
        ("mistral-7b-instruct-v0.3", 7_248_023_552),
        ("phi-4", 14_659_507_200),
        ("qwen2.5-vl-7b-instruct", 8_292_166_656),
        ("gemma-3-1b-it", 999_885_952),
        ("gemma-3-12b-it", 12_187_325_040),
        ("qwen3-235b-a22b-instruct-2507", 235_093_634_560),
        ("qwen3-vl-8b-instruct", 8_767_123_696),
        ("minimax-m3", 427_040_140_160 - 57 * 128),  # a bias per router beside, which are buffers
    ],
)
def test_parameters_are_those_of_the_published_files(name: str, parameters: int) -> None:
    """Of the headers of the repositories' safetensors files, towers and all."""
    found = count(parse(load_model_config(name), name))
    assert found.total + found.towers == parameters


def test_gemma_4_is_counted_with_its_tower() -> None:
    """Gemma4ForConditionalGeneration of transformers 5.24, on the meta device."""
    found = count(parse(load_model_config("gemma-4-26b-a4b"), "gemma-4-26b-a4b"))
    assert (found.total, found.towers) == (25_233_141_760, 572_792_112)


def test_an_awq_checkpoint_is_as_large_as_its_files() -> None:
    """Qwen2.5-VL-7B-Instruct-AWQ on the Hub: 3.98 and 2.94 GB, with a tower in 16 bits."""
    found = parse(load_model_config("qwen2.5-vl-7b-instruct-awq"))
    weights = sum(assign(found, "auto").bytes_by_format().values())
    assert (weights + 2 * count(found).towers) / 1e9 == pytest.approx(3.98 + 2.94, abs=0.01)
