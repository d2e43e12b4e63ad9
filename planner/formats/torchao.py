"""torchao: `quant_type` is {"default": {_type, _version, _data}}, or a bare name in older files.

    {"quant_method": "torchao", "quant_type": {"default": {"_type": "Int4WeightOnlyConfig", ...}}}

A type may give each module its own (FqnToConfig). Sources: torchao.core.config, transformers 5.24,
quantizers/quantizer_torchao and TorchAoConfig. Neither vLLM 0.33 nor transformers 5 load bare names
and the types' version 1, which torchao has dropped.
"""

from itertools import groupby

from planner.formats.module_names import Patterns, bare
from planner.formats.quantization_scheme import EMBEDDING, Rule, Scheme, by_name, converted, names
from planner.formats.torchao_types import Stored, stored
from planner.formats.weight_formats import WeightFormat
from planner.hf_config.reader import Fields, short

OLD = "torchao v1"
"""What a Scheme is called whose tensors today's torchao no longer loads."""
NAMES = {
    "int4_weight_only": "Int4WeightOnlyConfig",
    "int8_weight_only": "Int8WeightOnlyConfig",
    "int8_dynamic_activation_int8_weight": "Int8DynamicActivationInt8WeightConfig",
    "int8_dynamic_activation_int4_weight": "Int8DynamicActivationInt4WeightConfig",
    "float8_weight_only": "Float8WeightOnlyConfig",
    "float8_dynamic_activation_float8_weight": "Float8DynamicActivationFloat8WeightConfig",
}
BY_MODULE = ("FqnToConfig", "ModuleFqnToConfig")
DEFAULT = "_default"


def read(fields: Fields) -> Scheme:
    """The Scheme of a torchao configuration."""
    config = _config(fields)
    ignore, head = converted(fields)
    tables = fields.flag("include_input_output_embeddings", default=False)
    if tables:
        listed = names(fields, "modules_to_not_convert")
        kept = [name for name in listed if bare(name) not in (EMBEDDING, "lm_head")]
        ignore, head = Patterns(kept, fields.name_of("modules_to_not_convert")), True
    modules = _modules(config) if config.text("_type") in BY_MODULE else {DEFAULT: stored(config)}
    exact = ((n, _format(s)) for n, s in modules.items() if n != DEFAULT and n[:3] != "re:")
    ruled = [(name[3:], _format(s)) for name, s in modules.items() if name.startswith("re:")]
    rules: tuple[Rule, ...] = tuple(
        (Patterns([_whole(name) for name, _ in alike], config.path, regex=True), fmt)
        for fmt, alike in groupby(ruled, key=lambda pair: pair[1])
    )
    named, linear = by_name(exact, config.path[:-1]), _format(modules.get(DEFAULT))
    used = [found for found in modules.values() if found is not None]
    return Scheme(
        OLD if any(found.old for found in used) else "torchao",
        linear, linear, ignore, rules, head=head, named=named,
        table=named.get(EMBEDDING, linear if tables else None),
        capability=max((s.capability for s in used if s.capability is not None), default=None),
        cuda_only=any(found.cuda_only for found in used),
    )  # fmt: skip


def _whole(expression: str) -> str:
    """An expression for modules or for their weights, which must fit all of a name."""
    return rf"(?:{expression.removesuffix('.weight')})\Z"


def _config(fields: Fields) -> Fields:
    """The type as an object; a bare name has its options in `quant_type_kwargs`."""
    value = fields.raw("quant_type")
    if isinstance(value, str):
        if value not in NAMES:
            raise fields.refuse("quant_type", f"{short(value)} does not settle what is stored")
        data = fields.part("quant_type_kwargs").config
        return Fields({"_type": NAMES[value], "_data": data}, f"{fields.name_of('quant_type')}.")
    config = fields.child("quant_type")
    default = None if config is None else config.child("default")
    if default is None:
        raise fields.refuse("quant_type", "is missing, so no format is given")
    return default


def _modules(config: Fields) -> dict[str, Stored | None]:
    """What each module's own type stores, by name or expression; None leaves it alone."""
    data = config.part("_data")
    lists = [data.part(name) for name in ("fqn_to_config", "module_fqn_to_config")]
    modules = next((found for found in lists if found.config), None)
    if modules is None:
        raise data.refuse("fqn_to_config", "is missing, so no format is given")
    own = {name: modules.child(name) for name in modules.config}
    return {name: None if child is None else stored(child) for name, child in own.items()}


def _format(found: Stored | None) -> WeightFormat | None:
    return None if found is None else found.format
