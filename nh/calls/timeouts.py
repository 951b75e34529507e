"""Whom to tell that the media of a call have timed out, as the client of the call wants it. Plain values."""

import msgspec


class TimeoutTarget(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a client said with a call. The supervisor's settings decide whether it has an effect.

    Attributes:
        socket: rtpproxy's notify socket, `unix:PATH` or `tcp:HOST:PORT`; "" if not given.
        tag: what to send there: rtpproxy's notify tag.
        callback: ng's xmlrpc-callback, an IP address; "" if not given.
    """

    socket: str = ""
    tag: bytes = b""
    callback: str = ""
