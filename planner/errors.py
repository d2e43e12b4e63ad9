"""Everything Sizewell refuses. One sentence each: what is wrong and what to do."""


class SizewellError(Exception):
    """Base of all refusals; str() of it is fit to show to a person."""


VERBS = ("is", "are", "and", "does", "holds", "has", "must")


def about(field: str, why: str) -> str:
    """'hidden_size is missing' where the field is what `why` speaks of, else 'field: why'."""
    return f"{field}{'' if why.split(' ', 1)[0] in VERBS else ':'} {why}"


class ConfigRefused(SizewellError):
    """A model configuration that cannot be sized exactly. `field` names what settles it."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class PlanRefused(SizewellError):
    """Inputs that contradict each other, such as a tensor-parallel size that does not divide."""
