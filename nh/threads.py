"""Threads. If the host has none left, that is an error of the system, as with processes."""

import errno
import threading


def start_thread(thread: threading.Thread) -> None:
    """Start a thread.

    Args:
        thread: it has not been started; it can be started again after an error.

    Raises:
        OSError: the limit on processes and threads is reached (EAGAIN).
    """
    try:
        thread.start()
    except RuntimeError as exc:  # Python does not say what pthread_create(3) said
        raise OSError(errno.EAGAIN, "no thread can be started") from exc
