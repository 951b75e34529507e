"""What the supervisor tells the program that started it, if that is systemd or speaks its protocol.

The protocol (sd_notify(3)) is a datagram of lines NAME=VALUE to the Unix socket that $NOTIFY_SOCKET names.
Nothing of nh waits for it: what cannot be said now is said later, and what nobody hears costs nothing. The
environment is left as it is, because a supervisor that executes itself anew needs it again.
"""

import logging
import os
import socket
from collections import deque
from collections.abc import Mapping
from typing import Final

from nh.loop import Loop, Timer

logger = logging.getLogger(__name__)

NOTIFY_SOCKET: Final = "NOTIFY_SOCKET"
"""The variable that names the socket. What the supervisor starts has no business with it."""

RETRY_S: Final = 0.05
MAX_WAITING: Final = 100
"""Most messages that wait for a reader that is slow; the oldest are forgotten."""


class Notifier:
    """The supervisor's word to its service manager, from construction to close(); mute if there is none.

    Arguments:
        loop: runs the watchdog's timer, so that a loop which hangs stops the pings, and is found out.
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
        """Every shard is up.

        Arguments:
            status: a line for people, which `systemctl status` shows.
        """
        self._say("READY=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        """How it goes, in a line for people."""
        self._say(f"STATUS={status}")

    def stopping(self) -> None:
        """The relay is ending."""
        self._say("STOPPING=1", "STATUS=ending")

    def close(self) -> None:
        """Say no more."""
        for timer in (self._retry, self._ping):
            if timer is not None:
                timer.cancel()
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _on_ping(self) -> None:
        self._say("WATCHDOG=1")
        self._ping = self._loop.call_later(self._interval_s, self._on_ping)

    def _say(self, *lines: str) -> None:
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
            except BlockingIOError:  # its queue is full: a service manager that is busy reads on in a while
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
            logger.warning("the service manager cannot be told how it goes: %s", exc.strerror or exc)


def without_notify_socket(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment for processes that are not to speak for the supervisor."""
    own = (NOTIFY_SOCKET, "WATCHDOG_USEC", "WATCHDOG_PID")
    return {name: value for name, value in environment.items() if name not in own}


def _address_in(environment: Mapping[str, str]) -> str | None:
    """The address for sendto(); None if there is nobody to tell."""
    text = environment.get(NOTIFY_SOCKET, "")
    if text.startswith("@") and len(text) > 1:
        return "\0" + text[1:]  # an abstract name, see unix(7)
    if text.startswith("/"):
        return text
    if text:
        logger.warning("%s: %r is neither a path nor an abstract name; nobody is told", NOTIFY_SOCKET, text)
    return None


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """After how long a silence the service manager believes that this process hangs; None: never.

    See sd_watchdog_enabled(3). A WATCHDOG_PID of another process means that the variables were inherited.
    """
    text = environment.get("WATCHDOG_USEC", "")
    if not text or environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        logger.warning("WATCHDOG_USEC: %r is not a number of microseconds; there are no pings", text)
        return None
    return int(text) / 1e6
