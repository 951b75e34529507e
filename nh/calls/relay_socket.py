"""A relay socket, as the domain sees it."""

from typing import Protocol

from nh.calls.media import Endpoint


class RelaySocket(Protocol):
    """One port of the relay: where it is.

    Several legs share one socket where a request was forked: each answer has a session of its own, and all of
    them have the group of the request.
    """

    port: int

    @property
    def local(self) -> Endpoint:
        """Where it is."""
