"""The weights of a plan beside those in its model's files, and what makes the difference.

found = compare(model, "auto", assign(model, "auto"))     # None without files
found.difference, found.lines
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from planner.files.weight_files import WeightFiles
from planner.formats import gguf_names
from planner.formats.gguf_assignment import Stored, held_in_gguf
from planner.formats.quantization import Assignment, assign
from planner.formats.weight_formats import UNQUANTISED
from planner.model import Model
from planner.units import format_bytes

ELEMENT = {"F32": 4, "F16": 2, "BF16": 2}
"""Bytes of the dtypes that a checkpoint may be run in another one of."""
HEADER_BYTES = (60, 250)
"""What a tensor's entry takes in the header of a safetensors file, at least and at most."""
TIED = "stored although it is the embedding, which an engine holds once"
FOR_DRAFTING = "which an engine loads only to draft with"
ABSENT = "of which the files hold nothing"
AS_HELD = "planned as an engine holds quantised tensors once they are loaded"
REPACKED = 0.1
"""The share of a plan that this explains at most: it counts scales and zero points itself, so that
what is left are padding and order."""
UNEXPLAINED = "which no field of the configuration explains"
BUFFERS = (*gguf_names.BUFFERS, "score_bias")
"""Names of weights that stand for what most published code keeps as buffers."""
LABELS = {
    "layers": "the layers",
    "embedding": "the embedding",
    "head": "the output head",
    "prediction": "multi-token-prediction layers",
    "towers": "towers",
    "positions": "rotary factors and masks",
    "buffers": "what is added to routing scores and other buffers",
    "other": "what stands outside the layers",
}


@dataclass(frozen=True, slots=True)
class Line:
    """bytes: more in the files than in the plan; negative: less. explained: by something known."""

    label: str
    why: str
    bytes: int
    explained: bool = True


@dataclass(frozen=True, slots=True)
class Comparison:
    """planned: one copy of the weights with the towers that are counted."""

    files: WeightFiles
    planned: int
    lines: tuple[Line, ...]

    @property
    def difference(self) -> int:
        """More bytes in the files than in the plan; the sum of the lines."""
        return self.files.bytes - self.planned

    @property
    def unexplained(self) -> tuple[Line, ...]:
        return tuple(line for line in self.lines if not line.explained)

    @property
    def sentence(self) -> str:
        """All of it, as a person reads it."""
        verb = "hold" if self.files.name.endswith(" files") else "holds"
        size = f"{self.files.name} {verb} {format_bytes(self.files.bytes)} of tensors"
        if not self.lines:
            return f"{size}: what the plan counts, to the byte."
        return f"{size}, beside {format_bytes(self.planned)} planned: " + "; ".join(
            f"{_signed(line.bytes)} {line.label}, {line.why}" for line in self.lines
        ) + "."  # fmt: skip


def _signed(size: int) -> str:
    return f"{'+' if size > 0 else ''}{format_bytes(size)}"


def compare(model: Model, weights_dtype: str, assignment: Assignment) -> Comparison | None:
    """The model's files against `assignment`; None where none were read."""
    files = model.files
    if files is None:
        return None
    planned = planned_parts(model, assignment)
    counted = sum(size for part, size in planned.items() if part != "prediction")
    if weights_dtype.lower() != "auto":
        why = f"planned as {weights_dtype} and not as the files have them"
        lines: Iterable[Line] = [Line("for all of them", why, files.bytes - counted)]
    elif files.has_sizes:
        lines = _by_part(model, files, planned)
    else:
        lines = _by_total(model, files, planned, counted)
    return Comparison(files, counted, tuple(line for line in lines if line.bytes))


def planned_parts(model: Model, assignment: Assignment) -> dict[str, int]:
    """Bytes of each part as `assignment` stores it; prediction layers are no part of a plan."""
    found = dict.fromkeys(LABELS, 0)
    for held in assignment.layers:
        for weight, fmt in held.weights:
            part = "buffers" if weight.name in BUFFERS else "layers"
            found[part] += len(held.layers) * weight.copies * fmt.bytes(weight.shape)
    for weight, fmt in assignment.outside:
        part = "embedding" if weight.name == "embed_tokens" else "other"
        part = "head" if weight.name.startswith("lm_head") else part
        found[part] += weight.copies * fmt.bytes(weight.shape)
    found["prediction"] = _bytes(assignment.mtp_outside)
    found["prediction"] += sum(len(p.layers) * _bytes(p.weights) for p in assignment.mtp)
    plain = UNQUANTISED[model.dtype]
    found["towers"] = sum(w.copies * plain.bytes(w.shape) for w in model.towers)
    return found


def _bytes(stored: Stored) -> int:
    return sum(weight.copies * fmt.bytes(weight.shape) for weight, fmt in stored)


def _by_part(model: Model, files: WeightFiles, planned: dict[str, int]) -> Iterator[Line]:
    """Each part that differs, from headers that say what every tensor takes."""
    for part, label in LABELS.items():
        sizes = files.parts.get(part, {})  # type: ignore[call-overload]
        held, counted = sum(sizes.values()), planned[part]
        if part == "prediction":
            yield Line(label, FOR_DRAFTING, held)
        elif part in ("positions", "buffers"):
            yield Line(label, "which are no weights", held - counted)
        elif part == "head" and held and not counted and model.tie_word_embeddings:
            yield Line(label, TIED, held)
        elif part == "towers" and held and not counted:
            yield Line(label, "which the plan does not count", held)
        elif held != counted:
            yield _other_size(model, label, sizes, held, counted)


def _other_size(model: Model, label: str, sizes: dict[str, int], held: int, counted: int) -> Line:
    plain = UNQUANTISED[model.dtype]
    if model.quantization is None and set(sizes) <= set(ELEMENT):
        same = sum(size // ELEMENT[name] for name, size in sizes.items()) * plain.block_bytes
        if same == counted:
            kinds = " and ".join(sorted(sizes))
            return Line(label, f"stored in {kinds} and planned in {plain.name}", held - counted)
    if not held:
        return Line(label, ABSENT, -counted, explained=False)
    if _repacked(model, held - counted, counted):
        return Line(label, AS_HELD, held - counted)
    return Line(label, UNEXPLAINED, held - counted, explained=False)


def _repacked(model: Model, difference: int, counted: int) -> bool:
    quantised = model.quantization is not None and not held_in_gguf(model, "auto")
    return quantised and abs(difference) <= REPACKED * counted


def _by_total(
    model: Model, files: WeightFiles, planned: dict[str, int], counted: int
) -> Iterator[Line]:
    """What the names in an index let one expect, by the plan's own sizes, and what is left."""
    lines = list(_expected(model, files, planned))
    yield from lines
    rest = files.bytes - counted - sum(line.bytes for line in lines)
    unknown = [
        LABELS[part]
        for part in ("prediction", "towers", "positions", "buffers")
        if part in files.parts and not planned[part]
    ]
    least, most = (files.tensors * size for size in HEADER_BYTES)
    if least <= rest <= most:
        each = rest / files.tensors
        yield Line("of headers", f"{each:.0f} B a tensor, which some indexes count", rest)
    elif unknown and rest > 0:
        yield Line(" and ".join(unknown), "which the plan does not count", rest)
    elif _repacked(model, rest, counted):
        yield Line("for all of them", AS_HELD, rest)
    else:
        yield Line("of the total", UNEXPLAINED, rest, explained=False)


def _expected(model: Model, files: WeightFiles, planned: dict[str, int]) -> Iterator[Line]:
    if model.saved_dtype is not None and model.quantization is None:
        as_saved = model.model_copy(update={"dtype": model.saved_dtype})
        saved = planned_parts(as_saved, assign(as_saved, "auto"))
        grown = sum(saved[part] - planned[part] for part in LABELS if part != "prediction")
        why = f"stored in {model.saved_dtype} and planned in {model.dtype}"
        yield Line("for all of them", why, grown)
        planned = saved
    if "head" in files.parts and not planned["head"] and model.tie_word_embeddings:
        yield Line(LABELS["head"], TIED, planned["embedding"])
    if "prediction" in files.parts and planned["prediction"]:
        size = planned["prediction"] + files.tables * planned["embedding"]
        yield Line(LABELS["prediction"], FOR_DRAFTING, size)
    if "towers" not in files.parts and planned["towers"]:
        yield Line(LABELS["towers"], ABSENT, -planned["towers"], explained=False)
