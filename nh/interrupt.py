"""Ctrl-C while a program loads its modules. It loads few itself: what comes before it is not silent."""

import signal


class SilentInterrupt:
    """Lets Ctrl-C end the process without a word: a traceback out of an import tells an operator nothing.

    A context manager for the imports of a program, before there is anything to undo. In the background, where
    a shell has Ctrl-C ignored, it stays ignored.
    """

    def __enter__(self) -> None:
        self._silences = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._silences:
            signal.signal(signal.SIGINT, signal.SIG_DFL)

    def __exit__(self, *exc: object) -> None:
        if self._silences:
            signal.signal(signal.SIGINT, signal.default_int_handler)
