"""What the weight files beside a configuration hold, by part of the model.

    config = with_files(config, of_index("model.safetensors.index.json", read_index(document), 32))
    parse(config).files.bytes

They stand in the configuration itself, under `weight_files`, so that a plan, its page, its report
and its saved file all carry them. planner.files.parts makes them of headers and indexes.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from planner.errors import ConfigRefused
from planner.files.tensor import MOST_BYTES
from planner.frozen import Frozen

FIELD = "weight_files"
Part = Literal[
    "layers", "embedding", "head", "prediction", "towers", "positions", "buffers", "other"
]


class WeightFiles(Frozen):
    """name: what was read. bytes: of all tensors. parts: bytes by dtype of each part that is
    there; empty where only names are known (an index). tensors: how many. tables: embeddings and
    heads that prediction layers have to themselves. cut: files that end before their tensors do, so
    that they are a first part or an unfinished download.
    """

    name: str
    bytes: int = Field(ge=1, lt=MOST_BYTES)
    tensors: int = Field(ge=1, lt=MOST_BYTES)
    parts: dict[Part, dict[str, Annotated[int, Field(ge=0, lt=MOST_BYTES)]]]
    tables: int = Field(default=0, ge=0, lt=MOST_BYTES)
    cut: tuple[str, ...] = ()

    @model_validator(mode="after")
    def parts_are_all(self) -> Self:
        """Bytes by part, where they are known, are those of all."""
        if self.has_sizes and self.bytes != sum(
            sum(sizes.values()) for sizes in self.parts.values()
        ):
            raise ValueError("parts are not all of bytes")
        return self

    @property
    def has_sizes(self) -> bool:
        """Whether bytes are known by part."""
        return any(self.parts.values())


def with_files(config: Mapping[str, Any], files: WeightFiles) -> dict[str, Any]:
    """The configuration with what its files hold."""
    return {**config, FIELD: files.model_dump(mode="json", exclude_defaults=True)}


def without_files(config: Mapping[str, Any]) -> tuple[dict[str, Any], WeightFiles | None]:
    """A configuration taken apart again. Raises ConfigRefused for what no file was read into."""
    rest = {name: value for name, value in config.items() if name != FIELD}
    if config.get(FIELD) is None:
        return rest, None
    try:
        return rest, WeightFiles.model_validate(config[FIELD])
    except ValidationError:
        raise ConfigRefused(
            f"{FIELD} is not what Sizewell writes there: take it out, and give the files again",
            field=FIELD,
        ) from None
