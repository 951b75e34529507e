"""Notifications to systemd, or another service manager that speaks sd_notify(3).

A notification is a datagram of lines NAME=VALUE to the Unix socket that $NOTIFY_SOCKET names. nh never waits
for it: a notification that cannot be sent now is sent later. The environment stays as it is, because the
supervisor needs it again after execve(2).
"""

import logging
import os
import socket
from collections import deque
from collections.abc import Mapping
from typing import Final

from nh.loop import Loop, Timer
from nh.reasons import reason

logger = logging.getLogger(__name__)

NOTIFY_SOCKET: Final = "NOTIFY_SOCKET"
"""The variable that names the socket. Shards do not get it."""

RETRY_S: Final = 0.05
MAX_WAITING: Final = 100
"""Most notifications that wait for a slow reader; the oldest are dropped."""


class Notifier:
    """Sends notifications, from construction to close(); does nothing without a service manager.

    Args:
        loop: runs the timer of the watchdog's pings, so that they stop if the loop hangs.
        environment: os.environ if None.
    """

    def __init__(self, loop: Loop, environment: Mapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        self._loop = loop
        self._waiting: deque[bytes] = deque(maxlen=MAX_WAITING)
        self._retry: Timer | None = None
        self._ping: Timer | None = None
        self._warned = False
        self._address = _address_in(environment)
        self._sock: socket.socket | None = None
        if self._address is None:
            return
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.setblocking(False)
        timeout_s = _watchdog_s(environment)
        if timeout_s is not None:
            self._interval_s = timeout_s / 2
            self._on_ping()

    def ready(self, status: str) -> None:
        """Notify that nh serves requests.

        Args:
            status: a line for people, which `systemctl status` shows.
        """
        self._notify("READY=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        """Notify a new status, a line for people."""
        self._notify(f"STATUS={status}")

    def stopping(self) -> None:
        """Notify that nh is ending."""
        self._notify("STOPPING=1", "STATUS=ending")

    def close(self) -> None:
        """Stop notifying."""
        for timer in (self._retry, self._ping):
            if timer is not None:
                timer.cancel()
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _on_ping(self) -> None:
        self._ping = self._loop.call_later(self._interval_s, self._on_ping)
        self._notify("WATCHDOG=1")

    def _notify(self, *lines: str) -> None:
        if self._sock is not None:
            self._waiting.append("\n".join(lines).encode())
            self._send_waiting()

    def _send_waiting(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        while self._waiting and self._sock is not None and self._address is not None:
            try:
                self._sock.sendto(self._waiting[0], self._address)
            except BlockingIOError:  # its queue is full: a busy service manager reads it in a while
                self._retry = self._loop.call_later(RETRY_S, self._send_waiting)
                return
            except OSError as exc:
                self._warn_once(exc)
            else:
                self._warned = False
            self._waiting.popleft()

    def _warn_once(self, exc: OSError) -> None:
        if not self._warned:
            self._warned = True
            logger.warning("notifying the service manager failed: %s", reason(exc))


def without_notify_socket(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without the variables of the service manager, for other processes."""
    own = (NOTIFY_SOCKET, "WATCHDOG_USEC", "WATCHDOG_PID")
    return {name: value for name, value in environment.items() if name not in own}


def _address_in(environment: Mapping[str, str]) -> str | None:
    """The address for sendto(); None if there is no service manager."""
    text = environment.get(NOTIFY_SOCKET, "")
    if text.startswith("@") and len(text) > 1:
        return "\0" + text[1:]  # an abstract name, see unix(7)
    if text.startswith("/"):
        return text
    if text:
        logger.warning(
            "%s: %r is neither a path nor an abstract name; the service manager is not notified",
            NOTIFY_SOCKET,
            text,
        )
    return None


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """After so many seconds without a ping the service manager takes this process for hung; None: never.

    See sd_watchdog_enabled(3). A WATCHDOG_PID of another process means that the variables were inherited.
    """
    text = environment.get("WATCHDOG_USEC", "")
    if not text or environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        logger.warning("WATCHDOG_USEC: %r is not a number of microseconds; there are no pings", text)
        return None
    return int(text) / 1e6
