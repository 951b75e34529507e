"""rtpproxy's protocol on connections and in datagrams, without I/O."""

import functools
from typing import Final

from nh.errors import MalformedFrame
from nh.results import Result
from nh.rpc.cookies import CookieRequest
from nh.rpc.events import CookieMessage, Event, Unreadable
from nh.wire import rtpproxy

KEEP_S: Final = 35.0
"""Seconds that a reply is kept, as in rtpproxy."""


class RtpproxyCodec:
    """The CookieCodec of rtpproxy.

    Args:
        notifies: whether the settings have a notify socket.
    """

    name = "rtpproxy"

    def __init__(self, *, notifies: bool) -> None:
        self._notifies = notifies

    def split(self, message: bytes) -> tuple[bytes, bytes] | None:
        """See CookieCodec."""
        return rtpproxy.split_cookie(message)

    def decode(self, cookie: bytes, payload: bytes) -> CookieRequest:
        """See CookieCodec."""
        request = rtpproxy.decode_request(payload, notifies=self._notifies)
        return CookieRequest(request.command, functools.partial(_encode, cookie, request), request.subject)


def _encode(cookie: bytes, request: rtpproxy.RtpproxyRequest, result: Result) -> bytes:
    prefix = cookie + b" " if cookie else b""
    return prefix + rtpproxy.encode_reply(request, result, rtpproxy.MAX_REPLY_BYTES - len(prefix))


class RtpproxyProtocol:
    """The StreamProtocol of rtpproxy: commands without cookies, each ended by a line feed.

    Args:
        local: on a Unix socket, where a connection carries one command, and the line feed may be missing:
            what arrives first is the command.
    """

    def __init__(self, *, local: bool) -> None:
        self._local = local
        self._complete = False
        self._data = bytearray()

    @property
    def pending_bytes(self) -> int:
        """See StreamProtocol."""
        return len(self._data)

    @property
    def complete(self) -> bool:
        """See StreamProtocol."""
        return self._complete

    def receive_data(self, data: bytes) -> None:
        """See StreamProtocol."""
        if not self._complete:
            self._data += data

    def next_event(self) -> Event | None:
        """See StreamProtocol."""
        end = self._data.find(b"\n") + 1
        if not end and len(self._data) > rtpproxy.MAX_REQUEST_BYTES:
            self._data.clear()
            return Unreadable("", MalformedFrame(f"a line exceeds {rtpproxy.MAX_REQUEST_BYTES} bytes"))
        if self._complete or not self._data or not (end or self._local):
            return None
        line = bytes(self._data[: end or None])
        del self._data[: end or None]
        if self._local:
            self._complete = True
            self._data.clear()
        return CookieMessage(line, has_cookie=False)
