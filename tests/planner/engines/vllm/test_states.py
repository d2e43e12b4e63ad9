"""States of recurrent layers against vLLM's own arithmetic, version by version."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from planner.deployment import Deployment
from planner.engines.vllm.options import Settings, VllmOptions, resolve
from planner.engines.vllm.pool import align
from planner.engines.vllm.specs import layer_specs
from planner.engines.vllm.states import state_spec
from planner.engines.vllm.versions import rules_of
from planner.errors import PlanRefused
from planner.hf_config import parse
from planner.kinds.convolution import RgLru, ShortConvolution
from planner.kinds.linear_attention import (
    KimiDeltaAttention,
    LightningAttention,
    MatrixLstm,
    Rwkv4,
)
from planner.kinds.recurrent import GatedDeltaNet, Mamba1, Mamba2
from planner.model import LayerGroup, Mixer, Model
from planner.parallelism import check
from presets.gpus import load_gpu
from presets.models import load_model_config

DATA = Path(__file__).parents[2] / "data" / "vllm_states.json"
CASES = json.loads(DATA.read_text())["cases"]
KINDS: dict[str, Any] = {
    "mamba1": Mamba1, "mamba2": Mamba2, "gated_deltanet": GatedDeltaNet,
    "kda": KimiDeltaAttention, "lightning_attention": LightningAttention,
    "short_convolution": ShortConvolution,
}  # fmt: skip
OLD = {"mamba1": {"time_step_rank": 8}}


def model_of(mixer: Mixer, dtype: str = "bfloat16", model_type: str = "") -> Model:
    return Model.model_validate(
        {
            "source": "", "model_type": model_type, "hidden_size": 64, "vocab_size": 64,
            "tie_word_embeddings": True, "dtype": dtype, "embedding": (), "head": (),
            "groups": (LayerGroup(layers=(0,), mixers=(mixer,), mlp=None, norms=()),),
        }
    )  # fmt: skip


def settings_of(version: str, drafted: int = 0, **more: Any) -> Settings:
    return Settings(rules_of(version), 0.9, 4096, 8, 2048, 16, False, True, drafted, **more)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['layer']['type']}-{c['version']}")
def test_states_equal_the_packages_own(case: dict[str, Any]) -> None:
    kind = case["layer"]["type"]
    mixer = KINDS[kind](**case["layer"], **OLD.get(kind, {}))
    model = model_of(mixer, case["dtype"])
    tp = case["tensor_parallel_size"]
    settings = settings_of(
        case["version"],
        case["drafted_tokens"],
        state_dtype=case["mamba_cache_dtype"],
        ssm_dtype=case["mamba_ssm_cache_dtype"],
    )
    found = None
    with suppress(PlanRefused):
        check(model, Deployment(tensor_parallel_size=tp))
        found = state_spec(mixer, model, tp, settings, None).state_bytes
    assert found == case["bytes"]


@pytest.mark.parametrize(
    ("mixer", "version"),
    [
        (MatrixLstm(num_heads=4, qk_dim=64, v_dim=64), "0.33.0"),
        (Rwkv4(hidden_size=64, intermediate_size=64), "0.33.0"),
        (RgLru(lru_width=64, num_heads=4, conv_kernel=4), "0.33.0"),
        (LightningAttention(num_heads=4, head_dim=16), "0.24.0"),
        (Mamba2(num_heads=4, head_dim=16, state_size=16, n_groups=1, conv_kernel=4), "0.9.1"),
    ],
)
def test_layers_that_a_version_does_not_keep_are_refused(mixer: Mixer, version: str) -> None:
    with pytest.raises(PlanRefused, match="does not keep the states"):
        state_spec(mixer, model_of(mixer), 1, settings_of(version), None)


@pytest.mark.parametrize(
    ("config", "element"),
    [
        ({"mamba_ssm_dtype": "float32"}, 4),
        ({"text_config": {"mamba_ssm_dtype": "float32"}}, 4),
        ({"mamba_ssm_dtype": "bfloat16"}, 2),
        ({}, 2),
    ],
)
def test_qwen_states_are_what_the_file_says(config: dict[str, Any], element: int) -> None:
    """Nothing said is "auto", the model's dtype: 4 heads of 16 x 16, and 3 columns of 2 x 32 + 64
    channels in bfloat16."""
    mixer = GatedDeltaNet(
        num_key_heads=2, num_value_heads=4, head_k_dim=16, head_v_dim=16, conv_kernel=4
    )
    model = model_of(mixer, model_type="qwen3_5_text")
    found = state_spec(mixer, model, 1, settings_of("0.33.0"), config).state_bytes
    assert found == 4 * 16 * 16 * element + 128 * 3 * 2


@pytest.mark.parametrize(
    ("name", "gpu", "version", "blocks", "tokens"),
    [
        ("qwen3-next-80b-a3b-thinking", "h200-sxm-141gb", "0.32.0", 2, 544),
        ("qwen3-next-80b-a3b-thinking", "h200-sxm-141gb", "0.33.0", 3, 576),
        ("qwen3-next-80b-a3b-thinking", "a100-sxm4-80gb", "0.33.0", 2, 544),
        ("nemotron-h-8b-base-8k", "h200-sxm-141gb", "0.31.0", 2, 1040),
        ("nemotron-h-8b-base-8k", "h200-sxm-141gb", "0.32.0", 3, 1040),
        ("jamba-v0.1", "h200-sxm-141gb", "0.33.0", 2, 80),
    ],
)
def test_prefills_that_export_states_hold_a_block_more(
    name: str, gpu: str, version: str, blocks: int, tokens: int
) -> None:
    """Qwen3-Next's state in bf16: 32 x 128 x 128 and 3 x 8192, 1,097,728 bytes; attention 2,048 a
    token: 536 tokens, 544 in steps of 16, 576 where FlashInfer exports at every 64. Nemotron-H:
    4,255,744 bytes over 4,096 a token, 1,039. Jamba: 8192 x (16 + 3) x 2 over 4,096, 76: 80."""
    config = load_model_config(name)
    model = parse(config)
    settings = resolve(model, load_gpu(gpu), VllmOptions(version=version))
    settings = Settings(**{**_fields(settings), "prefix_caching": True})
    specs = [spec for _, spec in layer_specs(model, Deployment(), settings, config=config)]
    aligned = align(
        specs, settings.rules, states_per_block=True, export_step=settings.export_step or 1
    )
    assert {spec.state_blocks for spec in aligned if spec.kind == "mamba"} == {blocks}
    assert {spec.block_size for spec in aligned} == {tokens}


def _fields(settings: Settings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in settings.__slots__}
