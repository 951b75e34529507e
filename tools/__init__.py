"""Small developer tools: none of this is installed with nh but rtpload, which `nh load` runs."""

import signal
import sys
from types import TracebackType
from typing import Final

TERMINATED: Final = 128 + signal.SIGTERM
"""Exit status of what SIGTERM ended, as shells have it."""


def end_in_order() -> None:
    """Have this program end on Ctrl-C and SIGTERM with all that it has started, and without a traceback.

    By default SIGTERM ends a process at once, and leaves the relays running that it has started. Both signals
    raise an exception instead, so that context managers end them. It holds from the imports on, because
    `python -m PACKAGE.NAME` imports the package first. No effect if another program imports the package.
    """
    if sys.argv[0] != "-m":  # what Python has there while it looks for the module
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    sys.excepthook = _print_unless_interrupted


def _print_unless_interrupted(
    kind: type[BaseException], exc: BaseException, traceback: TracebackType | None
) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, exc, traceback)


end_in_order()
