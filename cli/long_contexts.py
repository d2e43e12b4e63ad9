"""What length costs, for a terminal: `--lengths` and its table, and the line of a ring."""

from argparse import ArgumentTypeError

from cli.deployment_flags import tokens
from planner.long_context import LengthCost, RingCost
from planner.units import format_bytes, format_seconds, format_share
from planner.workload import MAX_TOKENS


def lengths(text: str) -> tuple[int, ...]:
    """'8k,32k' as argparse wants it."""
    found = tuple(tokens(part) for part in text.split(","))
    if not all(1 <= n <= MAX_TOKENS for n in found):
        raise ArgumentTypeError(f"a length has 1 to {MAX_TOKENS:,} tokens, not {text[:40]!r}")
    return found


def ring_line(found: RingCost) -> str:
    """What each GPU of a ring sends, what hides it, and what stripes save."""
    hidden = "which attention hides"
    if found.exposed_s:
        hidden = f"of which attention does not hide {format_seconds(found.exposed_s)}"
    return (
        f"of {found.ranks} GPUs: each sends {format_bytes(found.sent_bytes)} of a prompt in "
        f"{format_seconds(found.send_s)}, {hidden}; contiguous blocks instead of stripes would "
        f"make attention's {format_seconds(found.attention_s)} {found.plain_slowdown:.3g} times "
        "as long"
    )


def table(found: tuple[LengthCost, ...]) -> list[str]:
    """Lines after a blank one; nothing where no length was asked for."""
    if not found:
        return []
    return [
        "",
        "One sequence alone, by its length:",
        f"  {'tokens':>11}  {'cache':>11}  {'TTFT':>8}  {'TPOT':>8}  attention in its arithmetic",
        *(
            f"  {of.tokens:>11,}  {format_bytes(of.cache_bytes):>11}  "
            f"{format_seconds(of.prefill_s):>8}  {format_seconds(of.decode_s):>8}  "
            f"{format_share(of.attention_share)}"
            for of in found
        ),
    ]
