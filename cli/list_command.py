"""`list`: the models, drafting heads, GPUs and number formats that other commands know by name."""

from argparse import ArgumentParser, Namespace

from planner.errors import PlanRefused

KINDS = ("models", "heads", "gpus", "formats")


def add_to(parser: ArgumentParser) -> None:
    """The command's flags."""
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("text", nargs="?", default="", help="only names with this in them")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> str:
    """One line a name."""
    lines = {"models": models, "heads": heads, "gpus": gpus, "formats": formats}[arguments.kind]()
    wanted = arguments.text.lower()
    found = [line for line in lines if wanted in line.lower()]
    if not found:
        raise PlanRefused(
            f"none of the {arguments.kind} has {arguments.text[:80]!r} in its name: "
            f"list {arguments.kind} prints all"
        )
    return "".join(f"{line}\n" for line in found)


def models() -> list[str]:
    """Preset ids with their Hub ids."""
    from presets.models import all_names

    names = all_names()
    width = max(len(name.id) for name in names)
    return [f"{name.id:<{width}}  {name.hub_id}" for name in names]


def heads() -> list[str]:
    """How each head drafts, and its Hub id."""
    from presets.heads import head_ids

    return [f"{method:<6}  {name}" for method in ("eagle3", "eagle") for name in head_ids(method)]


def gpus() -> list[str]:
    """GPU ids, and those of their slices, with what a program can allocate."""
    from planner.units import format_bytes
    from presets.gpus import all_gpus, all_slices

    found = (*all_gpus(), *all_slices())
    width = max(len(gpu.id) for gpu in found)
    return [f"{gpu.id:<{width}}  {format_bytes(gpu.memory_bytes):>11}" for gpu in found]


def formats() -> list[str]:
    """Names for --weights-dtype, then for --kv-cache-dtype."""
    from planner.formats.dtypes import KV_FORMATS
    from planner.formats.gguf_mixes import BASE
    from planner.formats.weight_formats import NAMED

    weights = [f"weights   {name}" for name in dict.fromkeys((*NAMED, *BASE))]
    return weights + [f"kv-cache  {name}" for name in KV_FORMATS]
