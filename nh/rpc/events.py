"""What the protocols of connections give for the bytes that they are fed: events, as in h11 and websockets.

A protocol (StreamProtocol) does no I/O: nh.rpc.connection feeds it what a socket received and takes events
from it. A Handler executes the events and returns replies as bytes.
"""

from collections.abc import Callable, Hashable
from typing import NamedTuple, Protocol

from nh.commands import Command
from nh.errors import ProtocolError, UnknownCommand
from nh.results import Failure, Result
from nh.stats.layout import SupervisorStats


class RequestOrigin(NamedTuple):
    """Where a request came from.

    Attributes:
        protocol: netsip, native, ng or rtpproxy.
        sender: the client; as text it is where the client is. Making that text may take a system call, so it
            is made for those commands alone that note it.
    """

    protocol: str
    sender: Hashable


Dispatch = Callable[[Command, Callable[[Result], None], RequestOrigin], None]
"""Executes a command and calls back exactly once with its result, at once or later. Never raises."""

Send = Callable[[bytes], None]
"""Sends one reply to the client that sent the request."""


class Request(NamedTuple):
    """A command to execute.

    Attributes:
        protocol: netsip or native.
        encode: makes the reply's bytes of the command's result; to be called once.
    """

    protocol: str
    command: Command
    encode: Callable[[Result], bytes]


class Rejected(NamedTuple):
    """A request that cannot be read, and its reply; the requests behind it can be read.

    Attributes:
        protocol: netsip or native.
        reply: the bytes to send.
        reply_has_reason: whether the reply tells the client the reason.
    """

    protocol: str
    error: Failure
    reply: bytes
    reply_has_reason: bool


class CookieMessage(NamedTuple):
    """A request of a protocol with cookies, undecoded: it may be a retransmission.

    Attributes:
        data: cookie and payload.
        has_cookie: False on a connection where the protocol has none, and nothing comes again.
    """

    data: bytes
    has_cookie: bool = True


class Unreadable(NamedTuple):
    """The stream cannot be followed any further: the connection has to end. No event follows.

    Attributes:
        protocol: netsip if a complete request of Net::SIP's was received, "" if framing is lost.
    """

    protocol: str
    error: ProtocolError


Event = Request | Rejected | CookieMessage | Unreadable


class StreamProtocol(Protocol):
    """One connection's protocol, without I/O."""

    @property
    def pending_bytes(self) -> int:
        """Bytes that were received and are part of no event yet."""

    @property
    def complete(self) -> bool:
        """Whether no event follows the last one: the connection closes when all replies are sent."""

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the stream, in any portions."""

    def next_event(self) -> Event | None:
        """The next event; None if more bytes are needed, or if the stream is `complete`."""


class Handler(Protocol):
    """Executes the events of one protocol."""

    def serve(self, event: Event, sender: Hashable, send: Send) -> bool:
        """Execute a request and reply, now or later.

        Args:
            event: any event but Unreadable.
            sender: identifies the client and, where each request has a reply of its own, the request; as text
                it is the client's address, for log lines.
            send: sends the reply; called at most once.

        Returns:
            Whether `send` is called.
        """


class RequestCounter:
    """Counts requests and what is wrong with them.

    Args:
        stats: where to count.
    """

    def __init__(self, stats: SupervisorStats) -> None:
        self._stats = stats

    def count(self, protocol: str) -> None:
        """Count a request of `protocol`: netsip, native, ng or rtpproxy; "" counts nothing."""
        match protocol:
            case "ng":
                self._stats.rpc_requests_ng += 1
            case "netsip":
                self._stats.rpc_requests_netsip += 1
            case "native":
                self._stats.rpc_requests_native += 1
            case "rtpproxy":
                self._stats.rpc_requests_rtpproxy += 1

    def count_retransmission(self) -> None:
        """Count a request that was sent again."""
        self._stats.rpc_retransmissions += 1

    def count_pause(self) -> None:
        """Count a connection that is read no further until earlier requests have their replies."""
        self._stats.rpc_paused += 1

    def count_overload(self) -> None:
        """Count a request that is refused because too many are under way."""
        self._stats.rpc_overloaded += 1

    def count_dropped_replies(self, number: int) -> None:
        """Count replies that were forgotten before their time."""
        self._stats.rpc_replies_dropped += number

    def count_error(self, code: str) -> None:
        """Count a request that is malformed or names an unknown command."""
        if code == UnknownCommand.code:
            self._stats.rpc_unknown_commands += 1
        else:
            self._stats.rpc_malformed += 1
