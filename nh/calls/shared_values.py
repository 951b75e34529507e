"""Equal values of thousands of calls, as one object in memory."""

import functools
from typing import TypeVar

ValueT = TypeVar("ValueT")


@functools.lru_cache(maxsize=256)
def shared(values: tuple[ValueT, ...]) -> tuple[ValueT, ...]:
    """An equal tuple, the same object for equal arguments."""
    return values
