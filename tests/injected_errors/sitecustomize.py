"""One error of the system in the next nh behind execve(2), as $TEST_ERROR says.

Python imports this first.
The file of that name has: an audit event of Python (such as `open`), which of them fails, counted from the
handover on, or `import` from the first of nh's modules on, and the name of the errno. The process that takes
the file has the error, once.
See tests/survival/test_another_try.py.
"""

import errno
import os
import sys

_FILE = os.environ.get("TEST_ERROR", "")


class Injector:
    """Raises the error at the event."""

    def __init__(self, event: str, at: int, number: int) -> None:
        self._event, self._left, self._number = event, at, number
        self._counts = False

    def hear(self, event: str, arguments: tuple[object, ...]) -> None:
        self._counts |= event == "socket.__new__"  # the handover is received
        self._counts |= event == self._event == "import" and arguments[0] == "nh.cli.main"
        if event != self._event or not self._counts or self._left < 0:
            return
        self._left -= 1
        if self._left < 0:
            raise OSError(self._number, os.strerror(self._number))


def _begin() -> None:
    try:
        os.rename(_FILE, f"{_FILE}.taken")  # noqa: PTH104  before pathlib is needed
    except FileNotFoundError:
        return
    with open(f"{_FILE}.taken", encoding="ascii") as file:  # noqa: PTH123
        event, at, name = file.read().split()
    sys.addaudithook(Injector(event, int(at), getattr(errno, name)).hear)


if _FILE and "NH_HANDOVER_FD" in os.environ:
    _begin()
