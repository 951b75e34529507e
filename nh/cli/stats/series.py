"""The last values of one quantity, and their graph."""

from collections import deque
from collections.abc import Iterable
from typing import Final

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_WIDEST_COLUMNS: Final = 1000


class Series:
    """The last values of one quantity, oldest first; as many as the widest terminal shows.

    Args:
        values: the first ones, each 0 or more.
    """

    def __init__(self, values: Iterable[float] = ()) -> None:
        self.values: deque[float] = deque(values, maxlen=_WIDEST_COLUMNS)

    def add(self, value: float) -> None:
        """One more value, 0 or more."""
        self.values.append(value)

    def graph(self, width: int) -> str:
        """The last `width` values as blocks, the highest of them full height, aligned to the right."""
        shown = list(self.values)[-width:] if width > 0 else []
        top = max(shown, default=0) or 1
        steps = len(_BLOCKS) - 1
        return "".join(_BLOCKS[round(value / top * steps)] for value in shown).rjust(width)

    def highest(self, width: int) -> float:
        """What full height means in graph(width)."""
        return max(list(self.values)[-width:], default=0) if width > 0 else 0
