"""The command `nh`, also as `python -m nh`."""

import contextlib
import gc
import signal
from collections.abc import Iterator


def main() -> None:
    """Run the command line."""
    gc.disable()  # imports leave next to no garbage, and collections would be a tenth of the start
    with _interrupted_in_silence():
        from nh.cli.main import app  # noqa: PLC0415

    gc.freeze()
    gc.enable()
    app(prog_name="nh")


@contextlib.contextmanager
def _interrupted_in_silence() -> Iterator[None]:
    """Ctrl-C ends the process without a word: a traceback out of an import tells an operator nothing."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # ignored, in the background
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, signal.default_int_handler)


if __name__ == "__main__":
    main()
