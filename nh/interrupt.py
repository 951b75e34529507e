"""Ctrl-C while a program loads its modules."""

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def silent_interrupt() -> Iterator[None]:
    """Let Ctrl-C end the process without a word: a traceback out of an import tells an operator nothing.

    For the imports of a program, before there is anything to undo. In the background, where a shell has
    Ctrl-C ignored, it stays ignored.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, signal.default_int_handler)
