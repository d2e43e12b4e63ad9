"""SGLang's default static fraction by version, as its published packages work it out."""

from typing import Any

import pytest

from planner.deployment import Deployment
from planner.engines.engine import EngineFigures
from planner.engines.sglang.figures import sglang_figures
from planner.engines.sglang.fraction import (
    of_card,
    reserved_mib,
    static_fraction,
    version_of,
    vision_share,
)
from planner.engines.sglang.options import SglangOptions
from planner.errors import PlanRefused
from planner.hf_config import parse
from planner.units import GIB
from presets.gpus import load_gpu
from presets.models import load_model_config

H100, H200, B200, RTX_4090 = 81559, 143771, 183359, 24564
TOWER = {"vision_config": {"num_hidden_layers": 24, "hidden_size": 1024}}


@pytest.mark.parametrize(
    ("version", "memory", "gpus", "fraction"),
    [
        ("0.3.6", H100, 1, 0.88),
        ("0.3.6", H100, 8, 0.82),
        ("0.4.5", H100, 8, 0.81),
        ("0.4.5", RTX_4090, 4, 0.85),
        ("0.4.7", B200, 8, 0.79),
        ("0.4.7", H200, 1, 0.872),  # 18 GiB stay free, which is more than the table's 7.9 %
        ("0.4.8", H100, 1, 0.874),
        ("0.5.2", H100, 8, 0.831),
        ("0.5.2", H200, 8, 0.886),
    ],
)
def test_the_fraction_of_earlier_versions(
    version: str, memory: int, gpus: int, fraction: float
) -> None:
    found = version_of(version)
    reserved = reserved_mib(memory, *of_card(memory, gpus, found), gpus, version=found)
    assert static_fraction(None, memory, reserved, {}, found) == pytest.approx(fraction, abs=5e-4)


def test_cards_of_24_gib_take_longer_chunks_from_0_5_20() -> None:
    assert of_card(RTX_4090, 1, version_of("0.5.18")) == (2048, 24)
    assert of_card(RTX_4090, 4, version_of("0.5.18")) == (2048, 80)
    assert of_card(RTX_4090, 1, version_of("0.5.20")) == (4096, 48)


@pytest.mark.parametrize(
    ("version", "algorithm", "mib"),
    [("0.5.8", "EAGLE", 2048), ("0.5.12", "EAGLE", 4096), ("0.5.12", "STANDALONE", 6144),
     ("0.5.12", "NGRAM", 0), ("0.5.14", "EAGLE", 0)],
)  # fmt: skip
def test_drafts_had_a_flat_reserve_before_0_5_14(version: str, algorithm: str, mib: int) -> None:
    found = version_of(version)
    plain = reserved_mib(RTX_4090, 2048, 24, 1, version=found)
    assert reserved_mib(RTX_4090, 2048, 24, 1, version=found, algorithm=algorithm) == plain + mib


def test_a_vision_tower_lowers_even_a_given_fraction_before_0_4_10() -> None:
    assert vision_share({}, version_of("0.5.8")) == 1
    assert static_fraction(0.8, H100, 0, TOWER, version_of("0.4.7")) == pytest.approx(0.72)
    assert static_fraction(0.8, H100, 0, TOWER, version_of("0.4.10")) == 0.8


@pytest.mark.parametrize("version", ["0.2.9", "0.6", "1.0", "main"])
def test_other_versions_are_refused(version: str) -> None:
    with pytest.raises(PlanRefused, match="is not described"):
        version_of(version)


def test_before_0_5_14_the_pool_is_sized_without_what_drafts() -> None:
    """The target's pool is the plain one less the flat reserve; drafts come beside it."""
    given = {"mem_fraction_static": 0.8}
    drafts = {"speculative_algorithm": "EAGLE", "speculative_num_draft_tokens": 4}
    parsed = parse(load_model_config("deepseek-v3"), "deepseek-v3")
    eight, h200 = Deployment(tensor_parallel_size=8), load_gpu("h200-sxm-141gb")

    def found(version: str, **more: Any) -> EngineFigures:
        options = SglangOptions(version=version, **given, **more)
        return sglang_figures(parsed, h200, eight, options)

    old, plain = found("0.5.8", **drafts), found("0.5.8")
    assert old.kv_cache_tokens == plain.kv_cache_tokens
    assert old.components["weights"] == plain.components["weights"]
    assert old.mtp_bytes == 0
    assert old.outside_budget["drafting"].bytes > GIB
    new = found("0.5.14", **drafts)
    assert new.kv_cache_tokens < plain.kv_cache_tokens
    assert new.mtp_bytes > GIB
    assert "drafting" not in new.outside_budget


@pytest.mark.parametrize(("graphs", "mib"), [(300, 12288 + 7200), (512, 12288 + 12288 + 6144)])
def test_attention_that_is_data_parallel_reserves_for_its_graphs(graphs: int, mib: int) -> None:
    """Of 8 ranks, chunks of 8,192: 512 + 1.5 x 8192 + 1024 + 2 x graphs, then 3 x graphs x 8, and
    1.5 x graphs x 8 beyond 300 (facts/engines.md, server_args of 0.5.23).
    """
    found = reserved_mib(H200, 8192, graphs, 1, data_parallel_size=8)
    assert found == 512 + 1024 / 8 + 2 * graphs + mib
