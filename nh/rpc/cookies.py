"""Requests with cookies: a retransmission gets the same reply and is not executed again.

A retransmission is an equal message. The cookie alone does not tell: clients on different hosts choose equal
ones, as they make them of the process id, which is the same in each container, and a number. The reply would
be that of another call (issues 4281 of Kamailio, 2459 of OpenSIPS, 1634 of rtpengine).

Independent of the protocol: ng has cookies, and rtpproxy's protocol, too. A CookieCodec knows the protocol's
messages. Knows no sockets and no calls.
"""

import functools
import hashlib
import logging
from collections.abc import Callable, Hashable
from typing import Final, NamedTuple, Protocol, cast

from nh.commands import Command, Ping
from nh.errors import IncompleteSdp, SdpTooLong, ShardUnavailable, Unsupported, UnusableSdp, WrongDialog
from nh.logs.lines import about
from nh.logs.throttle import RateLimitedLogger
from nh.results import Failure, LeftOut, Result, Rewritten
from nh.rpc.events import CookieMessage, Dispatch, Event, RequestCounter, RequestOrigin, Send
from nh.rpc.reply_cache import MAX_PENDING, ReplyCache
from nh.wire.subject import Subject

logger = logging.getLogger(__name__)

MAX_DATAGRAM_BYTES = 65_507
"""Longest UDP payload over IPv4, in bytes. Replies over TCP keep to it, as a retransmission may use UDP."""

LOG_INTERVAL_S = 60.0
"""Least seconds between two log lines about what the settings leave out, that too many requests wait, or that
replies are forgotten early: each call may show it."""

_LOGGED: Final = frozenset(
    error.code for error in (IncompleteSdp, SdpTooLong, Unsupported, UnusableSdp, WrongDialog)
)
"""Failures that a request has itself to blame for; shards log their shortages."""


class CookieRequest(NamedTuple):
    """A decoded request.

    Attributes:
        command: what to execute, or the result to reply with at once.
        encode: makes the reply, cookie and all, of the command's result.
        subject: its command and its call, for log lines.
        left_out: what the settings leave out of the request, for the log; "" for nothing.
    """

    command: Command | Failure | LeftOut
    encode: Callable[[Result], bytes]
    subject: Subject = Subject()
    left_out: str = ""


class CookieCodec(Protocol):
    """A protocol's messages."""

    @property
    def name(self) -> str:
        """The protocol's name, in log lines and for RequestCounter."""

    def split(self, message: bytes) -> tuple[bytes, bytes] | None:
        """Cookie and payload; None if the message has no cookie, and so can get no reply."""

    def decode(self, cookie: bytes, payload: bytes) -> CookieRequest:
        """The request, whose reply is at most MAX_DATAGRAM_BYTES long; never raises."""


def digest_of(message: bytes) -> bytes:
    """What makes out a request: 16 bytes, which are the same for a retransmission alone."""
    return hashlib.sha256(message).digest()[:16]  # CPUs have instructions for it


class CookieHandler:
    """The Handler of a protocol with cookies; one serves all sockets: equal messages are one request.

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
        self._left_out_log = RateLimitedLogger(logger, now, LOG_INTERVAL_S)
        self._overload_log = RateLimitedLogger(logger, now, LOG_INTERVAL_S)
        self._full_cache_log = RateLimitedLogger(logger, now, LOG_INTERVAL_S)
        self._replies = replies or ReplyCache()

    def serve(self, event: Event, sender: Hashable, send: Send) -> bool:
        """See Handler; a sender that repeats its request before the reply gets one reply."""
        assert isinstance(event, CookieMessage)
        if not event.has_cookie:
            self._counter.count(self._codec.name)
            self._execute(None, self._codec.decode(b"", event.data), sender, send)
            return True
        parts = self._codec.split(event.data)
        if parts is None:
            self._counter.count_error("")
            self._limited_log.log(
                logging.WARNING,
                "%s: a message from %s has no cookie, so it gets no reply",
                self._codec.name,
                sender,
                extra=about(client=sender),
            )
            return False
        cookie, payload = parts
        key = digest_of(event.data)
        reply = self._replies.find(key, self._now())
        if reply is not None:
            self._counter.count_retransmission()
            send(reply)
            return True
        if self._replies.is_pending(key):
            self._counter.count_retransmission()
            return self._replies.wait(key, sender, send)
        self._counter.count(self._codec.name)
        self._execute(key, self._codec.decode(cookie, payload), sender, send)
        return True

    def _execute(self, key: bytes | None, request: CookieRequest, sender: Hashable, send: Send) -> None:
        """Execute a request; `key` is None if it does not come again."""
        if request.left_out:
            self._log_left_out(request, sender, request.left_out)
        command = request.command
        if type(command) is Failure:
            self._counter.count_error(command.code)
            self._log_failure("was rejected", request, sender, command)
            send(request.encode(command))
        elif type(command) is LeftOut:
            send(request.encode(command))
        elif self._replies.full:
            error = ShardUnavailable(f"nh is overloaded: {MAX_PENDING} requests wait for their results")
            self._counter.count_overload()
            self._overload_log.log(logging.WARNING, "%s: requests are refused: %s", self._codec.name, error)
            send(request.encode(Failure.of(error)))
        else:
            if key is None or type(command) is Ping:  # executing a Ping again is cheaper than its reply
                finish: Callable[[Result], None] = functools.partial(self._send_reply, send, request, sender)
            else:
                self._replies.begin(key, sender, send)
                finish = functools.partial(self._finish, key, request, sender)
            self._dispatch(cast("Command", command), finish, RequestOrigin(self._codec.name, sender))

    def _send_reply(self, send: Send, request: CookieRequest, sender: Hashable, result: Result) -> None:
        send(self._reply(request, sender, result))

    def _finish(self, key: bytes, request: CookieRequest, sender: Hashable, result: Result) -> None:
        reply = self._reply(request, sender, result)
        replies, dropped_before = self._replies, self._replies.dropped
        for send in replies.finish(key, reply, self._now()):
            send(reply)
        if dropped := replies.dropped - dropped_before:
            self._counter.count_dropped_replies(dropped)
            self._full_cache_log.log(
                logging.WARNING,
                "%s: the cache of replies is full, so the oldest are forgotten early: a retransmission of"
                " their requests is executed again; spread the load over more relays",
                self._codec.name,
            )

    def _reply(self, request: CookieRequest, sender: Hashable, result: Result) -> bytes:
        if type(result) is Failure and result.code in _LOGGED:
            self._log_failure("was refused", request, sender, result)
        if type(result) is Rewritten and result.left_out:
            self._log_left_out(request, sender, result.left_out)
        return request.encode(result)

    def _log_left_out(self, request: CookieRequest, sender: Hashable, left_out: str) -> None:
        self._left_out_log.log(
            logging.WARNING,
            "%s: %s from %s is served without what nh does not do: %s",
            self._codec.name,
            request.subject,
            sender,
            left_out,
            extra=about(request.subject.call_id, sender),
        )

    def _log_failure(self, what: str, request: CookieRequest, sender: Hashable, failure: Failure) -> None:
        self._limited_log.log(
            logging.WARNING,
            "%s: %s from %s %s: %s",
            self._codec.name,
            request.subject,
            sender,
            what,
            ("nh does not do that: " if failure.code == Unsupported.code else "") + failure.message,
            extra=about(request.subject.call_id, sender),
        )
