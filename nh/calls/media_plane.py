"""The media plane: what the domain needs of the world, sockets that move packets.

nh.shard.media.plane implements it in a shard; tests have a fake.
"""

from typing import Protocol

from nh.calls.session import Session
from nh.calls.sockets.relay_socket import SocketFactory


class MediaPlane(SocketFactory, Protocol):
    """Opens sockets and moves packets."""

    def start(self, session: Session) -> None:
        """Start relaying for a session."""

    def renew(self, session: Session) -> None:
        """Follow the legs of a session: they learn their sources again, or were blocked or unblocked."""

    def stop(self, session: Session) -> None:
        """Stop relaying for a session."""
