"""A model whose positions are stretched to the planned context, as an engine is told to load it.

    model, config, found = extended(model, config, workload, options.max_model_len)

Where `found` is not None the engine's command carries its flags, and the rest of the engine's plan
counts the stretched model. Sources, read in 2026: vLLM's page on context extension and its config
(dictionaries of --hf-overrides replace the field, nested ones are merged; `rope_parameters` since
0.12, vllm#28542), SGLang's configuration loader (fields are replaced, so theta is repeated;
sglang#41227), llama.cpp#28030 (YaRN's flags lift the server's cap), transformers 5.23.
"""

import json
from collections.abc import Mapping
from typing import Any

from planner.errors import PlanRefused
from planner.hf_config.wrappers import TEXT_CONFIGS
from planner.model import Model
from planner.positions import reach
from planner.rope.extension import Extension, extend
from planner.rope.layers import LOCAL
from planner.rope.words import cannot_extend
from planner.units import format_tokens
from planner.workload import Workload


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
