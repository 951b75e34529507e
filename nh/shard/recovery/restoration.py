"""What a shard is given of its predecessor's: sockets and snapshots, collected until it starts."""

import os
from collections.abc import Callable
from typing import Protocol

from nh.calls.media import Endpoint
from nh.ipc.link_messages import RestoreCall


class Restorer(Protocol):
    """What restores calls: a Helper."""

    def restore(self, sockets: dict[Endpoint, int], calls: list[RestoreCall]) -> tuple[int, int]:
        """Take calls up where their snapshots left them.

        Arguments:
            sockets: descriptors of bound sockets. Those that are used are removed from it and belong to the
                helper from then on; a call whose sockets are not there is restored by binding its ports.
            calls: whole snapshots.

        Returns how many were restored, and how many could not be: it has its Keep forget those. Calls for
        which there are no descriptors or memory are in neither number: they are tried again. It may be called
        several times before the helper is attached.
        """


class RestoreQueue:
    """Sockets and calls on their way to the helper. Close it."""

    def __init__(self) -> None:
        self._sockets: dict[Endpoint, int] = {}
        self._calls: list[RestoreCall] = []
        self._parts: list[bytes] = []

    def take(self, endpoints: tuple[Endpoint, ...], fds: list[int]) -> None:
        """Take sockets: their descriptors, which may be fewer than the endpoints, are removed from `fds`."""
        for endpoint, fd in zip(endpoints, list(fds), strict=False):
            fds.remove(fd)
            self._close(endpoint)
            self._sockets[endpoint] = fd

    def add(self, call: RestoreCall) -> None:
        """A call to restore, or a part of one."""
        self._parts.append(call.snapshot)
        if call.last:
            self._calls.append(RestoreCall(call.call_id, b"".join(self._parts)))
            self._parts = []

    def restore(self, restorer: Restorer, beginning: Callable[[int], None] | None) -> tuple[int, int]:
        """Have the calls restored.

        Arguments:
            restorer: see Restorer.
            beginning: called with the number of each call, from 0, before it is restored, and with how many
                there are in the end; None: that is not of interest.

        Returns how many were restored, and how many could not be.
        """
        if not self._calls and not self._sockets:
            return 0, 0
        if beginning is None:
            return restorer.restore(self._sockets, self._calls)
        restored = failed = 0
        for number, call in enumerate(self._calls):
            beginning(number)
            ok, bad = restorer.restore(self._sockets, [call])
            restored, failed = restored + ok, failed + bad
        beginning(len(self._calls))
        return restored, failed

    def close(self) -> list[Endpoint]:
        """Close the sockets that nobody used. Returns their endpoints."""
        unused = list(self._sockets)
        for endpoint in unused:
            self._close(endpoint)
        self._calls.clear()
        return unused

    def _close(self, endpoint: Endpoint) -> None:
        fd = self._sockets.pop(endpoint, None)
        if fd is not None:
            os.close(fd)
