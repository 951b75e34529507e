"""Connector: connects media sockets to the ends that their legs want, each with another socket beside it.

The kernel gives a connected socket the packets of its end only, and caches the route to it. The socket beside
it gets those of all other sources, so that a phone whose NAT moves it is heard and strangers are counted. If
the system has no room for that one, a socket stays open to all sources, and each packet is admitted by its
source.
"""

from collections.abc import Callable
from typing import Final

from nh.calls.media import Endpoint
from nh.shard.media.pipeline.plan import peer_for, sends_enough
from nh.shard.media.pipeline.readers import Readers
from nh.shard.media.poll import MediaPoll
from nh.shard.media.sockets.media_socket import MediaSocket
from nh.shard.media.sockets.opening import bind_beside, open_beside

SERVED_BESIDE: Final = 256
"""Most packets of other sources that are served before the socket closes that they came to, in some
milliseconds. More are a flood."""


class Connector:
    """The connections of all media sockets of one relay.

    Args:
        poll: watches the sockets beside.
        readers: serve what comes there.
        opened_beside: called with a socket beside which another one has been opened.
    """

    def __init__(
        self, poll: MediaPoll, readers: Readers, opened_beside: Callable[[MediaSocket], None]
    ) -> None:
        self._poll = poll
        self._readers = readers
        self._opened_beside = opened_beside

    def connect_as_wanted(self, media_socket: MediaSocket) -> None:
        """Connect a socket to the end that its legs want, or disconnect it."""
        wanted, leg = None, media_socket.leg
        if leg is not None and (leg.latched or sends_enough(leg)):
            wanted = peer_for(media_socket.legs, media_socket, offloaded=media_socket.flow is not None)
        if wanted is None and media_socket.is_open_to_all:  # as nearly all are before their legs latch
            return
        if wanted is not None and wanted == media_socket.peer and media_socket.beside is not None:
            return
        if not self._connect(media_socket, wanted):
            self._disconnect(media_socket)

    def connect_anew(self, media_socket: MediaSocket) -> None:
        """The same, whatever another process has done with the socket meanwhile."""
        media_socket.peer = None
        wanted = peer_for(media_socket.legs, media_socket, offloaded=media_socket.flow is not None)
        if not self._connect(media_socket, wanted):
            self._disconnect(media_socket, certain=False)

    def _connect(self, media_socket: MediaSocket, wanted: Endpoint | None) -> bool:
        """Connect a socket to the end that its legs want, with another one beside it.

        Args:
            media_socket: the socket.
            wanted: the end; None: they want none.

        Returns:
            Whether it is connected to it. If not, every packet is admitted by its source.
        """
        if wanted is None or not (media_socket.beside or self._open_beside(media_socket)):
            return False
        return media_socket.connect_to(wanted)

    def _disconnect(self, media_socket: MediaSocket, *, certain: bool = True) -> None:
        """Let a socket get the packets of all sources; see MediaSocket.disconnect."""
        media_socket.disconnect(certain=certain)
        if not media_socket.keeps_peer:
            self._close_beside(media_socket)
        elif media_socket.beside is None:
            self._open_beside(media_socket)

    def _open_beside(self, media_socket: MediaSocket) -> bool:
        sock = open_beside(media_socket)
        if sock is None:
            return False
        fd = sock.fileno()
        try:
            self._poll.add(fd, self._readers.beside, media_socket)
        except OSError:
            media_socket.close_beside()
            return False
        self._opened_beside(media_socket)
        try:
            # last: what comes from here on until connect(2) may overtake what waits, or be overtaken
            bind_beside(media_socket)
        except OSError:
            self._poll.remove(fd)
            media_socket.close_beside()
            return False
        return True

    def _close_beside(self, media_socket: MediaSocket) -> None:
        if media_socket.beside is not None:
            # what they change shows with the next packets, which come to the socket itself
            self._readers.serve_waiting(media_socket, media_socket.beside, most=SERVED_BESIDE)
            self._poll.remove(media_socket.beside.fileno())
            media_socket.close_beside()
