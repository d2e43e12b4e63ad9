"""A GGUF file in parts, and what stands for one in a configuration."""

import pytest

from planner.errors import ConfigRefused
from planner.files.gguf_config import config_of, gguf_with_files
from planner.files.gguf_header import read_header
from planner.formats.quantization import assign
from planner.hf_config import parse
from planner.variants import attention_variants
from tests.planner.files.small_gguf import small
from tests.planner.files.written import gguf


def test_parts_of_a_split_file_are_one_model() -> None:
    metadata, tensors = small()
    names = list(tensors)
    halves = [{n: tensors[n] for n in names[:8]}, {n: tensors[n] for n in names[8:]}]
    count = {"split.count": 2, "split.tensors.count": len(names)}
    parts = [
        read_header(gguf({**(metadata if i == 0 else {}), **count, "split.no": i}, half))
        for i, half in enumerate(halves)
    ]
    whole = read_header(gguf(metadata, tensors))
    assert config_of(parts) == config_of([whole])
    with pytest.raises(ConfigRefused, match="2 parts, and 1"):
        config_of(parts[:1])
    with pytest.raises(ConfigRefused, match=r"split\.count"):
        config_of(parts[::-1])


def test_a_model_of_another_shape_keeps_the_type_of_most() -> None:
    metadata, tensors = small()
    found = parse(gguf_with_files("x.gguf", [read_header(gguf(metadata, tensors))]))
    variant = next(v for v in attention_variants(found) if v.model.groups != found.groups)
    assert variant.model.files is None
    assert set(assign(variant.model, "auto").bytes_by_format()) == {"q8_0", "fp32"}


def test_what_stands_for_a_type_must_be_one() -> None:
    metadata, tensors = small()
    config = config_of([read_header(gguf(metadata, tensors))])
    for wrong in ("fp8", "x" * 5000, 5, ["q8_0"]):
        config["quantization_config"] = {"quant_method": "gguf", "like": wrong}
        with pytest.raises(ConfigRefused, match=r"like is .* no type") as refused:
            assign(parse(config), "auto")
        assert len(str(refused.value)) < 200
