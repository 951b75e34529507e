"""The results of Net::SIP's commands."""

import msgspec

from nh.calls.media import RelayMedia


class Allocated(msgspec.Struct, frozen=True, tag="allocated"):
    """Ports are allocated.

    Attributes:
        media: the relay's ports, one entry for each medium, in the order of the request.
    """

    media: tuple[RelayMedia, ...]


class Activated(msgspec.Struct, frozen=True, tag="activated"):
    """The session is active.

    Attributes:
        created: False if it was active before (a retransmission).
    """

    created: bool


class Closed(msgspec.Struct, frozen=True, tag="closed"):
    """Sessions are closed.

    Attributes:
        sessions: number of sessions that ended; 0 if none was active (sockets may have been closed).
    """

    sessions: int
