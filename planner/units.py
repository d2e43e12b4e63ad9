"""Units and the few integer helpers every room needs. Bytes are ints; GiB is 2**30."""

KIB = 2**10
MIB = 2**20
GIB = 2**30


def ceil_div(a: int, b: int) -> int:
    """Smallest integer not below a / b."""
    return -(-a // b)


def round_up(a: int, multiple: int) -> int:
    """Smallest multiple of `multiple` not below a."""
    return ceil_div(a, multiple) * multiple


def format_bytes(n: int) -> str:
    """Bytes as people read them, binary and labelled: '11.25 GiB', '512 KiB', '96 B'."""
    size = abs(n)
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size >= unit:
            return f"{n / unit:,.2f} {name}"
    return f"{n} B"


def counted(n: int, noun: str) -> str:
    """'1 user', '1,000 users'."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def format_tokens(n: int) -> str:
    """Token counts with separators: 131072 -> '131,072'."""
    return f"{n:,}"
