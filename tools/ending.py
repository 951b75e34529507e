"""How a program of tools or benchmarks ends on Ctrl-C and SIGTERM."""

import signal
import sys
from types import TracebackType
from typing import Final

TERMINATED: Final = 128 + signal.SIGTERM
"""Exit status of what SIGTERM ended, as shells have it."""


def end_in_order() -> None:
    """Have this program end on Ctrl-C and SIGTERM with all that it has started, and without a traceback.

    By default SIGTERM ends a process at once, and leaves the relays running that it has started. Both signals
    raise an exception instead, so that context managers end them. A program calls it before its other
    imports, because it may be ended there, too; a module that others import does so only as a program.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    sys.excepthook = _print_unless_interrupted


def _print_unless_interrupted(
    kind: type[BaseException], exc: BaseException, traceback: TracebackType | None
) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, exc, traceback)
