"""Numbers for narrow columns: at most five characters, with a unit where it matters."""

from typing import Final

_SCALES: Final = ("", "k", "M", "G", "T", "P")


def count(value: float) -> str:
    """A number of things: 0, 9999, 12.3k, 1.23M. `value` is 0 or more."""
    return f"{round(value)}" if round(value) < 10_000 else _scaled(value)


def rate(per_s: float) -> str:
    """A rate: 0, 0.4, 12, 9999, 12.3k. `per_s` is 0 or more."""
    if 0 < per_s < 9.95:
        return "<0.1" if per_s < 0.05 else f"{per_s:.1f}"
    return count(per_s)


def size(size_bytes: float) -> str:
    """An amount of data, in powers of 1000: 999, 12.3k, 1.23M."""
    return f"{round(size_bytes)}" if round(size_bytes) < 1000 else _scaled(size_bytes)


def byte_size(size_bytes: float) -> str:
    """An amount of data with its unit: 999 B, 12.3 kB, 1.23 MB."""
    text = size(size_bytes)
    return f"{text} B" if text[-1].isdigit() else f"{text[:-1]} {text[-1]}B"


def packets(number: int) -> str:
    """A number of packets: 1 packet, 12.3k packets."""
    return f"{count(number)} packet{'' if number == 1 else 's'}"


def memory(size_bytes: float) -> str:
    """An amount of memory in whole MiB or GiB, as in process lists: 48M, 1.2G."""
    mebi = size_bytes / 2**20
    return f"{mebi:.0f}M" if mebi < 999.5 else f"{mebi / 1024:.1f}G"


def duration(seconds: float) -> str:
    """A time span: 0.4s, 12s, 3m05s, 1h02m, 3d04h. `seconds` is 0 or more."""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    if days:
        return f"{days}d{h:02}h"
    if hours:
        return f"{hours}h{m:02}m"
    return f"{minutes}m{s:02}s" if minutes else f"{s}s"


def lag(seconds: float) -> str:
    """A short delay in four characters: 0, <1ms, 12ms, 0.3s, 12s. `seconds` is 0 or more."""
    if seconds >= 9.95:
        return f"{seconds:.0f}s"
    if seconds >= 0.0995:
        return f"{seconds:.1f}s"
    if seconds >= 0.001:
        return f"{seconds * 1000:.0f}ms"
    return "<1ms" if seconds > 0 else "0"


def _scaled(value: float) -> str:
    scale = 0
    while scale + 1 < len(_SCALES) and value >= 999.5:
        value /= 1000
        scale += 1
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f}{_SCALES[scale]}"
