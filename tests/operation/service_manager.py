"""The service manager's end of sd_notify(3): a socket that notes what comes, as systemd would read it."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path


class ServiceManager:
    """What a service said, line by line in the order of its coming.

    Args:
        address: where to listen, as in $NOTIFY_SOCKET; the listening is construction's.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.lines: list[str] = []
        self._heard_at = time.monotonic()
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind("\0" + address[1:] if address.startswith("@") else address)
        self._reader = threading.Thread(target=self._read, name="service manager", daemon=True)
        self._reader.start()

    def count(self, line: str) -> int:
        """How often a line came."""
        return self.lines.count(line)

    @property
    def status(self) -> str:
        """The last word for people; "" if there was none."""
        said = [line for line in self.lines if line.startswith("STATUS=")]
        return said[-1].removeprefix("STATUS=") if said else ""

    @property
    def silence_s(self) -> float:
        """How long nothing has come."""
        return time.monotonic() - self._heard_at

    def close(self) -> None:
        """Listen no more."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"", self._sock.getsockname())
        self._reader.join(10)
        self._sock.close()

    def _read(self) -> None:
        while datagram := self._sock.recv(65536):
            self._heard_at = time.monotonic()
            self.lines += datagram.decode().split("\n")


@contextlib.contextmanager
def service_manager(directory: Path, *, abstract: bool = False) -> Iterator[ServiceManager]:
    """A service manager within the block, at a path in the directory or at an abstract name."""
    name = f"@nh-test-notify/{os.getpid()}/{directory.name}" if abstract else str(directory / "notify")
    manager = ServiceManager(name)
    try:
        yield manager
    finally:
        manager.close()
