"""Units and the few integer helpers every room needs. Bytes are ints; GiB is 2**30."""

KIB = 2**10
MIB = 2**20
GIB = 2**30
TIB = 2**40
PIB = 2**50
MINUTE_S = 60
UNITS = ((PIB, "PiB"), (TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB"))


def ceil_div(a: int, b: int) -> int:
    """Smallest integer not below a / b."""
    return -(-a // b)


def round_up(a: int, multiple: int) -> int:
    """Smallest multiple of `multiple` not below a."""
    return ceil_div(a, multiple) * multiple


def format_bytes(n: int) -> str:
    """Bytes as people read them, binary and labelled: '1.50 TiB', '11.25 GiB', '96 B'."""
    size = abs(n)
    for unit, name in UNITS:
        if size >= unit:
            return f"{n / unit:,.2f} {name}"
    return f"{n} B"


def format_seconds(s: float) -> str:
    """A time in the unit that suits it: '12.5 s', '45.4 ms', '454 µs', '0 s'."""
    scale, unit = (1.0, "s") if s >= 1 or not s else (1e3, "ms") if s >= 1e-3 else (1e6, "µs")
    size = s * scale
    return f"{size:,.0f} {unit}" if size >= 100 else f"{size:.3g} {unit}"


def format_share(share: float, places: int = 0, sign: str = "") -> str:
    """A share of one in per cent, with the space that units have: '82 %', '-0.4 %'."""
    return f"{100 * share:{sign},.{places}f} %"


def counted(n: int, noun: str) -> str:
    """'1 user', '1,000 users'."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def parse_tokens(text: str) -> int:
    """A token count as people write it: 32768, '32,768', or 32k and 1m in units of 1024.

    Raises ValueError, a sentence.
    """
    written = text.strip().lower().replace(",", "")
    scale = {"k": 1024, "m": 1024**2}.get(written[-1:], 1)
    try:
        return int(written if scale == 1 else written[:-1]) * scale
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no number of tokens: write 32768 or 32k") from None


def format_tokens(n: int) -> str:
    """Token counts with separators: 131072 -> '131,072'."""
    return f"{n:,}"
