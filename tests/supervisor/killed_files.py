"""A process that is killed between two operations on files, or in the middle of a write."""

import contextlib
import os
from collections.abc import Callable, Iterator

import pytest


class Killed(BaseException):
    """The process is killed."""


class Files:
    """Operations on files from now on: one of them is where the process is killed.

    Args:
        kill_at: which one, from 0; a write is killed in its middle, all others before they are done.

    Attributes:
        done: how many there were.
    """

    def __init__(self, kill_at: int) -> None:
        self.done = 0
        self._kill_at = kill_at

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("open", "write", "ftruncate", "posix_fallocate", "rename", "unlink"):
                patch.setattr(os, name, self._counted(getattr(os, name), is_write=name == "write"))
            yield

    def _counted(self, operation: Callable[..., object], *, is_write: bool) -> Callable[..., object]:
        def counted(*args: object, **kwargs: object) -> object:
            number, self.done = self.done, self.done + 1
            if number == self._kill_at:
                if is_write and isinstance(args[1], bytes):
                    operation(args[0], args[1][: len(args[1]) // 2])
                raise Killed
            return operation(*args, **kwargs)

        return counted
