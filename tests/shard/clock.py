"""A clock that a test advances."""


class Clock:
    """Returns `now`, seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
