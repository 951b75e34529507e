"""Threads. If the host has none left, that is an error of the system, as with processes."""

import errno
import signal
import threading
from typing import Final

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def start_thread(thread: threading.Thread) -> None:
    """Start a thread, which gets none of nh's signals: they are the main thread's, or wait for it.

    Args:
        thread: it has not been started; it can be started again after an error.

    Raises:
        OSError: the limit on processes and threads is reached (EAGAIN).
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        thread.start()
    except RuntimeError as exc:  # Python does not say what pthread_create(3) said
        raise OSError(errno.EAGAIN, "no thread can be started") from exc
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
