"""A network namespace with a thread that lives in it, so that nothing of the host's network is touched."""

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import pytest

CLONE_NEWNET = 0x40000000

T = TypeVar("T")


class Namespace:
    """A network namespace; it ends with its thread and the sockets that were opened in it."""

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        self._thread = thread
        self.thread_id = self.run(threading.get_native_id)

    def run(self, task: Callable[[], T]) -> T:
        """What `task` returns when it runs in the namespace: sockets and interfaces are this namespace's."""
        return self._thread.submit(task).result()

    def ip(self, command: str) -> None:
        """Runs ip(8), such as `link set lo up`."""
        arguments = ["ip", *command.split()]
        done = self.run(lambda: subprocess.run(arguments, capture_output=True, text=True, check=False))
        assert done.returncode == 0, f"ip {command}: {done.stderr}"


@contextmanager
def new_namespace() -> Iterator[Namespace]:
    """A namespace with loopback up; skips the test where none can be made."""
    with ThreadPoolExecutor(1) as thread:
        if error := thread.submit(_unshare).result():
            pytest.skip(f"needs a network namespace: {os.strerror(error)}")
        namespace = Namespace(thread)
        namespace.ip("link set lo up")
        yield namespace


def _unshare() -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    return ctypes.get_errno() if libc.unshare(CLONE_NEWNET) else 0
