"""Objects that end with the block in which they are used."""

import abc
from typing import Self


class Closing(abc.ABC):
    """A context manager that closes itself at the end of its block."""

    @abc.abstractmethod
    def close(self) -> None:
        """End it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
