"""ng on connections and in datagrams, without I/O."""

import functools
from collections.abc import Callable, Collection

from nh.commands import Feature
from nh.errors import MalformedFrame
from nh.results import Result
from nh.rpc.cookies import MAX_DATAGRAM_BYTES, CookieRequest
from nh.rpc.events import CookieMessage, Event, Unreadable
from nh.wire import ng
from nh.wire.framing import Framer, Framing, frame
from nh.wire.ng.requests import MAX_COOKIE_BYTES
from nh.wire.ng.stream import MAX_MESSAGE_BYTES

MAX_FRAMED_BYTES = MAX_MESSAGE_BYTES + MAX_COOKIE_BYTES + 1
"""Longest message between nh and its HTTP process: as over UDP, and a cookie for one that came without."""


class NgCodec:
    """The CookieCodec of ng.

    Args:
        lenient: features that are left out of requests, with a warning, where they would fail otherwise.
    """

    name = "ng"

    def __init__(self, lenient: Collection[Feature] = ()) -> None:
        self._lenient = lenient

    def split(self, message: bytes) -> tuple[bytes, bytes] | None:
        """See CookieCodec."""
        return ng.split_cookie(message)

    def decode(self, cookie: bytes, payload: bytes) -> CookieRequest:
        """See CookieCodec."""
        request = ng.decode_request(payload, self._lenient)
        encode = functools.partial(_encode, cookie, request)
        return CookieRequest(request.command, encode, request.subject, request.left_out)


class FramedNgCodec(NgCodec):
    """The CookieCodec of ng behind lengths (framed_ng_protocol)."""

    def decode(self, cookie: bytes, payload: bytes) -> CookieRequest:
        """See CookieCodec."""
        request = super().decode(cookie, payload)
        return request._replace(encode=lambda result: frame(request.encode(result)))


def _encode(cookie: bytes, request: ng.NgRequest, result: Result) -> bytes:
    return b"%b %b" % (cookie, ng.encode_reply(request, result, MAX_DATAGRAM_BYTES - len(cookie) - 1))


class NgProtocol:
    """The StreamProtocol of ng over TCP: the messages of UDP, one directly behind the other.

    A client may send many requests at once; replies are sent in the order of their results.

    Args:
        new_framing: makes what cuts the stream into messages; another one follows what cannot be cut.
    """

    complete = False

    def __init__(self, new_framing: Callable[[], Framing] = ng.NgFramer) -> None:
        self._new_framing = new_framing
        self._framing = new_framing()

    @property
    def pending_bytes(self) -> int:
        """See StreamProtocol."""
        return self._framing.pending_bytes

    def receive_data(self, data: bytes) -> None:
        """See StreamProtocol."""
        self._framing.feed(data)

    def next_event(self) -> Event | None:
        """See StreamProtocol."""
        try:
            message = self._framing.next_frame()
        except MalformedFrame as exc:
            self._framing = self._new_framing()  # what is left is dropped
            return Unreadable("", exc)
        return None if message is None else CookieMessage(message)


def framed_ng_protocol() -> NgProtocol:
    """The StreamProtocol between nh and its HTTP process: messages of ng, each behind its length.

    So a message may be in JSON, whose end a stream cannot show. Replies have their length in front, too.
    """
    return NgProtocol(lambda: Framer(MAX_FRAMED_BYTES))
