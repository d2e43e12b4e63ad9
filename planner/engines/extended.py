"""A model whose positions are stretched to the planned context, as an engine is told to load it.

    model, config, found = extended(model, config, workload, options.max_model_len)

Where `found` is not None the engine's command carries its flags, and the rest of the engine's plan
counts the stretched model. Sources, read in 2026: vLLM's page on context extension and its config
(dictionaries of --hf-overrides replace the field, nested ones are merged; `rope_parameters` since
0.12, vllm#28542), SGLang's configuration loader (fields are replaced, so theta is repeated;
sglang#41227), llama.cpp#28030 (YaRN's flags lift the server's cap), transformers 5.23.
"""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from planner.engines.vllm.versions import NEWEST_NAME, rules_of
from planner.errors import PlanRefused
from planner.hf_config.wrappers import TEXT_CONFIGS
from planner.model import Model
from planner.positions import reach
from planner.rope.extension import Extension, extend
from planner.rope.layers import LOCAL
from planner.rope.words import cannot_extend
from planner.units import format_tokens
from planner.workload import Workload

PARAMETERS_SINCE = 12
"""vLLM's minor version that reads `rope_parameters`; `rope_scaling` before."""
NOT_DYNAMIC = (
    "The base is fixed at the start by a rule of their own (in vLLM it changed with vllm#41277), "
    "or there is none (llama.cpp): choose yarn."
)


def extended(
    model: Model,
    config: Mapping[str, Any] | None,
    workload: Workload | None,
    asked: int | None,
) -> tuple[Model, Mapping[str, Any] | None, Extension | None]:
    """The stretched model and its configuration; both as given where the context is within what
    the configuration states, or where nothing stretches it.

    asked: the engine's own flag for the longest sequence, which goes before the workload's context.
    """
    wanted, stated = _wanted(workload, asked), reach(model).supported_tokens
    if stated is None or wanted <= stated:
        return model, config, None
    try:
        found = extend(model, wanted)
    except PlanRefused:
        return model, config, None
    return stretched(model, found), _rewritten(config, found), found


def _wanted(workload: Workload | None, asked: int | None) -> int:
    return asked or (workload.context if workload is not None else 0)


def stretched(model: Model, found: Extension) -> Model:
    """The model as its configuration would describe it with those parameters."""
    rope = dict(found.layers.rope) | found.scaling
    if found.local is not None:
        rope[LOCAL] = dict(found.local.rope)
    longest = found.max_position_embeddings or model.max_position_embeddings
    return model.model_copy(update={"rope": rope, "max_position_embeddings": longest})


def _rewritten(config: Mapping[str, Any] | None, found: Extension) -> Mapping[str, Any] | None:
    if config is None:
        return None
    nested = text_name(config)
    changed = overrides(found, config, new=_is_new(config))
    return {**config, **(changed if nested is None else {nested: config[nested] | changed[nested]})}


def _is_new(config: Mapping[str, Any] | None) -> bool:
    """Whether the file has `rope_parameters`, as transformers 5 writes it."""
    nested = text_name(config)
    text = (config or {}) if nested is None else (config or {})[nested]
    return text.get("rope_parameters") is not None


def text_name(config: Mapping[str, Any] | None) -> str | None:
    """The name of the text model's own object in its file; None where the file is the model's."""
    names = (name for name in TEXT_CONFIGS if isinstance((config or {}).get(name), Mapping))
    return next(names, None)


def overrides(
    found: Extension, config: Mapping[str, Any] | None, *, new: bool = True, longest: bool = True
) -> dict[str, Any]:
    """Fields to replace in config.json. new: as transformers 5 names them. longest: with
    max_position_embeddings, which engines check that do not multiply it themselves."""
    name = "rope_parameters" if new else "rope_scaling"
    fields: dict[str, Any] = {name: found.rope_parameters if new else found.rope_scaling}
    if longest and found.max_position_embeddings is not None:
        fields["max_position_embeddings"] = found.max_position_embeddings
    nested = text_name(config)
    return fields if nested is None else {nested: fields}


def vllm_flags(found: Extension, config: Mapping[str, Any] | None, version: str) -> list[str]:
    """Words for `vllm serve`, beside --max-model-len. vLLM multiplies the original length itself,
    where layer types do not differ."""
    new = rules_of(version).since(PARAMETERS_SINCE)
    if not new and text_name(config) is not None:
        raise PlanRefused(
            f"vLLM {version} overrides no fields inside {text_name(config)}: choose 0."
            f"{PARAMETERS_SINCE} or later for more than {format_tokens(found.stated_tokens)} tokens"
        )
    fields = overrides(found, config, new=new, longest=found.local is not None)
    return ["--hf-overrides", json.dumps(fields)]


def sglang_flags(found: Extension, config: Mapping[str, Any] | None) -> list[str]:
    """Words for SGLang, beside --context-length."""
    return ["--json-model-override-args", json.dumps(overrides(found, config))]


def llama_cpp_flags(found: Extension) -> list[str]:
    """Words for llama-server, beside -c: YaRN or linear."""
    words = ["--rope-scaling", found.method, "--rope-scale", f"{found.factor:.10g}"]
    return [*words, *(["--yarn-orig-ctx", str(found.original_tokens)] * (found.method == "yarn"))]


def llama_cpp_cap(found: Extension) -> str:
    """When llama-server cuts slots at the length in the file all the same, and what to add."""
    which = "Builds before llama.cpp#28030 (August 2026) cap"
    if found.method != "yarn":
        which = "llama-server caps"
    return (
        f"{which} each slot at the length in the file all the same: add --override-kv "
        f"ARCH.context_length=int:{found.context_tokens}, with the file's own name for ARCH."
    )


def transformers_arguments(found: Extension, config: Mapping[str, Any] | None) -> list[str]:
    """Arguments of from_pretrained()."""
    return [f"{name}={value!r}" for name, value in overrides(found, config).items()]


def commands(
    found: Extension, config: Mapping[str, Any] | None
) -> tuple[tuple[str, str, str], ...]:
    """What each engine is told: its name, the words, and what to know of them."""
    length = str(found.context_tokens)
    in_transformers = ", ".join(transformers_arguments(found, config))
    last = (
        ("TensorRT-LLM", f"--max_seq_len {length}",
         f"No flag stretches positions: {in_copy(found, config)}."),
        ("transformers", f"from_pretrained(..., {in_transformers})", ""),
    )  # fmt: skip
    if found.method == "dynamic":
        return (("vLLM, SGLang and llama.cpp", "", NOT_DYNAMIC), *last)
    vllm = ["--max-model-len", length, *vllm_flags(found, config, NEWEST_NAME)]
    sglang = ["--context-length", length, *sglang_flags(found, config)]
    return (
        ("vLLM", shlex.join(vllm), ""),
        ("SGLang", shlex.join(sglang), ""),
        ("llama.cpp", shlex.join(["-c", length, *llama_cpp_flags(found)]), llama_cpp_cap(found)),
        *last,
    )


def notes_on(
    found: Extension | None, model: Model, workload: Workload | None, asked: int | None = None
) -> tuple[str, ...]:
    """What an engine's plan says of a context beyond the stated positions; nothing within them."""
    if found is not None:
        return (note(found),)
    wanted, stated = _wanted(workload, asked), reach(model).supported_tokens
    if stated is None or wanted <= stated:
        return ()
    return (
        f"{format_tokens(wanted)} tokens are beyond the {format_tokens(stated)} that the "
        f"configuration states, and {cannot_extend(model, wanted)}.",
    )


def note(found: Extension) -> str:
    """What a plan with stretched positions says of them."""
    return (
        f"The configuration states {format_tokens(found.stated_tokens)} positions: the command "
        f"stretches them {found.factor:.4g} times by {found.label}, without which the engine would "
        "refuse or cut longer texts. How good answers are that far out is not computed."
    )


def in_config_file(engine: str, found: Extension, config: Mapping[str, Any] | None) -> str:
    """The same where no flag of the engine says it: what the model's own file must hold."""
    return (
        f"The configuration states {format_tokens(found.stated_tokens)} positions, and no flag of "
        f"{engine} stretches them: {in_copy(found, config)}. How good answers are that far out is "
        "not computed."
    )


def in_copy(found: Extension, config: Mapping[str, Any] | None) -> str:
    """The fields to write, under the name that the file itself gives them."""
    fields = overrides(found, config, new=_is_new(config))
    return f"write {json.dumps(fields)} into a copy of config.json"
