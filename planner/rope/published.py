"""What is claimed about extending a context, apart from what is computed: labelled statements."""

from planner.rope.extension import LABELS, Extension

SOURCES_FACTOR = 4
SOURCES_SAY = (
    "The sources claim 2 to 4 times the trained length after about 1,000 steps of fine-tuning, "
    "with quality falling towards the new end."
)
PUBLISHED: dict[str, tuple[float, str]] = {
    "yarn": (
        32,
        "Published: Llama 2 at 16 and 32 times its 4,096 tokens, after 400 and 600 steps of "
        "fine-tuning (Peng et al. 2023); Qwen2.5 and Qwen3 give 4 times for their own models.",
    ),
    "linear": (
        16,
        "Published: LLaMA at up to 16 times its 2,048 tokens, within 1,000 steps of fine-tuning "
        "(Chen et al. 2023): the sources' number of steps is this paper's.",
    ),
    "dynamic": (
        2,
        "Published: more than 2 times without fine-tuning, as Dynamic-YaRN (Peng et al. 2023).",
    ),
}
"""Method -> the largest factor that was shown, and where."""
ALWAYS = {
    "yarn": "Engines scale every text, short ones too: leave it out where texts are short.",
    "linear": "Without fine-tuning with the same factor all lengths get worse.",
    "dynamic": "The base changes while a text grows, and keys computed before no longer fit it; "
    "where an engine fixes it at the start (vLLM), short texts are scaled too.",
}


def claims(found: Extension) -> tuple[str, ...]:
    """The statements that hold for this extension, its factor beyond what was shown first."""
    shown, where = PUBLISHED[found.method]
    said = (SOURCES_SAY, where, ALWAYS[found.method])
    if found.factor > shown:
        beyond = (
            f"Outside what was published: {found.factor:.3g} times is more than the {shown:g} "
            f"shown for {LABELS[found.method]}."
        )
    elif found.factor > SOURCES_FACTOR:
        beyond = (
            f"Beyond the sources' claim: {found.factor:.3g} times is more than their "
            f"{SOURCES_FACTOR}."
        )
    else:
        return said
    return (beyond, *said)
