"""Net::SIP's and the native protocol on a connection, without I/O: frames in, commands out.

Both travel in the same frames (nh.wire.framing): the first byte of a frame's payload tells them apart. A
request of Net::SIP's is the last of its connection.
"""

import functools
import logging
from collections.abc import Collection, Hashable
from typing import Final

from nh.errors import MalformedFrame, MalformedRequest, UnknownCommand
from nh.logs.lines import about
from nh.logs.throttle import RateLimitedLogger
from nh.results import Failure, Result
from nh.rpc.events import Dispatch, Event, Rejected, Request, RequestCounter, RequestOrigin, Send, Unreadable
from nh.wire import native, netsip
from nh.wire.framing import Framer, frame

logger = logging.getLogger(__name__)

NETSIP: Final = "netsip"
NATIVE: Final = "native"


class NetsipProtocol:
    """Net::SIP's protocol: one request on a connection, and its reply.

    Args:
        extensions: names of commands beside the protocol's own.
    """

    def __init__(self, extensions: Collection[str]) -> None:
        self._extensions = extensions

    def receive_payload(self, payload: bytes) -> Request | Rejected | Unreadable:
        """The event of one frame's payload."""
        try:
            command = netsip.decode_request(payload, self._extensions)
        except MalformedRequest as exc:  # the only error that the protocol has is undef
            error = Failure.of(exc)
            return Rejected(NETSIP, error, _encode_netsip(payload, error), reply_has_reason=False)
        except (MalformedFrame, UnknownCommand) as exc:  # as Perl's server: the connection ends
            return Unreadable(NETSIP, exc)
        return Request(NETSIP, command, functools.partial(_encode_netsip, payload))


def _encode_netsip(request: bytes, result: Result) -> bytes:
    return frame(netsip.encode_result(result, minor=netsip.reply_minor(request)))


class NativeProtocol:
    """The native protocol: any number of requests at once, replies in any order.

    Args:
        extensions: names of commands beside the protocol's own.
    """

    def __init__(self, extensions: Collection[str]) -> None:
        self._extensions = extensions

    def receive_payload(self, payload: bytes) -> Request | Rejected:
        """The event of one frame's payload."""
        request_id, command = native.decode_request(payload, self._extensions)
        if isinstance(command, Failure):
            reply = frame(native.encode_result(request_id, command))
            return Rejected(NATIVE, command, reply, reply_has_reason=True)
        return Request(NATIVE, command, functools.partial(_encode_native, request_id))


def _encode_native(request_id: native.RequestId, result: Result) -> bytes:
    return frame(native.encode_result(request_id, result))


class FramedProtocol:
    """The StreamProtocol of a connection that carries Net::SIP's and the native protocol.

    Args:
        extensions: names of commands beside the protocols' own, looked up with every request.
    """

    def __init__(self, extensions: Collection[str] = ()) -> None:
        self._framer = Framer()
        self._netsip = NetsipProtocol(extensions)
        self._native = NativeProtocol(extensions)
        self._complete = False

    @property
    def pending_bytes(self) -> int:
        """See StreamProtocol."""
        return self._framer.pending_bytes

    @property
    def complete(self) -> bool:
        """See StreamProtocol. As Perl's server, nh closes the connection behind a reply of Net::SIP's."""
        return self._complete

    def receive_data(self, data: bytes) -> None:
        """See StreamProtocol."""
        self._framer.feed(data)

    def next_event(self) -> Event | None:
        """See StreamProtocol."""
        if self._complete:
            return None
        try:
            payload = self._framer.next_frame()
            event = None if payload is None else self._receive(payload)
        except MalformedFrame as exc:
            event = Unreadable("", exc)
        if isinstance(event, Unreadable) or (event is not None and event.protocol == NETSIP):
            self._complete = True
            self._framer = Framer()  # what is left is dropped
        return event

    def _receive(self, payload: bytes) -> Request | Rejected | Unreadable:
        if payload[0] == native.FIRST_BYTE:
            return self._native.receive_payload(payload)
        if payload[0] == netsip.FIRST_BYTE:
            return self._netsip.receive_payload(payload)
        raise MalformedFrame(f"frame: byte {payload[0]:#04x} begins no protocol that nh speaks")


class CommandHandler:
    """The Handler of both protocols.

    Args:
        dispatch: executes commands.
        counter: counts requests.
        limited_log: logs what clients do wrong.
    """

    def __init__(self, dispatch: Dispatch, counter: RequestCounter, limited_log: RateLimitedLogger) -> None:
        self._dispatch = dispatch
        self._counter = counter
        self._limited_log = limited_log

    def serve(self, event: Event, sender: Hashable, send: Send) -> bool:
        """See Handler."""
        if isinstance(event, Request):
            self._counter.count(event.protocol)
            origin = RequestOrigin(event.protocol, sender)
            self._dispatch(event.command, functools.partial(_reply, event, send), origin)
            return True
        assert isinstance(event, Rejected)
        self._counter.count(event.protocol)
        self._counter.count_error(event.error.code)
        if not event.reply_has_reason:
            self._limited_log.log(
                logging.WARNING,
                "a Net::SIP request from %s was rejected with undef: %s",
                sender,
                event.error.message,
                extra=about(client=sender),
            )
        send(event.reply)
        return True


def _reply(request: Request, send: Send, result: Result) -> None:
    try:
        reply = request.encode(result)
    except Exception:
        # an extension may return what no wire can carry; its client still gets a reply
        logger.exception("a result cannot be encoded, its client gets the error `internal`: %.200r", result)
        reply = request.encode(Failure("internal", "the result cannot be encoded; nh's log has the reason"))
    send(reply)
