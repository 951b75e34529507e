"""Requests with cookies: a retransmission gets the same reply and is not executed again.

Independent of the protocol: ng has cookies, and rtpproxy's protocol, too. A CookieCodec knows the protocol's
messages. Knows no sockets and no calls.
"""

import functools
import logging
from collections.abc import Callable, Hashable
from typing import NamedTuple, Protocol

from nh.commands import Command, Ping
from nh.errors import ShardUnavailable
from nh.results import Failure, Result
from nh.rpc.events import Dispatch, Event, Message, RequestCounter, Send
from nh.rpc.reply_cache import MAX_PENDING, ReplyCache
from nh.throttle import RateLimitedLogger

MAX_DATAGRAM_BYTES = 65_507
"""Longest UDP payload over IPv4, in bytes. Replies over TCP keep to it, as a retransmission may use UDP."""


class CookieRequest(NamedTuple):
    """A decoded request.

    Attributes:
        command: what to execute, or the Failure to reply with at once.
        encode: makes the reply, cookie and all, of the command's result.
        subject: what of the request is known, for log lines: its command and its call.
    """

    command: Command | Failure
    encode: Callable[[Result], bytes]
    subject: str = "a request"


class CookieCodec(Protocol):
    """A protocol's messages."""

    @property
    def name(self) -> str:
        """The protocol's name, in log lines and for RequestCounter."""

    def split(self, message: bytes) -> tuple[bytes, bytes] | None:
        """Cookie and payload; None if the message has no cookie, and so can get no reply."""

    def decode(self, cookie: bytes, payload: bytes) -> CookieRequest:
        """The request, whose reply is at most MAX_DATAGRAM_BYTES long; never raises."""


class CookieHandler:
    """The Handler of a protocol with cookies; one serves all sockets: a cookie is one request on all of them.

    Args:
        codec: the protocol.
        now: the clock, monotonic seconds.
        dispatch: executes commands.
        counter: counts requests.
        limited_log: logs what clients do wrong.
        replies: keeps the replies.
    """

    def __init__(
        self,
        codec: CookieCodec,
        now: Callable[[], float],
        dispatch: Dispatch,
        *,
        counter: RequestCounter,
        limited_log: RateLimitedLogger,
        replies: ReplyCache | None = None,
    ) -> None:
        self._codec = codec
        self._now = now
        self._dispatch = dispatch
        self._counter = counter
        self._limited_log = limited_log
        self._replies = replies or ReplyCache()

    def serve(self, event: Event, sender: Hashable, send: Send) -> bool:
        """See Handler; a sender that repeats its request before the reply gets one reply."""
        assert isinstance(event, Message)
        parts = self._codec.split(event.data)
        if parts is None:
            self._counter.count_error("")
            self._limited_log.log(
                logging.WARNING,
                "%s: a message from %s has no cookie, so it gets no reply",
                self._codec.name,
                sender,
            )
            return False
        cookie, payload = parts
        reply = self._replies.find(cookie, self._now())
        if reply is not None:
            self._counter.count_retransmission()
            send(reply)
            return True
        if self._replies.is_pending(cookie):
            self._counter.count_retransmission()
            return self._replies.wait(cookie, sender, send)
        self._counter.count(self._codec.name)
        self._begin(cookie, self._codec.decode(cookie, payload), sender, send)
        return True

    def _begin(self, cookie: bytes, request: CookieRequest, sender: Hashable, send: Send) -> None:
        command = request.command
        if isinstance(command, Failure):
            self._counter.count_error(command.code)
            self._limited_log.log(
                logging.WARNING,
                "%s: %s from %s was rejected: %s",
                self._codec.name,
                request.subject,
                sender,
                command.message,
            )
            send(request.encode(command))
        elif self._replies.full:
            error = ShardUnavailable(f"nh is overloaded: {MAX_PENDING} requests wait for their results")
            send(request.encode(Failure.of(error)))
        elif isinstance(command, Ping):  # executing it again is cheaper than keeping the reply
            self._dispatch(command, lambda result: send(request.encode(result)))
        else:
            self._replies.begin(cookie, sender, send)
            self._dispatch(command, functools.partial(self._finish, cookie, request.encode))

    def _finish(self, cookie: bytes, encode: Callable[[Result], bytes], result: Result) -> None:
        reply = encode(result)
        for send in self._replies.finish(cookie, reply, self._now()):
            send(reply)
