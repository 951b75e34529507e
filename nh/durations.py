"""Spans of time as people write them: `30`, `30s`, `1.5m`, `1h30m`."""

import re
from typing import Final

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_LONGEST_TEXT: Final = 40


def parse_seconds(text: str) -> float:
    """Parse a span of time.

    Args:
        text: a number of seconds, or numbers with the units ms, s, m, h and d, such as `1h30m`.

    Returns:
        Seconds; not checked for a range.

    Raises:
        ValueError: `text` is neither.
    """
    text = text.strip()
    if len(text) <= _LONGEST_TEXT:
        if _NUMBER.fullmatch(text):
            return float(text)
        parts = _PART.findall(text)
        if parts and "".join(number + unit for number, unit in parts) == text:
            return sum(float(number) * _UNITS[unit] for number, unit in parts)
    raise ValueError(f"{text[:_LONGEST_TEXT]!r} is not a span of time, such as 30, 30s, 5m or 1h30m")
