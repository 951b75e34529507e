"""A network namespace with a thread that lives in it, so that nothing of the host's network is touched."""

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import pytest

from tests.waiting import eventually

CLONE_NEWNET = 0x40000000
SIOCETHTOOL = 0x8946
ETHTOOL_STXCSUM = 0x17

T = TypeVar("T")


class Namespace:
    """A network namespace; it ends with its thread and the sockets that were opened in it."""

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        self._thread = thread
        self.thread_id = self.run(threading.get_native_id)

    def run(self, task: Callable[[], T]) -> T:
        """What `task` returns when it runs in the namespace: sockets and interfaces are this namespace's."""
        return self._thread.submit(task).result()

    def sum_in_software(self, interface: str) -> None:
        """What leaves by a (virtual) interface has its checksum made by the kernel, for receivers to check.

        By itself the kernel leaves that to the card, and between virtual cards nobody makes or checks it.
        """
        setting = ctypes.create_string_buffer(struct.pack("=II", ETHTOOL_STXCSUM, 0), 8)
        request = struct.pack("16sQ16x", interface.encode(), ctypes.addressof(setting))

        def switch_off() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
                fcntl.ioctl(any_socket, SIOCETHTOOL, request)

        self.run(switch_off)

    def wait_for_link(self, interface: str) -> None:
        """Waits until an interface that was set up, and whose peer was, carries packets."""
        show = f"link show dev {interface}"
        eventually(lambda: "state UP" in self.ip(show), f"{interface} carries packets")

    def ip(self, command: str) -> str:
        """What ip(8) says to a command such as `link set lo up`."""
        arguments = ["ip", *command.split()]
        done = self.run(lambda: subprocess.run(arguments, capture_output=True, text=True, check=False))
        assert done.returncode == 0, f"ip {command}: {done.stderr}"
        return done.stdout


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
